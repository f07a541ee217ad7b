"""Facts of a fleet -> the data of the index page's charts: sizes against errors, errors by decade, reasons by count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry import lenient
from liteferry.report import formats

Facts = Mapping[str, Any]

SMALLEST_DECADE, LARGEST_DECADE = -12, 6


def index_charts(facts: Facts) -> dict[str, Any]:
    """`{scatter, errors, reasons}`; None for a chart without data.

    The points of the scatter are not included: the script takes them from the table's rows, so that the page holds them once.
    """
    rows = [row for row in facts["rows"] if row["variant"] is not None]
    variants = lenient.ordered_variants(row["variant"] for row in rows)
    measured = [row for row in rows if lenient.number(row["worst_max_abs"]) is not None]
    drawn = any(lenient.integer(row["bytes"]) is not None for row in measured)
    return {
        "scatter": {"variants": [formats.single_line(name, limit=120) for name in variants]} if drawn else None,
        "errors": error_chart({**{name: {} for name in variants}, **error_counts(measured)}),
        "reasons": reason_chart(facts["totals"]["by_reason"]),
    }


def error_counts(rows: Sequence[Facts]) -> dict[str, dict[str, int]]:
    """variant -> decade of its largest difference -> number of variants: `-3`, `exact` or `not finite`."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        value = lenient.number(row["worst_max_abs"])
        if row["variant"] is not None and value is not None:
            of_variant = counts.setdefault(row["variant"], {})
            key = str(_decade(value))
            of_variant[key] = of_variant.get(key, 0) + 1
    return counts


def error_chart(counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any] | None:
    """How many variants have their largest difference in each decade; exact and non-finite ones are counted separately."""
    keys = {key for of_variant in counts.values() for key in of_variant}
    if not keys:
        return None
    finite = [int(key) for key in keys if key not in ("exact", "not finite")]
    decades = [str(edge) for edge in range(min(finite), max(finite) + 1)] if finite else []
    edges = ["exact"] * ("exact" in keys) + decades + ["not finite"] * ("not finite" in keys)
    return {
        "labels": [f"1e{edge}" if edge in decades else edge for edge in edges],
        "series": [
            {"name": formats.single_line(name, limit=120), "counts": [counts[name].get(edge, 0) for edge in edges]}
            for name in lenient.ordered_variants(counts)
        ],
    }


def _decade(value: float) -> int | str:
    """The decade of a value: -3 for 0.001 <= value < 0.01."""
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "exact"
    return max(SMALLEST_DECADE, min(LARGEST_DECADE, math.floor(math.log10(abs(value)))))


def reason_chart(by_reason: Mapping[str, int]) -> dict[str, Any] | None:
    """Models that are not blessed by reason, the most frequent first; None without one."""
    ranked = sorted(by_reason.items(), key=lambda item: (-item[1], item[0]))
    if not ranked:
        return None
    return {"labels": [formats.single_line(code, limit=60) for code, _ in ranked], "counts": [count for _, count in ranked]}


def changes(facts: Facts) -> list[dict[str, Any]]:
    """Changes since the last run, `changes` of fleet.json: one entry for each kind of change, with its models.

    Entries of any shape are shown: a model's id as a link, anything else as text.
    """
    found = []
    for kind, entries in lenient.mapping(facts.get("changes")).items():
        items = lenient.listing(entries) or [{"model_id": key, "what": value} for key, value in lenient.mapping(entries).items()]
        if items:
            told = [_change(item) for item in items]
            found.append({"kind": kind.replace("_", " "), "count": len(told), "items": told})
    return found


def _change(item: object) -> dict[str, str | None]:
    if isinstance(item, str):
        return {"model_id": item, "what": ""}
    entry = lenient.mapping(item)
    model_id = entry.pop("model_id", None)
    words = ", ".join(f"{key.replace('_', ' ')} {formats.plain(value)}" for key, value in entry.items() if value is not None)
    return {
        "model_id": None if model_id is None else lenient.text(model_id),
        "what": words or ("" if model_id is not None else formats.plain(item)),
    }
