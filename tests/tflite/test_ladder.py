"""Ways up: what the first way does not serve gets a file by another, none is blessed for it, and the report tells of all."""

from __future__ import annotations

from typing import Any

import pytest

from liteferry.errors import ModelError, Reason, ReasonCode, Stage
from liteferry.sandbox import Flavor, Limits
from liteferry.tflite import ladder
from liteferry.tflite.ladder import Step
from tests.support.units import run_unit
from tests.tflite.ladder_units import CASES

LIMITS = Limits(seconds=300, memory_bytes=8 * 10**9)
QUANTIZER, CONVERTER = "the AI Edge quantizer", "TensorFlow's converter"


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    names = tuple(case.__name__ for case in CASES)
    outcome = run_unit("tests.tflite.ladder_units:run", names, flavor=Flavor.KERAS, limits=LIMITS)
    assert outcome.error is None, outcome.error
    return {result["case"]: result["found"] for result in outcome.results}


@pytest.mark.parametrize(
    ("case", "outputs"),
    [("handed_through", {"score", "again", "key_out"}), ("table", {"y"}), ("assigned", {"y"})],
)
def test_what_freezing_takes_away_converts_by_way_of_a_saved_model(found: dict[str, Any], case: str, outputs: set[str]) -> None:
    facts = found[case]
    first, second = facts["attempts"]
    assert first == ["dynamic batch", "NEEDS_FLEX" if case == "table" else "CONVERT_FAILED"]
    assert second == ["dynamic batch, by way of a SavedModel", None]
    assert set(facts["outputs"]) == outputs, "every name is there, also the second one of a tensor"
    assert facts["metadata"] == {"made": "here"}
    assert min(facts["off"].values()) > 100


def test_a_bias_beyond_32_bits_gets_a_file_by_another_way(found: dict[str, Any]) -> None:
    facts = found["large_bias"]
    first, *others = facts["attempts"]
    assert first == ["int16x8 by the AI Edge quantizer", "PARITY_OUT_OF_TOLERANCE"], "else the ladder has nothing to mend"
    assert others[-1][1] is None
    assert facts["holds"]
    assert facts["off"]["hPa"] > 25
    assert set(facts["operators"]) == {"int16"}


def test_a_comparison_stays_float_and_the_rest_is_int8(found: dict[str, Any]) -> None:
    facts = found["asks_for_nan"]
    assert facts["attempts"][-1] == ["int8 by the AI Edge quantizer, NOT_EQUAL left float", None]
    assert facts["off"]["y"] > 20
    assert facts["operators"]["int8"] >= 2


def test_trained_ranges_are_those_of_the_file(found: dict[str, Any]) -> None:
    """TensorFlow's own conversion of the same SavedModel is the measure: the same answers, and about the same size."""
    facts = found["trained_ranges"]
    assert facts["attempts"] == [["int8 by TensorFlow's converter, with the trained ranges", None]]
    assert facts["apart"] <= 1e-5
    assert facts["operators"] == {"int8": 1}


def test_a_counting_loop_is_written_out_and_calibrated(found: dict[str, Any]) -> None:
    facts = found["counted_loop"]
    assert facts["unrolled_off"]["y"] > 100
    assert not facts["loops"]
    assert "6 steps of loop" in facts["refused"], "a limit of five"
    assert "too many to unroll (at most 5)" in facts["refused"]
    assert (facts["quantizer"], facts["holds"]) == (CONVERTER, True)
    assert facts["off"]["y"] > 17


HALF = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16", "float16": "float16", "float64": "float64"}


@pytest.mark.parametrize("kind", [*HALF, "int8", "int4", "float8"])
def test_a_float32_twin_is_near_and_leaves_the_model_as_it_was(found: dict[str, Any], kind: str) -> None:
    facts = found["twins"][kind]
    assert facts["of"] == HALF.get(kind, kind)
    assert facts["limit"] == {"float16": 2e-3, "bfloat16": 1e-2, "float64": 1e-4}.get(facts["of"], 2e-2)
    assert facts["off"] <= (0.07 if kind == "float8" else facts["limit"]), "float8 has 4 bits: the twin in use rounds its inputs"
    if kind != "int4":  # whose layers widen their weights and compute in float32, so that nothing differs
        assert facts["off"] > 0, "else the twin computes in the model's own format"
    assert facts["is_as_before"]
    assert set(facts["weights"]) == {"float32"}
    assert facts["file_off"]["scores"] > 100


@pytest.mark.parametrize("kind", ["int8", "float8"])
def test_a_twin_that_rounds_what_layers_are_given_equals_a_deep_model(found: dict[str, Any], kind: str) -> None:
    facts = found["rounding_twins"][kind]
    assert facts["off"] > 1e-2, "else no deep model is needed"
    assert facts["rounding_off"] < 1e-4
    assert facts["file_off"]["scores"] > 80
    assert facts["float16_off"]["scores"] > 25, "the arithmetic has no constants that float16 cannot hold"
    assert facts["is_as_before"]
    assert facts["left_behind"] == [], "a layer's call is its class's again"


def test_float8_is_rounded_as_a_cast_rounds(found: dict[str, Any]) -> None:
    assert found["rounding_twins"]["unlike_a_cast"] == 0


def test_a_float32_model_has_no_twin(found: dict[str, Any]) -> None:
    assert found["twins"]["float32"] is None


def test_a_microcontroller_runs_float32_and_int8_and_says_why_not_the_others(found: dict[str, Any]) -> None:
    facts = found["microcontroller"]
    if "missing" in facts:
        pytest.skip("tflite-micro is not installed: pip install 'liteferry[micro]'")
    for name, most in (("float32", 1e-4), ("int8", 0.1)):
        assert facts[name]["shape"] == [12, 5]
        assert facts[name]["off"] <= most, "other kernels round otherwise, by a step of int8 at most"
        assert facts[name]["arena_bytes"] > 500
    for name in ("float16", "dynamic_int8"):
        assert facts[name]["code"] == "TARGET_UNSUPPORTED"
        assert "TensorFlow Lite for Microcontrollers cannot run this file" in facts[name]["message"]
        assert len(facts[name]["message"]) > 80, "the runtime's own words are quoted"


def step(name: str, made: bytes | ReasonCode, *, is_refinement: bool = False) -> Step:
    def make() -> bytes:
        if isinstance(made, bytes):
            return made
        raise ModelError(made, Stage.CONVERT, f"{name} refused")

    return Step(name=name, quantizer=name, make=make, is_refinement=is_refinement)


def test_without_any_way_everybody_is_quoted() -> None:
    failed = ReasonCode.CONVERT_FAILED
    climb = ladder.climb("auto", [step("one", failed), step("refined", b"x", is_refinement=True), step("two", failed)], None)
    assert climb.reason == Reason(code=failed, stage=Stage.CONVERT, message="one refused; two refused")
    assert [attempt.lowering for attempt in climb.attempts] == ["one", "two"], "what made no file is not refined"
    assert climb.may_go_on()


def test_without_rows_nothing_is_tried_after_the_first() -> None:
    climb = ladder.climb("auto", [step("one", ReasonCode.SAMPLES_MISSING), step("two", b"x")], None)
    assert (climb.content, climb.may_go_on()) == (None, False)
