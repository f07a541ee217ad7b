"""Inputs and outputs of every kind: none is lost, renamed into another or guessed at; every way of running a model gives what it
gave before it was saved.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from liteferry.sandbox import Flavor, Limits
from tests.exporting.tensor_units import KINDS
from tests.support.units import run_unit

LIMITS = Limits(seconds=580, memory_bytes=8 * 10**9)
Found = dict[str, dict[str, Any]]

# All kinds take a minute and a half of processor time, most of it TensorFlow's converter: `make nightly` has all, `make test`
# those that stand for a law each.
EVERY_DAY = (
    "layer_called_twice",
    "nested_two_deep_with_none_and_clash",
    "constants_and_scalars",
    "detections",
    "batch_of_4",
    "detections_of_batch_1",
    "mask_stays_away",
    "two_arguments",
    "nested_dict",
    "unknown_rank",
    "ref_variables",
    "tags_of_a_hub_module",
    "pieces_of_a_ragged_tensor",
    "inputs_of_different_batches",
)
# TensorFlow's converter makes another shape of what has no elements; the evaluation refuses the file for it.
NOT_ALIKE = {("empty", "lite", "nothing")}
PER_CALL = {
    "constants_and_scalars": ["prior", "mean", "rows", "version"],
    "ragged": ["big/values", "big/row_splits"],
    "sparse": ["few/indices", "few/values", "few/dense_shape"],
    "detections": ["boxes", "count"],
    "squeezed_batch_of_1": ["top", "y"],
    "detections_of_batch_1": ["found"],
    "class_names_and_scalars": ["classes", "n", "version", "w"],
    "wide_and_narrow_types": ["n"],
}
INPUTS = {
    "big_ids": {"ids": "int64 (None, 5)"},
    "mask_stays_away": {"ids": "int64 (None, 5)"},
    "mask_is_asked_for": {"ids": "int64 (None, 5)", "mask": "bool (None, 5)"},
    "nested_dict": {"price": "float32 (None, 2)", "user": "int64 (None,)"},
    "roles_stay_away": {"x": "float32 (None, 4)"},
    "text": {"text": "string (None,)"},
    "input_float16": {"x": "float16 (None, 4)"},
    "input_bfloat16": {"x": "bfloat16 (None, 4)"},
    "input_float64": {"x": "float64 (None, 4)"},
    "unknown_rank": {"x": "float32 (None, 4)"},
    "batch_of_4": {"x": "float32 (4, 4)"},
}
TOLD = {
    "mask_stays_away": "column 'mask' has the name of an optional argument",
    "roles_stay_away": "column 'weight' has the name of an optional argument",
    "list_without_names": "columns one, two feed it in this order",
    "optional_input_stays_away": "no column of the samples feeds are left out: extra",
    "two_arguments": None,
}
REFUSED = {
    "pieces_of_a_ragged_tensor": "LOAD_UNSUPPORTED while in load: .* takes the pieces of one \\(r, r_1\\)",
    "inputs_of_different_batches": "EXPORT_FAILED while in export: .* first axes of different sizes \\(anchors 9, x 4\\)",
}
UNUSED = {"mask_stays_away": ["mask"], "roles_stay_away": ["label", "weight", "id"], "a_role_is_asked_for": ["label", "id"]}


def run(names: tuple[str, ...]) -> Found:
    """What comes of these kinds, from one process."""
    outcome = run_unit("tests.exporting.tensor_units:run_kinds", names, flavor=Flavor.KERAS, limits=LIMITS)
    assert outcome.error is None, outcome.error
    return {result["kind"]: result for result in outcome.results}


@pytest.fixture(scope="module")
def every_day() -> Found:
    return run(EVERY_DAY)


@pytest.fixture(scope="module")
def others() -> Found:
    return run(tuple(name for name in KINDS if name not in EVERY_DAY))


@pytest.mark.parametrize("name", EVERY_DAY)
def test_a_kind_that_stands_for_a_law(every_day: Found, name: str) -> None:
    check(name, every_day[name])


@pytest.mark.nightly  # more than a minute, see above
@pytest.mark.parametrize("name", [name for name in KINDS if name not in EVERY_DAY])
def test_every_other_kind(others: Found, name: str) -> None:
    check(name, others[name])


def test_the_tables_name_kinds_that_there_are() -> None:
    assert {*EVERY_DAY, *PER_CALL, *INPUTS, *TOLD, *UNUSED, *REFUSED} <= set(KINDS)


def check(name: str, result: dict[str, Any]) -> None:
    if name in REFUSED:
        assert re.search(REFUSED[name], result["error"] or "not refused"), result["error"]
        return
    assert result["error"] is None, result["error"]
    for side, outputs in result["off"].items():
        most = 1e-3 if side == "lite" else 5e-5
        held = {output: off for output, off in outputs.items() if (name, side, output) not in NOT_ALIKE}
        wrong = {output: off for output, off in held.items() if isinstance(off, str) or off > most}
        assert held, f"{side}: nothing was compared"
        assert not wrong, f"{side}: {wrong}"
    assert set(result["names"]) == set(result["off"]["trace"]), "as many outputs as the model has"
    assert result["deterministic"]
    assert result["per_call"] == PER_CALL.get(name, [])
    assert result["inputs"] == INPUTS.get(name, result["inputs"])
    assert result["unused"] == UNUSED.get(name, [])
    if name in TOLD:
        told = TOLD[name]
        assert any(told in warning for warning in result["warnings"]) if told else not result["warnings"]
