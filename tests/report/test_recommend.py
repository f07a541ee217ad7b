"""Which variant is recommended, and what is said of the smaller ones."""

from __future__ import annotations

from typing import Any

import pytest

from liteferry.report import one_line
from liteferry.report.recommend import passed_over, passed_over_in_words, worth_naming


def variants(**facts: tuple[int | None, str]) -> dict[str, dict[str, Any]]:
    """name=(bytes, "blessed" or a reason code)"""
    return {
        name: {
            "bytes": size,
            "status": "blessed" if code == "blessed" else "not_blessed",
            "reason": None if code == "blessed" else {"code": code, "stage": "judge", "message": "m"},
        }
        for name, (size, code) in facts.items()
    }


SMALLER = variants(
    float32=(400, "blessed"), float16=(200, "blessed"), int8=(120, "METRIC_DROP"), dynamic_int4=(60, "PARITY_OUT_OF_TOLERANCE"),
    int16x8=(None, "CONVERT_FAILED"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("found", "recommended", "over"),
    [
        (SMALLER, "float16", ["dynamic_int4", "int8", "int16x8"]),
        (variants(float32=(400, "blessed"), float16=(200, "blessed")), "float16", []),
        (variants(float32=(100, "blessed"), float16=(200, "PARITY_NONFINITE")), "float32", []),
        (variants(a=(100, "blessed"), b=(100, "blessed")), "a", []),
        (variants(float32=(100, "PARITY_NONFINITE"), int8=(50, "METRIC_DROP")), None, ["int8", "float32"]),
        ({}, None, []),
    ],
    ids=["smaller ones fail", "the smallest", "larger ones do not matter", "equal sizes", "none is blessed", "no variants"],
)
def test_the_smallest_blessed_one_and_why_no_smaller(found: dict[str, Any], recommended: str | None, over: list[str]) -> None:
    assert worth_naming(found) == recommended
    assert [one["variant"] for one in passed_over(found, recommended)] == over


def test_the_words_name_size_and_reason() -> None:
    report = {"recommended_variant": "float16", "passed_over": passed_over(SMALLER, "float16")}
    assert passed_over_in_words(report) == [
        "dynamic_int4 (60 B) PARITY_OUT_OF_TOLERANCE",
        "int8 (120 B) METRIC_DROP",
        "int16x8 (not made) CONVERT_FAILED",
    ]


def test_one_line_says_why_nothing_smaller() -> None:
    report = {"model_id": "m", "status": "blessed", "recommended_variant": "float16", "variants": SMALLER}
    line = one_line({**report, "passed_over": passed_over(SMALLER, "float16")})
    assert "recommended float16 (200 B)  not dynamic_int4 (60 B) PARITY_OUT_OF_TOLERANCE; int8 (120 B) METRIC_DROP" in line


def test_reports_of_before_say_nothing() -> None:
    assert passed_over_in_words({"recommended_variant": "float16"}) == []


def agreeing(size: int, argmax: float | None, sqnr_db: float | None) -> dict[str, Any]:
    parity = {"y": {"argmax_agreement": argmax, "exact_agreement": None, "sqnr_db": sqnr_db}}
    return {"bytes": size, "status": "blessed", "reason": None, "parity": parity}


@pytest.mark.parametrize(
    ("found", "recommended"),
    [
        ({"float16": agreeing(1000, 1.0, 70.0), "int8": agreeing(912, 0.962, 30.0)}, "float16"),
        ({"float16": agreeing(1000, 1.0, 70.0), "int8": agreeing(900, 0.962, 30.0)}, "int8"),
        ({"float16": agreeing(1000, 1.0, 30.2), "int8": agreeing(999, 1.0, 30.1)}, "int8"),
        ({"float32": agreeing(1000, None, None), "int8": agreeing(950, None, 25.0)}, "float32"),
        ({"a": agreeing(1000, 1.0, 60.0), "b": agreeing(950, 0.99, 60.0), "c": agreeing(860, 0.98, 60.0)}, "c"),
        ({"a": agreeing(1000, 1.0, 60.0), "b": agreeing(850, 0.99, 60.0), "c": agreeing(800, 0.98, 60.0)}, "b"),
    ],
    ids=["88 bytes for 3.8 points", "a tenth", "no better", "signal to noise", "against the best of all", "against a middle one"],
)
def test_a_smaller_file_has_to_be_worth_it(found: dict[str, Any], recommended: str) -> None:
    assert worth_naming(found) == recommended
    assert worth_naming(found, min_saving=0.0) == min(found, key=lambda name: found[name]["bytes"])


def test_a_blessed_one_that_saves_too_little_is_said_to() -> None:
    found = {"float16": agreeing(1000, 1.0, 70.0), "int8": agreeing(912, 0.962, 30.0)}
    assert passed_over(found, "float16") == [{"variant": "int8", "bytes": 912, "code": None, "saves": 0.088}]
    words = passed_over_in_words({"recommended_variant": "float16", "passed_over": passed_over(found, "float16")})
    assert words == ["int8 (912 B) saves 8.8% and agrees less"]
