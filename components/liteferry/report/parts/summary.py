"""Counts of a large fleet: made for each part where its rows are written, added up where the last part is there.

All of it is plain JSON and small: of messages, models and changes the first ones are kept, and how many there are.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from liteferry import lenient
from liteferry.report.changes import KINDS, renamed
from liteferry.report.fleet_check import IN_PARTS
from liteferry.report.pages.index_charts import error_counts
from liteferry.report.pages.index_view import shortfalls
from liteferry.report.run_facts import tally
from liteferry.samples.choosing import NOTE
from liteferry.types import Status

EXAMPLES_KEPT = 20
MESSAGES_KEPT = 25
CHANGES_KEPT = 200
NOTES_KEPT = 10
_ROSTER = ("new", "gone")

Summary = dict[str, Any]


def of_part(facts: Mapping[str, Any], entries: Sequence[lenient.Report], changes: Mapping[str, Any] | None) -> Summary:
    """The counts of one part.

    Args:
      facts: `fleet.fleet_facts` of the part's models.
      entries: the fleet table's entries that they were made from.
      changes: `changes.compared` of the same models.
    """
    models = facts["models"]
    return {
        "totals": {
            **facts["totals"],
            "held_back": sum(bool(model.get("held_back")) for model in models),
            "warned": _warned(models),
        },
        "searches": _searches(entries),
        "reasons": {group["code"]: _reason(group) for group in shortfalls(models)},
        "errors": error_counts(facts["rows"]),
        "metrics": _metric_counts(models),
        "notes": sorted(_notes(models))[:NOTES_KEPT],
        "verdicts": [[model["status"], (model["reason"] or {}).get("code")] for model in models],
        "has_latency": any(row["latency_ms"] is not None for row in facts["rows"]),
        "tally": tally(entries),
        "changes": None if changes is None else {kind: _kept(kind, changes.get(kind) or []) for kind in (*KINDS,)},
    }


def _warned(models: Iterable[Mapping[str, Any]]) -> int:
    return sum(model["status"] == Status.BLESSED.value and bool(model.get("warnings")) for model in models)


def _notes(models: Iterable[Mapping[str, Any]]) -> set[str]:
    return {str(note) for model in models for note in model.get("warnings") or () if str(note).startswith(NOTE)}


def _searches(entries: Iterable[lenient.Report]) -> list[list[Any]]:
    """[files made, whether a sibling's mix was taken] of each model with `auto`."""
    autos = (lenient.mapping(lenient.mapping(lenient.mapping(one.get("variants")).get("auto")).get("auto")) for one in entries)
    return [[lenient.integer(facts.get("candidates")) or 0, bool(facts.get("from_family"))] for facts in autos if facts]


def _metric_counts(models: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts: collections.Counter[str] = collections.Counter()
    for model in models:
        for variant in model["variants"].values():
            counts.update(lenient.mapping(variant.get("metrics")).keys())
    return dict(counts)


def _reason(group: Mapping[str, Any]) -> dict[str, Any]:
    """`{models, messages: [{stage, text, count, examples}], has_more}` of one reason code."""
    messages = [
        {
            "stage": message["stage"],
            "text": message["text"],
            "count": len(message["links"]) + message["more"],
            "examples": [_example(link) for link in message["links"][:EXAMPLES_KEPT]],
        }
        for message in group["messages"]
    ]
    return {"models": group["models"], "messages": messages, "has_more": bool(group["more"])}


def _example(link: Mapping[str, Any]) -> dict[str, Any]:
    return {"model_id": link["model_id"], "variant": link["variant"], "page": link["href"].partition("#")[0]}


def _kept(kind: str, entries: Sequence[Any]) -> dict[str, Any]:
    return {"count": len(entries), "items": list(entries if kind in _ROSTER else entries[:CHANGES_KEPT])}


def merged(summaries: Sequence[Summary]) -> Summary:
    """The counts of the whole fleet from those of its parts, in their order: what `fleet_summary` and the page are made of."""
    return {
        "totals": {**_merged_totals(summaries), "auto": _merged_searches(summaries)},
        "reasons": _merged_reasons(summaries),
        "errors": _added(one["errors"] for one in summaries),
        "metrics": dict(_counted(one["metrics"] for one in summaries)),
        "notes": sorted({note for one in summaries for note in one["notes"]})[:NOTES_KEPT],
        "verdicts": [verdict for one in summaries for verdict in one["verdicts"]],
        "has_latency": any(one["has_latency"] for one in summaries),
        "tallies": [one["tally"] for one in summaries],
        "changes": _merged_changes([one["changes"] for one in summaries if one["changes"] is not None]),
    }


def _counted(counts: Iterable[Mapping[str, int]]) -> collections.Counter[str]:
    total: collections.Counter[str] = collections.Counter()
    for one in counts:
        total.update(one)
    return total


def _added(tables: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, collections.Counter[str]] = {}
    for table in tables:
        for name, counts in table.items():
            total.setdefault(name, collections.Counter()).update(counts)
    return {name: dict(total[name]) for name in lenient.ordered_variants(total)}


def _merged_totals(summaries: Sequence[Summary]) -> dict[str, Any]:
    totals = [one["totals"] for one in summaries]
    plain = ("models", "blessed", "not_blessed", "failed", "held_back", "warned")
    counts = {key: sum(one[key] for one in totals) for key in plain}
    by_reason = dict(sorted(_counted(one["by_reason"] for one in totals).items()))
    return {**counts, "by_reason": by_reason, "by_variant": _added(one["by_variant"] for one in totals)}


def _merged_searches(summaries: Sequence[Summary]) -> Any:
    from liteferry.report.fleet import search_totals

    return search_totals((count, is_of_family) for one in summaries for count, is_of_family in one["searches"])


def _merged_reasons(summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in summaries:
        for code, group in one["reasons"].items():
            groups.setdefault(code, []).append(group)
    found = [
        {
            "code": code,
            "models": sum(group["models"] for group in of_code),
            **_merged_messages(of_code),
        }
        for code, of_code in groups.items()
    ]
    return sorted(found, key=lambda group: (-group["models"], group["code"]))


def _merged_messages(groups: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    messages: dict[tuple[str, str], dict[str, Any]] = {}
    has_more = False
    for group in groups:
        has_more |= group["has_more"]
        for message in group["messages"]:
            there = messages.setdefault((message["stage"], message["text"]), {**message, "count": 0, "examples": []})
            there["count"] += message["count"]
            there["examples"] = (there["examples"] + message["examples"])[:EXAMPLES_KEPT]
    ranked = sorted(messages.values(), key=lambda message: -message["count"])  # stable: equal ones by model id
    return {"messages": ranked[:MESSAGES_KEPT], "has_more": has_more or len(ranked) > MESSAGES_KEPT}


def _merged_changes(changes: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """`{kind: {count, items}}`, or None where no part has an earlier run."""
    if not changes:
        return None
    every = {kind: [item for one in changes for item in one[kind]["items"]] for kind in KINDS}
    every |= renamed(every["new"], every["gone"]) | {"libraries": _libraries(every["libraries"])}
    counts = {kind: sum(one[kind]["count"] for one in changes) for kind in KINDS}
    counts |= {kind: len(every[kind]) for kind in ("new", "gone", "renamed", "libraries")}
    return {kind: {"count": counts[kind], "items": every[kind][:CHANGES_KEPT]} for kind in KINDS}


def _libraries(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    counts: collections.Counter[tuple[str, str, str]] = collections.Counter()
    for one in entries:
        counts[one["library"], one["was"], one["is"]] += one["models"]
    return [
        {"library": name, "was": was, "is": is_now, "models": count, "what": f"{name} {was} -> {is_now}: {count} done again"}
        for (name, was, is_now), count in sorted(counts.items())
    ]


def fleet_summary(whole: Summary, parts: Sequence[Mapping[str, Any]], run: Mapping[str, Any] | None) -> dict[str, Any]:
    """fleet.json of a fleet in parts: `schema_version, totals, reasons, notes, parts, changes, change_counts, run`."""
    changes = whole["changes"]
    return {
        "schema_version": IN_PARTS,
        "totals": whole["totals"],
        "reasons": whole["reasons"],
        "notes": whole["notes"],
        "parts": list(parts),
        "changes": None if changes is None else {kind: found["items"] for kind, found in changes.items()},
        "change_counts": None if changes is None else {kind: found["count"] for kind, found in changes.items()},
        "run": dict(run) if run else None,
    }
