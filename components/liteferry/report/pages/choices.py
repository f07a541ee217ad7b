"""A report -> the parts of a model's page about choices: the variant for each target, and the result of `auto`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liteferry import lenient
from liteferry.report import formats

_MOST_DB = 60.0  # a bar is full at this value; larger values look the same
_CPU = "cpu"


def targets(report: lenient.Report) -> list[dict[str, str]]:
    """One row for each target, where the job names more than the CPU; [] else."""
    found = lenient.mapping(report.get("targets"))
    if not set(found) - {_CPU}:
        return []
    return [
        {
            "target": formats.single_line(target),
            "how": formats.plain(facts.get("how")),
            "variant": lenient.text(facts.get("recommended_variant")) or formats.ABSENT,
            "why": lenient.text(facts.get("why")) or "",
            "trade_off": lenient.text(facts.get("trade_off")) or formats.ABSENT,
        }
        for target, facts in ((name, lenient.mapping(value)) for name, value in found.items())
    ]


def auto(report: lenient.Report) -> dict[str, Any] | None:
    """The search's result, each operator's sensitivity as a bar, and every mix that was tried; None without a search."""
    variants = lenient.mapping(report.get("variants"))
    facts = lenient.mapping(lenient.mapping(variants.get("auto")).get("auto"))
    if not facts:
        return None
    return {"sentence": _sentence(facts), "bars": _bars(facts), "tried": _tried(facts)}


def _sentence(facts: Mapping[str, Any]) -> str:
    weights = {name: lenient.integer(count) or 0 for name, count in lenient.mapping(facts.get("formats")).items()}
    total = sum(weights.values()) or 1
    held = ", ".join(f"{count / total:.0%} {formats.single_line(name)}" for name, count in weights.items() if count)
    searched, proving = (lenient.integer(facts.get(key)) or 0 for key in ("search_rows", "proof_rows"))
    rows = f"{searched} rows searched, {proving} to prove it"
    apart = "" if facts.get("rows_are_apart") else " (the same ones: there are few)"
    how = "the mix of a sibling" if facts.get("from_family") else f"{lenient.integer(facts.get('candidates')) or 0} files made"
    cut = "" if facts.get("is_complete") else "; the search was cut by its limits"
    return f"Weights: {held or 'none that could be chosen'}; {how}, {rows}{apart}{cut}."


def _bars(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for one in map(lenient.mapping, lenient.listing(facts.get("sensitivity"))):
        decibels = lenient.number(one.get("sqnr_db"))
        found.append(
            {
                "name": formats.single_line(one.get("name"), limit=120),
                "operator": formats.plain(one.get("operator")),
                "elements": formats.human_number(lenient.integer(one.get("elements")) or 0),
                "format": formats.plain(one.get("format")),
                "value": None if decibels is None else min(max(decibels, 0.0), _MOST_DB),
                "words": "no difference" if decibels is None else f"{decibels:.1f} dB",
            }
        )
    return found


def _tried(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    found = []
    for one in map(lenient.mapping, lenient.listing(facts.get("tried"))):
        size = lenient.integer(one.get("bytes"))
        held = ", ".join(f"{count} {formats.single_line(name)}" for name, count in lenient.mapping(one.get("formats")).items())
        found.append(
            {
                "formats": held or "all float32",
                "bytes": formats.ABSENT if size is None else formats.human_bytes(size),
                "on": formats.plain(one.get("on")),
                "result": "holds" if one.get("holds") else formats.single_line(one.get("why"), limit=300) or "does not hold",
            }
        )
    return found
