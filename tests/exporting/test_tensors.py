"""Inputs and outputs of every kind: none is lost, renamed into another or guessed at; every way of running a model gives what it
gave before it was saved.
"""

from __future__ import annotations

from typing import Any

import pytest

from liteferry import sandbox
from liteferry.sandbox import Flavor, Limits
from tests.exporting.tensor_units import KINDS

LIMITS = Limits(seconds=580, memory_bytes=8 * 10**9)
# TensorFlow's converter makes another shape of what has no elements; the evaluation refuses the file for it.
NOT_ALIKE = {("empty", "lite", "nothing")}


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    """What came of every kind, from one process."""
    outcome = sandbox.run("tests.exporting.tensor_units:run_kinds", tuple(KINDS), flavor=Flavor.KERAS, limits=LIMITS)
    assert outcome.error is None, outcome.error
    return {result["kind"]: result for result in outcome.results}


@pytest.mark.parametrize("name", KINDS)
def test_every_side_gives_what_the_model_gave(found: dict[str, dict[str, Any]], name: str) -> None:
    result = found[name]
    assert result["error"] is None, result["error"]
    for side, outputs in result["off"].items():
        wrong = {
            output: off for output, off in outputs.items() if isinstance(off, str) or off > (1e-3 if side == "lite" else 5e-5)
        }
        assert outputs and not wrong, f"{side}: {wrong}"
    assert set(result["names"]) == set(result["off"]["trace"]), "as many outputs as the model has"
    assert result["deterministic"]


def test_which_outputs_are_one_answer_for_a_call_is_known(found: dict[str, dict[str, Any]]) -> None:
    seen = {name: result["per_call"] for name, result in found.items() if result["per_call"]}
    assert seen == {
        "constants_and_scalars": ["prior", "mean", "rows", "version"],
        "ragged": ["big/values", "big/row_splits"],
        "sparse": ["few/indices", "few/values", "few/dense_shape"],
        "detections": ["boxes", "count"],
        "squeezed_batch_of_1": ["top", "y"],
        "detections_of_batch_1": ["found"],
        "class_names_and_scalars": ["classes", "n", "version", "w"],
        "wide_and_narrow_types": ["n"],
    }


@pytest.mark.parametrize(
    ("name", "dtypes"),
    [
        ("big_ids", {"ids": "int64 (None, 5)"}),
        ("mask_is_asked_for", {"ids": "int64 (None, 5)", "mask": "bool (None, 5)"}),
        ("nested_dict", {"price": "float32 (None, 2)", "user": "int64 (None,)"}),
        ("text", {"text": "string (None,)"}),
        ("input_bfloat16", {"x": "bfloat16 (None, 4)"}),
        ("input_float64", {"x": "float64 (None, 4)"}),
        ("unknown_rank", {"x": "float32 (None, 4)"}),
        ("batch_of_4", {"x": "float32 (4, 4)"}),
    ],
)
def test_inputs_have_the_dtypes_and_ranks_of_their_columns(
    found: dict[str, dict[str, Any]], name: str, dtypes: dict[str, str]
) -> None:
    assert found[name]["inputs"] == dtypes


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mask_stays_away", "column 'mask' has the name of an optional argument"),
        ("roles_stay_away", "column 'weight' has the name of an optional argument"),
        ("list_without_names", "columns one, two feed it in this order"),
        ("optional_input_stays_away", "no column of the samples feeds stay away: extra"),
    ],
)
def test_what_is_not_fed_or_fed_by_position_is_told(found: dict[str, dict[str, Any]], name: str, words: str) -> None:
    assert any(words in warning for warning in found[name]["warnings"])
    assert not found["two_arguments"]["warnings"]


def test_columns_that_feed_nothing_are_known(found: dict[str, dict[str, Any]]) -> None:
    assert {name: result["unused"] for name, result in found.items() if result["unused"]} == {
        "mask_stays_away": ["mask"],
        "roles_stay_away": ["label", "weight", "id"],
        "a_role_is_asked_for": ["label", "id"],
    }
