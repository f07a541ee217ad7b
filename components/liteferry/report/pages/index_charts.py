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
        "errors": _errors(measured, variants),
        "reasons": _reasons(facts["totals"]["by_reason"]),
    }


def _errors(measured: Sequence[Facts], variants: Sequence[str]) -> dict[str, Any] | None:
    """How many variants have their largest difference in each decade; exact and non-finite ones are counted separately."""
    if not measured:
        return None
    keys = [_decade(lenient.number(row["worst_max_abs"]) or 0.0) for row in measured]
    finite = [key for key in keys if isinstance(key, int)]
    decades: list[int | str] = list(range(min(finite), max(finite) + 1)) if finite else []
    edges = ["exact"] * ("exact" in keys) + decades + ["not finite"] * ("not finite" in keys)
    counts = {name: dict.fromkeys(edges, 0) for name in variants}
    for row, key in zip(measured, keys, strict=True):
        counts[row["variant"]][key] += 1
    return {
        "labels": [f"1e{edge}" if isinstance(edge, int) else edge for edge in edges],
        "series": [{"name": formats.single_line(name, limit=120), "counts": list(counts[name].values())} for name in variants],
    }


def _decade(value: float) -> int | str:
    """The decade of a value: -3 for 0.001 <= value < 0.01."""
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "exact"
    return max(SMALLEST_DECADE, min(LARGEST_DECADE, math.floor(math.log10(abs(value)))))


def _reasons(by_reason: Mapping[str, int]) -> dict[str, Any] | None:
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
