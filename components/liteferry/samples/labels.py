"""Maps each output to the column with its labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from liteferry.parity.rows_seen import Arrays

if TYPE_CHECKING:
    from liteferry.config.job import SamplesSpec


def labels_of(spec: SamplesSpec | None, columns: Arrays, label: npt.NDArray[Any] | None, outputs: Arrays) -> dict[str, Any]:
    """output -> its label column: its own under `labels`, else the common one under `label`."""
    own = spec.labels if spec is not None else {}
    found = {name: columns[column] for name, column in own.items() if column in columns}
    return {name: found.get(name, label) for name in outputs if found.get(name, label) is not None}
