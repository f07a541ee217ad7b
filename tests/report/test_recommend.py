"""Which variant is recommended, and what is said of the smaller ones."""

from __future__ import annotations

from typing import Any

import pytest

from liteferry.report import one_line
from liteferry.report.recommend import passed_over, passed_over_in_words, smallest_blessed


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
    assert smallest_blessed(found) == recommended
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
