"""`StatsAccumulator` waits for whole blocks, and nobody can tell from its numbers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liteferry.errors import ModelError, ReasonCode
from liteferry.evaluation import accumulator
from liteferry.evaluation.accumulator import StatsAccumulator
from liteferry.parity.output_stats import OutputStats

ROWS = 90
RANDOM = np.random.default_rng(0)
REFERENCE: dict[str, np.ndarray] = {
    "scores": RANDOM.normal(size=(ROWS, 6)).astype(np.float32),
    "count": RANDOM.integers(0, 9, size=(ROWS,)),
    "word": np.array([b"a", b"bc"], dtype=object)[RANDOM.integers(0, 2, size=ROWS)],
}
CANDIDATE = {**REFERENCE, "scores": REFERENCE["scores"] + np.float32(0.1) * RANDOM.normal(size=(ROWS, 6)).astype(np.float32)}
IDS = [f"row-{row}" for row in range(ROWS)]


def direct() -> dict[str, OutputStats]:
    return {
        name: OutputStats.compare(reference=REFERENCE[name], candidate=CANDIDATE[name], ids=IDS, first_row=0)
        for name in REFERENCE
    }


def cut(arrays: dict[str, np.ndarray], start: int, stop: int) -> dict[str, Any]:
    return {name: array[start:stop] for name, array in arrays.items()}


@pytest.mark.parametrize("block_rows", [1, 7, 64, 8192])
@given(choices=st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_any_batches_in_any_order_equal_one_comparison(block_rows: int, choices: Any) -> None:
    cuts = [0, *sorted(choices.sample(range(1, ROWS), choices.randint(0, 20))), ROWS]
    batches = list(itertools.pairwise(cuts))
    choices.shuffle(batches)
    comparison = StatsAccumulator()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accumulator, "_BLOCK_ROWS", block_rows)
        for start, stop in batches:
            comparison.add(
                cut(REFERENCE, start, stop), cut(CANDIDATE, start, stop), ids=IDS[start:stop], rows=np.arange(start, stop)
            )
    assert comparison.finish() == direct()


def test_batches_of_different_shapes_are_compared_apart() -> None:
    comparison = StatsAccumulator()
    for length in (2, 3, 2):
        comparison.add({"y": np.zeros((4, length))}, {"y": np.ones((4, length))}, ids=IDS[:4], rows=np.arange(4))
    report = comparison.finish()["y"].report()
    assert (report["example_count"], report["element_count"], report["max_abs"]) == (12, 28, 1.0)


@pytest.mark.parametrize("observed", [np.zeros((4, 3)), np.zeros((4, 2), int), np.zeros((3, 2))], ids=["shape", "dtype", "rows"])
def test_what_cannot_be_compared_is_refused_at_once_with_the_output(observed: np.ndarray) -> None:
    comparison = StatsAccumulator()
    with pytest.raises(ModelError, match="output 'y'") as raised:
        comparison.add({"y": np.zeros((4, 2))}, {"y": observed}, ids=IDS[:4], rows=np.arange(4))
    assert raised.value.reason.code is ReasonCode.PARITY_OUT_OF_TOLERANCE


def test_an_output_that_one_side_lacks_is_left_out() -> None:
    comparison = StatsAccumulator()
    comparison.add(
        {"y": np.zeros(2), "gone": np.zeros(2)}, {"y": np.zeros(2), "more": np.zeros(2)}, ids=IDS[:2], rows=np.arange(2)
    )
    assert comparison.finish().keys() == {"y"}


def test_nothing_added_is_nothing_compared() -> None:
    assert StatsAccumulator().finish() == {}
