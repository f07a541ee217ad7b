"""WEIGHTS_MISMATCH: arrays of a file and variables of a model that do not match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading.weights.names import Slot, side_by_side


def shape_of(array: Any) -> tuple[int, ...]:
    """The shape of an array or a variable; if a variable's shape is open, the shape of its value."""
    shape = tuple(array.shape)
    return tuple(np.asarray(array).shape) if None in shape else tuple(int(size) for size in shape)


def mismatch(path: str, stored: Sequence[Slot], wanted: Sequence[Slot], why: str) -> ModelError:
    """The error with both counts and the differences, nearest names side by side.

    Args:
      path: the checkpoint.
      stored: the file's arrays.
      wanted: the model's variables.
      why: the reason that they cannot be matched.
    """
    differing = side_by_side(stored, wanted)
    lists = f" {differing}." if differing else ""
    return ModelError(
        ReasonCode.WEIGHTS_MISMATCH,
        Stage.LOAD,
        f"{path}: its {len(stored)} arrays are not the model's {len(wanted)} variables: {why}.{lists} Build the model as it was "
        "trained, layer names included; for a `builder`, `weights: by_position` beside `checkpoints` in the job file insists on "
        "the order",
    )
