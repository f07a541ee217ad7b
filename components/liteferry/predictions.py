"""What task metrics are computed from: labels and other columns of the rows, and what every artifact answered, batch by batch.

Written beside the reference's answers by the process that runs the artifacts, read by the one that computes metrics, and removed
with them. Each file holds one batch; text is stored as bytes of fixed width, which needs no pickle.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from liteferry import reference
from liteferry.metric_gates import REFERENCE
from liteferry.plan import ModelPlan

_ROWS = "rows"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """One batch. `columns`: column -> (rows, ...); `outputs`: model -> output -> (rows, ...)."""

    columns: dict[str, np.ndarray]
    outputs: dict[str, dict[str, np.ndarray]]

    def __len__(self) -> int:
        arrays = [*self.columns.values(), *(array for outputs in self.outputs.values() for array in outputs.values())]
        return min((len(array) for array in arrays), default=0)


def are_kept(plan: ModelPlan) -> bool:
    """Whether anything will be computed from them."""
    return plan.metrics is not None and plan.metrics.problem is None


def keep_columns(plan: ModelPlan, columns: Mapping[str, np.ndarray], number: int, *, shard_index: int) -> None:
    """Keeps the columns of one batch."""
    _write(_path(plan, _ROWS, number, shard_index), columns)


def keep_outputs(plan: ModelPlan, model: str, outputs: Mapping[str, np.ndarray], number: int, *, shard_index: int) -> None:
    """Keeps what one artifact answered to one batch."""
    _write(_path(plan, f"of_{model}", number, shard_index), outputs)


def read(plan: ModelPlan, models: Sequence[str]) -> Iterator[Predictions]:
    """All batches in the order of the rows: shard after shard. The reference's answers are always there."""
    assert plan.samples.sample_set is not None
    for shard_index in range(len(plan.samples.sample_set.shards)):
        for number in itertools.count():
            rows = _path(plan, _ROWS, number, shard_index)
            if not os.path.exists(rows):
                break
            outputs = {REFERENCE: reference.read(plan, number, shard_index=shard_index)}
            outputs |= {model: _read(_path(plan, f"of_{model}", number, shard_index)) for model in models}
            yield Predictions(columns=_read(rows), outputs=outputs)


def _path(plan: ModelPlan, folder: str, number: int, shard_index: int) -> str:
    return os.path.join(reference.shard_directory(plan, shard_index), folder, f"{number:08d}.npz")


def _write(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    stored = {f"array_{index}": reference.storable(value) for index, value in enumerate(arrays.values())}
    np.savez(path, names=np.array(list(arrays), dtype=np.str_), **stored)  # type: ignore[arg-type]


def _read(path: str) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return {str(name): arrays[f"array_{index}"] for index, name in enumerate(arrays["names"])}
