"""Whether the values of sample rows look like those a model was trained on, as far as its own layers tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.checkpoints.architecture_facts import InputRange, range_warning
from liteferry.types import TensorSpec

_CHANNELS = (1, 3, 4)
# Layers and operations that may bring an input to another scale, wherever they stand.
SCALING = frozenset(
    {"Rescaling", "Normalization", "Lambda", "TFOpLambda", "TrueDivide", "Divide", "Multiply", "Subtract", "TFSMLayer"}
)
_RAW, _MOST_RAW = 64.0, 255.0  # images of bytes reach beyond the first; few other rows of images stay within the second


def expected_of(told: Mapping[str, Any] | None) -> InputRange | None:
    """An InputRange that came as JSON."""
    if told is None:
        return None
    return InputRange(low=float(told["low"]), high=float(told["high"]), because=str(told["because"]))


def warning(spec: TensorSpec, expected: InputRange | None, *, low: float, high: float, may_scale: bool) -> str | None:
    """A sentence where rows look as if they were prepared in another way than in training; None where nothing says so.

    Args:
      spec: the input.
      expected: what the model's first layers say of it; None where they say nothing.
      low, high: the smallest and the largest value among the rows.
      may_scale: some layer may bring it to another scale, see SCALING, or the layers are not known.
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
