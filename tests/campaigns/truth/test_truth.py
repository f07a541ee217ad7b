"""The judge of `make truth` can fail: each kind of lie, and too many refusals, are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.campaigns.truth import table
from tests.campaigns.truth.compare import faults

ONE = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


@pytest.mark.parametrize(
    ("got", "words"),
    [
        ({"a": ONE * 1.01, "b": ONE}, "a: 0.01 off"),
        ({"a": ONE}, "1 outputs of 2"),
        ({"a": ONE[:1], "b": ONE}, "shape"),
        ({"a": np.full_like(ONE, np.nan), "b": ONE}, "NaN"),
        ({"output_0": ONE, "output_1": ONE + 1}, "b: 0.25 off"),
    ],
)
def test_what_is_off_is_told(got: dict[str, np.ndarray], words: str) -> None:
    said = faults({"a": ONE, "b": ONE}, got, 1e-3)
    assert said is not None and words in said


def test_names_that_the_exporter_chose_are_matched_by_value() -> None:
    assert faults({"a": ONE, "b": ONE * 2}, {"output_0": ONE * 2, "output_1": ONE}, 1e-3) is None


def test_names_that_are_there_decide() -> None:
    assert faults({"a": ONE, "b": ONE * 2}, {"b": ONE, "a": ONE * 2}, 1e-3) is not None


def test_whole_numbers_and_text_are_equal_or_not() -> None:
    assert faults({"ids": np.array([2**62])}, {"ids": np.array([2**62 + 1])}, 1e-3) is not None
    assert faults({"words": np.array(["a"])}, {"words": np.array([b"a"], object)}, 1e-3) is None


def _result(**changed: Any) -> dict[str, Any]:
    opinion = {"status": "equal", "why": None}
    verdict = {"is_blessed": True, "blessed": ["float32"], "codes": [], "wrong": {}, "second_opinion": opinion, "message": ""}
    result = {"library": "keras", "name": "dense__keras", "file": "keras", "group": "table", "reload": None, "verdict": verdict}
    return {**result, **{key: value for key, value in changed.items() if key in result}, "verdict": _changed(verdict, changed)}


def _changed(verdict: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any] | None:
    if changed.get("verdict", verdict) is None:
        return None
    return {**verdict, **{key: value for key, value in changed.items() if key in verdict}}


def test_all_well_is_no_problem() -> None:
    assert table.problems([_result()]) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"wrong": {"saved_model": "y: 0.5 off"}}, "blessed and wrong"),
        ({"verdict": None}, "no report"),
        ({"codes": ["INTERNAL"], "is_blessed": False}, "INTERNAL"),
        ({"second_opinion": None}, "without a second opinion"),
        ({"second_opinion": {"status": "none", "why": None}}, "without a second opinion"),
        ({"second_opinion": {"status": "none", "why": "there are no rows to ask it about"}}, "without a second opinion"),
        ({"is_blessed": False}, "of the models that their own library reloads right"),
    ],
)
def test_what_must_not_be_is_a_problem(changed: dict[str, Any], words: str) -> None:
    assert any(words in problem for problem in table.problems([_result(**changed)]))


def test_a_sibling_that_shares_a_trace_needs_no_opinion_of_its_own() -> None:
    assert table.problems([_result(second_opinion={"status": "none", "why": "a sibling of night_1: it shares its trace"})]) == []


def test_a_refusal_of_what_its_own_library_reloads_wrong_counts_against_nobody() -> None:
    assert table.problems([_result(), _result(reload="y: 3 off", is_blessed=False, codes=["WEIGHTS_MISMATCH"])]) == []
