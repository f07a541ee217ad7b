"""Statistics in files of their own: they merge in any order, survive JSON, and the docs have their metrics."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from liteferry.parity.output_stats import OutputStats
from liteferry.parity.statistics import METRICS, STATISTICS, Statistic
from liteferry.parity.statistics.base import Block

ROOT = Path(__file__).resolve().parents[2]


def blocks() -> list[Block]:
    generator = np.random.default_rng(0)
    found = []
    for rows in (1, 3, 4):
        reference, candidate = generator.normal(size=(2, rows, 5))
        excluded = generator.uniform(size=(rows, 5)) < 0.2
        reference[excluded] = candidate[excluded] = 0.0
        found.append(Block(reference=reference, candidate=candidate, distances=np.abs(reference - candidate), excluded=excluded))
    return found


@pytest.mark.parametrize("statistic", STATISTICS, ids=lambda one: one.name)
def test_a_statistic_is_a_monoid_that_survives_json(statistic: type[Statistic]) -> None:
    first, second, third = map(statistic.of, blocks())
    assert first + (second + third) == (third + first) + second
    assert first + statistic.zero() == statistic.zero() + first == first
    assert statistic.from_json(first.to_json()) == first
    assert {metric.name for metric in statistic.metrics} == set(statistic.zero().report())
    whole = functools.reduce(lambda one, other: one + other, (first, second, third), statistic.zero())
    assert any(value is not None for value in whole.report().values())


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_has_its_line_in_the_docs_and_its_key_in_a_report(metric) -> None:
    assert metric.docs_row() in (ROOT / "docs" / "gates.md").read_text(encoding="utf-8").splitlines(), metric.docs_row()
    assert f"| `{metric.name}` | number or null |" in (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
    assert metric.name in OutputStats.empty().report()
