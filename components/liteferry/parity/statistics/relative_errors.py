"""Relative differences of single elements: the largest, and quantiles."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from liteferry.parity.exact_sum import finite_or_none
from liteferry.parity.histograms import DistanceHistogram
from liteferry.parity.statistics.base import Block, Metric, Statistic

_QUANTILES = {"p50_rel": 500, "p90_rel": 900, "p99_rel": 990, "p999_rel": 999}


@dataclasses.dataclass(frozen=True)
class RelativeErrors(Statistic):
    """|difference| / |reference| of each element: 0 where both sides agree, infinite where only the reference is zero."""

    largest: float = 0.0
    histogram: DistanceHistogram = dataclasses.field(default_factory=DistanceHistogram)

    name: ClassVar[str] = "relative_errors"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric(
            name="max_rel_elementwise",
            title="largest relative difference of one element",
            meaning=r"the largest of \|difference\| / \|reference\|, element by element; 0/0 is 0, and one x/0 makes it `null`",
        ),
        Metric(
            name="p999_rel",
            title="99.9 % of relative differences are below",
            meaning="what 999 of 1,000 do not exceed",
        ),
        Metric(name="p99_rel", title="99 % of relative differences are below", meaning="its 99th percentile"),
        Metric(name="p90_rel", title="90 % of relative differences are below", meaning="its 90th percentile"),
        Metric(
            name="p50_rel",
            title="half of relative differences are below",
            meaning="the median of the same, as exact as `p50_abs`; `null` when it falls on an x/0",
        ),
    )

    @classmethod
    def zero(cls) -> RelativeErrors:
        return cls()

    @classmethod
    def of(cls, block: Block) -> RelativeErrors:
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            ratios = block.distances / np.abs(block.reference)
        ratios[block.distances == 0] = 0.0
        return cls(float(ratios.max(initial=0.0)), DistanceHistogram.of(block.included(ratios)))

    def __add__(self, other: RelativeErrors) -> RelativeErrors:
        return RelativeErrors(max(self.largest, other.largest), self.histogram + other.histogram)

    def to_json(self) -> list[Any]:
        return [self.largest.hex(), self.histogram.to_json()]

    @classmethod
    def from_json(cls, encoded: Sequence[Any]) -> RelativeErrors:
        return cls(float.fromhex(encoded[0]), DistanceHistogram.from_json(encoded[1]))

    def report(self) -> dict[str, float | int | None]:
        edges = {name: self.histogram.quantile(per_mille) for name, per_mille in _QUANTILES.items()}
        return {
            "max_rel_elementwise": finite_or_none(self.largest) if self.histogram.counts else None,
            **{name: None if edge is None else finite_or_none(min(edge, self.largest)) for name, edge in edges.items()},
        }
