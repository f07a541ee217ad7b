"""Hints of `check` and `run` about the preparation of rows, such as 0 .. 1 instead of 0 .. 255."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.checkpoints import row_ranges
from liteferry.samples import first_rows
from liteferry.samples.binding import Binding
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
