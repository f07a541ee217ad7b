"""Rows in the calls that a model takes: groups of a fixed batch, and outputs that are one answer for a call."""

from __future__ import annotations

from collections.abc import Mapping

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from liteferry.loading.call_groups import BatchError, Calls, RowCountError, aligned, decide, fixed_batch, groups, is_uneven, stack
from liteferry.types import TensorSpec

Arrays = Mapping[str, np.ndarray]


def spec(name: str, *shape: int | None) -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype="float32")


def rows(count: int) -> dict[str, np.ndarray]:
    return {
        "x": np.arange(count, dtype=np.float32)[:, None],
        "key": np.array([f"{row}".encode() for row in range(count)], object),
    }


@hypothesis.given(st.integers(1, 40), st.sampled_from([None, 1, 4, 7, 100]))
def test_every_call_has_the_batch_and_every_row_comes_back_once(count: int, batch: int | None) -> None:
    seen = []

    def call(inputs: Arrays) -> Arrays:
        seen.append(len(inputs["x"]))
        return {"y": inputs["x"] * 2, "key": inputs["key"]}

    found = Calls(batch=batch).run(call, rows(count))
    assert seen == ([count] if batch is None else [batch] * -(-count // batch))
    assert np.array_equal(found["y"], rows(count)["x"] * 2)
    assert found["key"].tolist() == rows(count)["key"].tolist()


def test_the_last_group_is_filled_with_its_own_last_row() -> None:
    (*_, (last, size)) = groups(rows(6), 4)
    assert (last["x"].ravel().tolist(), size) == ([4, 5, 5, 5], 2)


def test_answers_for_a_call_are_kept_call_by_call() -> None:
    found = Calls(batch=4, per_call=("mean",)).run(lambda inputs: {"mean": inputs["x"].mean()}, rows(6))
    assert found["mean"].tolist() == [1.5, 4.75]


def test_answers_of_unequal_shapes_are_kept_as_they_are() -> None:
    found = Calls(batch=2, per_call=("big",)).run(lambda inputs: {"big": inputs["x"][inputs["x"][:, 0] > 2]}, rows(6))
    assert is_uneven(found["big"])
    assert [one.tolist() for one in found["big"]] == [[], [[3.0]], [[4.0], [5.0]]]


@pytest.mark.parametrize("answer", [np.float32(1.0), np.zeros(3), np.zeros((5, 2))], ids=["scalar", "vector", "other_rows"])
def test_an_output_of_rows_with_other_rows_is_named(answer: np.ndarray) -> None:
    with pytest.raises(RowCountError, match=r"output 'y' has shape .* for 8 rows"):
        Calls().run(lambda _: {"y": np.asarray(answer)}, rows(8))


@pytest.mark.parametrize(
    ("inputs", "batch"),
    [([spec("a", None, 3)], None), ([spec("a", 4, 3), spec("b", None)], 4), ([spec("a", 1, 3), spec("b", 1)], 1), ([], None)],
)
def test_the_batch_is_what_any_input_fixes(inputs: list[TensorSpec], batch: int | None) -> None:
    assert fixed_batch(inputs) == batch


def test_inputs_that_fix_different_batches_cannot_be_fed_rows() -> None:
    with pytest.raises(BatchError, match="x 4, anchors 9"):
        fixed_batch([spec("x", 4, 2), spec("anchors", 9, 4)])


FREE = {
    "rows": (lambda x: x, spec("o", None, 1), False),
    "scalar": (lambda x: x.mean(), spec("o"), True),
    "constant": (lambda x: np.zeros((9, 4)), spec("o", 9, 4), True),
    "constant_of_unknown_rows": (lambda x: np.zeros((9, 4)), spec("o", None, 4), True),
    "as_many_as_the_first_call": (lambda x: np.zeros((8, 4)), spec("o", None, 4), True),
    "detections": (lambda x: x[x[:, 0] > 2], spec("o", None, 1), True),
    "splits": (lambda x: np.zeros(len(x) + 1), spec("o", None), True),
    "squeezed": (lambda x: np.squeeze(x), TensorSpec(name="o", shape=None, dtype="float32"), False),
}


@pytest.mark.parametrize("kind", FREE)
def test_what_is_one_answer_for_a_call_of_any_size_is_seen(kind: str) -> None:
    answer, output, is_per_call = FREE[kind]
    for count in (1, 2, 3, 5, 64):
        if kind == "squeezed" and count == 1:
            continue  # one row, squeezed, looks like a scalar
        calls = decide(lambda inputs: {"o": np.asarray(answer(inputs["x"]))}, rows(count), batch=None, outputs=[output])
        if kind != "detections" or count > 3:
            assert bool(calls.per_call) is is_per_call, count


@pytest.mark.parametrize(
    ("output", "is_per_call"),
    [(spec("o", 1, 3), False), (spec("o", 3), True), (spec("o"), True), (spec("o", None, 3), True)],
    ids=["rows", "squeezed", "scalar", "seen_in_calls"],
)
def test_with_a_fixed_batch_shapes_or_calls_tell(output: TensorSpec, is_per_call: bool) -> None:
    calls = decide(lambda inputs: {"o": np.zeros((2, 3))}, rows(5), batch=1, outputs=[output])
    assert bool(calls.per_call) is is_per_call
    assert calls.without_rows() == (), "a call of one row answers for that row"


def test_a_model_that_takes_no_other_number_of_rows_is_judged_by_the_first_call() -> None:
    def call(inputs: Arrays) -> Arrays:
        assert len(inputs["x"]) == 8
        return {"o": inputs["x"], "n": np.asarray(8)}

    assert decide(call, rows(20), batch=None, outputs=[spec("o", None, 1), spec("n")]).per_call == ("n",)


def test_an_answer_to_all_rows_stands_against_each_call_of_the_other_side() -> None:
    one, many = stack([np.arange(3)]), stack([np.arange(3)] * 4)
    left, right = aligned(one, many)
    assert left.shape == right.shape == (4, 3)
    left, right = aligned(many, one)
    assert left.shape == right.shape == (4, 3)
