"""Checks whether the values of sample rows look like training data, as far as the model's own layers show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.checkpoints.architecture_facts import InputRange, range_warning
from liteferry.types import TensorSpec

_CHANNELS = (1, 3, 4)
# Layers and operations that may rescale an input, at any place in the model.
SCALING = frozenset(
    {"Rescaling", "Normalization", "Lambda", "TFOpLambda", "TrueDivide", "Divide", "Multiply", "Subtract", "TFSMLayer"}
)
_RAW, _MOST_RAW = 64.0, 255.0  # images of bytes exceed the first value; other images rarely stay within the second


def expected_of(told: Mapping[str, Any] | None) -> InputRange | None:
    """Decodes an InputRange from JSON."""
    if told is None:
        return None
    return InputRange(low=float(told["low"]), high=float(told["high"]), because=str(told["because"]))


def warning(spec: TensorSpec, expected: InputRange | None, *, low: float, high: float, may_scale: bool) -> str | None:
    """A warning if rows look as if they were prepared differently than in training; else None.

    Args:
      spec: the input.
      expected: the range from the model's first layers; None if they do not show one.
      low, high: the smallest and the largest value among the rows.
      may_scale: some layer may rescale the input, see SCALING, or the layers are not known.
    """
    name = spec.name
    if expected is not None:
        return range_warning(name, expected, low=low, high=high)
    if may_scale or not spec.dtype.startswith("float"):
        return None
    if _is_image(spec.shape) and low >= 0 and _RAW <= high <= _MOST_RAW:
        return (
            f"input {name!r}: the rows hold images of {low:g} .. {high:g}, and no layer of the model scales them. If it was "
            "trained on 0 .. 1 or -1 .. 1, prepare the rows so: x / 255, or --decode image --scale 0.00392157 for encoded images"
        )
    return None


def _is_image(shape: Sequence[int | None] | None) -> bool:
    """(batch, height, width, channels), channels first, or (batch, height, width) of at least four pixels a side."""
    sizes = list(shape or ())[1:]
    if len(sizes) == 3:
        sides = sizes[:2] if sizes[2] in _CHANNELS else sizes[1:] if sizes[0] in _CHANNELS else None
    else:
        sides = sizes if len(sizes) == 2 else None
    return sides is not None and all(side is None or side >= 4 for side in sides)
