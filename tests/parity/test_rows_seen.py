"""What the sample rows show by themselves: inputs that are not finite, targets that are vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from liteferry.parity.rows_seen import RowsSeen
from liteferry.samples.labels import labels_of

ANSWERS = {"y": np.zeros((3, 4), np.float32)}


def seen(labels: Any, answers: dict[str, np.ndarray] = ANSWERS) -> RowsSeen:
    return RowsSeen.of({}, answers, {"y": np.asarray(labels)})


@pytest.mark.parametrize(
    ("labels", "is_vector"),
    [
        pytest.param(np.eye(4)[:3], False, id="one-hot"),
        pytest.param(np.full((3, 4), 0.25), False, id="soft labels"),
        pytest.param(np.eye(4, dtype=np.int64)[:3], False, id="one-hot integers"),
        pytest.param(np.ones((3, 4), np.int64), True, id="several tags"),
        pytest.param(np.random.default_rng(0).normal(size=(3, 4)), True, id="numbers"),
        pytest.param(np.zeros((3, 4)), False, id="no label at all"),
        pytest.param([0, 1, 2], False, id="class numbers"),
        pytest.param(np.zeros((3, 5)), False, id="of another width"),
    ],
)
def test_a_vector_as_target_says_that_the_last_axis_holds_no_classes(labels: Any, is_vector: bool) -> None:
    assert seen(labels).kinds() == ({"y": "regression"} if is_vector else {})


def test_one_number_a_row_is_no_vector() -> None:
    assert seen(np.zeros((3, 1)), {"y": np.zeros((3, 1))}).kinds() == {}


def test_rows_that_are_not_finite_are_counted_by_input() -> None:
    image = np.zeros((4, 2, 2), np.float32)
    image[1, 0, 0], image[1, 1, 1], image[3, 0, 1] = np.nan, np.inf, -np.inf
    found = RowsSeen.of({"image": image, "ids": np.arange(4)}, {}, {})
    assert found.nonfinite_inputs == {"image": 2}
    assert (found + RowsSeen.of({"image": image[:2]}, {}, {})).nonfinite_inputs == {"image": 3}


def test_parts_add_up_in_any_order_and_through_json() -> None:
    parts = [seen(np.eye(4)[:3]), seen(np.ones((3, 4))), RowsSeen.of({"x": np.array([np.nan])}, {}, {})]
    whole = sum(parts, RowsSeen())
    assert whole == sum(reversed(parts), RowsSeen())
    assert RowsSeen.from_json(whole.to_json()) == whole
    assert whole.kinds() == {"y": "regression"}


def test_an_outputs_own_labels_count_before_those_of_all() -> None:
    class Spec:
        labels = {"y": "own"}  # noqa: RUF012  # as a job has it

    own, of_all = np.ones(3), np.zeros(3)
    found = labels_of(Spec(), {"own": own}, of_all, {"y": own, "z": own})  # type: ignore[arg-type]
    assert found == {"y": own, "z": of_all} or (found["y"] is own and found["z"] is of_all)
