"""Outputs that are one answer for a call: compared call by call, as a whole, with every row counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from liteferry.errors import ModelError, ReasonCode
from liteferry.evaluation.accumulator import StatsAccumulator
from liteferry.loading.call_groups import Calls, stack

IDS = [f"row {number}" for number in range(10)]


def compared(expected: np.ndarray, observed: np.ndarray, *, batch: int | None = None, batches: int = 1) -> dict[str, Any]:
    """The report of output `o` after so many batches of ten rows."""
    comparison = StatsAccumulator(calls=Calls(batch=batch, per_call=("o",)))
    for number in range(batches):
        comparison.add({"o": expected}, {"o": observed}, ids=IDS, rows=np.arange(10) + 10 * number)
    return comparison.finish()["o"].report()


@pytest.mark.parametrize("answer", [np.float32(2), np.arange(7.0), np.ones((9, 4)), np.array([b"cat", b"dog\0"], object)])
@pytest.mark.parametrize("batches", [1, 3])
def test_the_same_answers_are_equal_and_count_every_row(answer: Any, batches: int) -> None:
    report = compared(stack([np.asarray(answer)]), stack([np.asarray(answer)]), batches=batches)
    assert (report["mismatch_count"], report["example_count"]) == (0, 10 * batches)
    assert report["element_count"] == np.size(answer) * batches


def test_one_value_of_a_constant_that_differs_is_seen() -> None:
    anchors = np.ones((1, 9, 4), np.float32)
    report = compared(anchors, np.where(np.arange(4) == 3, anchors + 0.5, anchors))
    assert report["max_abs"] == 0.5
    assert report["mismatch_count"] == 9


def test_a_bytes_nul_at_the_end_is_a_difference() -> None:
    report = compared(np.array([[b"dog\0"]], object), np.array([[b"dog"]], object))
    assert report["mismatch_count"] == 1


def test_a_vector_for_a_call_has_no_classes() -> None:
    report = compared(np.arange(5.0)[None], np.arange(5.0)[None, ::-1])
    assert report["argmax_agreement"] is None


def test_calls_of_a_fixed_batch_are_named_by_their_first_row() -> None:
    comparison = StatsAccumulator(calls=Calls(batch=4, per_call=("o",)))
    comparison.add({"o": np.zeros(3)}, {"o": np.array([0.0, 0.0, 1.0])}, ids=IDS, rows=np.arange(100, 110))
    (worst,) = comparison.finish()["o"].worst_examples()
    assert (worst["id"], worst["row"]) == ("row 8", 108)


def test_detections_are_compared_call_by_call() -> None:
    boxes = stack([np.zeros((2, 4)), np.ones((0, 4)), np.full((5, 4), 3.0)])
    other = stack([np.zeros((2, 4)), np.ones((0, 4)), np.full((5, 4), 3.5)])
    report = compared(boxes, other, batch=4)
    assert (report["max_abs"], report["element_count"]) == (0.5, 28)


def test_another_number_of_detections_is_refused_with_the_call_and_both_shapes() -> None:
    boxes, other = stack([np.zeros((2, 4)), np.zeros((5, 4))]), stack([np.zeros((2, 4)), np.zeros((6, 4))])
    with pytest.raises(ModelError, match=r"output 'o', call that begins with row row 5: .*\(1, 5, 4\).*\(1, 6, 4\)") as caught:
        compared(boxes, other, batch=5)
    assert caught.value.reason.code is ReasonCode.PARITY_OUT_OF_TOLERANCE


def test_a_file_of_smaller_calls_is_held_against_the_answer_to_all_rows() -> None:
    """A constant passes; a mean over the batch is another one."""
    assert compared(np.ones((1, 3)), np.ones((10, 3)))["mismatch_count"] == 0
    assert compared(np.array([4.5]), np.arange(10.0))["max_abs"] == 4.5


def test_numbers_of_calls_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match="3 answers of the reference, 2 of the candidate, for 10 rows"):
        compared(np.ones((3, 2)), np.ones((2, 2)), batch=4)


def test_with_one_row_in_a_call_answers_are_the_rows() -> None:
    """So they have classes, and slices."""
    logits = np.eye(10)
    report = compared(logits, logits, batch=1)
    assert (report["argmax_agreement"], report["example_count"]) == (1.0, 10)


def test_a_batch_that_cannot_be_compared_counts_nowhere() -> None:
    comparison = StatsAccumulator(calls=Calls(per_call=("o",)))
    comparison.add(
        {"o": np.ones(1), "y": np.ones((10, 2))}, {"o": np.ones(1), "y": np.ones((10, 2))}, ids=IDS, rows=np.arange(10)
    )
    with pytest.raises(ModelError, match="'y'"):
        comparison.add(
            {"o": np.ones(1), "y": np.ones((10, 2))}, {"o": np.zeros(1), "y": np.ones((10, 3))}, ids=IDS, rows=np.arange(10, 20)
        )
    report = comparison.finish()["o"].report()
    assert (report["example_count"], report["mismatch_count"]) == (10, 0)
