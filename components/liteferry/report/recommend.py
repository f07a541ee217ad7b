"""Which variant to ship: the smallest blessed one, and why no smaller one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liteferry import lenient
from liteferry.report import formats
from liteferry.report.formats import single_line
from liteferry.types import Status


def smallest_blessed(variants: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The name of the smallest blessed variant of a report; of equal ones the first by name."""
    blessed = [(facts["bytes"], name) for name, facts in variants.items() if facts["status"] == Status.BLESSED.value]
    return min(blessed)[1] if blessed else None


def passed_over(variants: Mapping[str, Mapping[str, Any]], recommended: str | None) -> list[dict[str, Any]]:
    """The variants that are smaller than the recommended one and not blessed, smallest first; then those that were not made.

    Without a recommended variant that is every variant: {variant, bytes, code}, bytes None where there is no file.
    """
    most = float("inf") if recommended is None else variants[recommended]["bytes"]
    found = [
        {"variant": name, "bytes": facts["bytes"], "code": facts["reason"]["code"] if facts["reason"] else None}
        for name, facts in variants.items()
        if name != recommended and (facts["bytes"] is None or facts["bytes"] < most)
    ]
    return sorted(found, key=lambda one: (one["bytes"] is None, one["bytes"] or 0, one["variant"]))


def passed_over_in_words(report: lenient.Report) -> list[str]:
    """`int8 (10 kB) PARITY_OUT_OF_TOLERANCE`, `dynamic_int4 (not made) CONVERT_FAILED`; [] where nothing is recommended."""
    if not lenient.text(report.get("recommended_variant")):
        return []
    words = []
    for one in map(lenient.mapping, lenient.listing(report.get("passed_over"))):
        size = lenient.integer(one.get("bytes"))
        made = "not made" if size is None else formats.human_bytes(size)
        words.append(f"{single_line(one.get('variant'))} ({made}) {single_line(one.get('code')) or 'no reason recorded'}")
    return words
