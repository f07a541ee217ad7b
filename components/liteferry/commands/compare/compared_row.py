"""One row of a comparison, with the values of both sides."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """One row on both sides. `inputs` as the reference got them, outputs under the reference's names; no batch axis."""

    id: str
    row: int
    inputs: Mapping[str, np.ndarray]
    reference: Mapping[str, np.ndarray]
    candidate: Mapping[str, np.ndarray]
