"""What `check` and `run` say about the preparation of rows: hints such as 0 .. 1 instead of 0 .. 255, and images of another size
than the input takes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.checkpoints import row_ranges
from liteferry.samples import first_rows, images
from liteferry.samples.binding import Binding, BoundInput
from liteferry.samples.sample_set import SampleSet


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitting:
    """A model whose rows fit. `ranges`: input -> the range that the layers expect, as JSON; None for a model whose layers are
    not known. `may_scale`: some other layer may rescale the inputs.
    """

    model_id: str
    sample_set: SampleSet
    binding: Binding
    ranges: Mapping[str, Any] | None
    may_scale: bool


def of(fitting: Sequence[Fitting]) -> dict[str, tuple[str, ...]]:
    """model_id -> a sentence for each input whose rows look prepared differently. The first rows of each column are read once."""
    asked: dict[tuple[str, str], tuple[SampleSet, str]] = {}
    for model in fitting:
        if model.ranges is not None:
            for bound in model.binding.inputs:
                if bound.image is None and not bound.stacked and bound.input.dtype.startswith("float"):
                    asked[model.sample_set.digest, bound.column] = (model.sample_set, bound.column)
    found = dict(zip(asked, first_rows.ranges(list(asked.values())), strict=True))
    told = {model.model_id: tuple(_of_model(model, found)) for model in fitting if model.ranges is not None}
    return {model_id: lines for model_id, lines in told.items() if lines}


def image_problems(fitting: Sequence[Fitting]) -> dict[str, tuple[str, ...]]:
    """model_id -> a sentence for each input that takes images of another size than those of the first rows."""
    bound = [
        (model, one) for model in fitting for one in model.binding.inputs if one.image is not None and one.image.size is None
    ]
    asked = {(model.sample_set.digest, one.column): (model.sample_set, one.column) for model, one in bound}
    sizes = dict(zip(asked, first_rows.image_sizes(list(asked.values())), strict=True))
    told: dict[str, tuple[str, ...]] = {}
    for model, one in bound:
        problem = _image_problem(one, sizes[model.sample_set.digest, one.column])
        if problem is not None:
            told[model.model_id] = (*told.get(model.model_id, ()), f"{model.sample_set.path}: {problem}")
    return told


def _image_problem(bound: BoundInput, sizes: Sequence[tuple[int, int]]) -> str | None:
    wanted = (bound.input.shape or ())[1:3]
    other = [size for size in sizes if any(have != want for have, want in zip(size, wanted, strict=False) if want is not None)]
    if not other:
        return None
    takes = " x ".join("any" if size is None else str(size) for size in wanted)
    held = f"column {bound.column!r} holds images of {other[0][0]} x {other[0][1]}, height by width"
    return f"{held}, and input {bound.input.name!r} takes {takes}; {images.resize_fix(bound.input)}"


def _of_model(model: Fitting, found: Mapping[tuple[str, str], first_rows.Range | None]) -> list[str]:
    lines = []
    for bound in model.binding.inputs:
        seen = found.get((model.sample_set.digest, bound.column))
        if bound.image is not None:
            scale, offset = bound.image.scale or 1.0, bound.image.offset or 0.0
            seen = (offset, 255 * scale + offset)
        if seen is None:
            continue
        expected = row_ranges.expected_of((model.ranges or {}).get(bound.input.name))
        line = row_ranges.warning(bound.input, expected, low=seen[0], high=seen[1], may_scale=model.may_scale)
        lines += [line] if line else []
    return lines
