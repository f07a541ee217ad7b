"""The page of a campaign: what was made, reloaded, blessed; and the sentences of what did not hold."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LEAST_BLESSED = 0.95
Result = Mapping[str, Any]


def is_lie(result: Result) -> bool:
    return bool(result["verdict"] and result["verdict"]["wrong"])


def is_blessed(result: Result) -> bool:
    return bool(result["verdict"] and result["verdict"]["is_blessed"])


def is_reloaded(result: Result) -> bool:
    return result["reload"] is None


def is_equal(result: Result) -> bool:
    opinion = (result["verdict"] or {}).get("second_opinion") or {}
    return opinion.get("status") == "equal"


def problems(results: Sequence[Result]) -> list[str]:
    """`broken`, and a sentence for too many refusals."""
    found = broken(results)
    reloaded = [result for result in results if is_reloaded(result)]
    share = sum(map(is_blessed, reloaded)) / max(1, len(reloaded))
    if share < LEAST_BLESSED:
        found.append(
            f"{share:.1%} of the models that their own library reloads right are blessed, of at least {LEAST_BLESSED:.0%}"
        )
    return found


def broken(results: Sequence[Result]) -> list[str]:
    """A sentence for each lie, for each model without a report, and for each blessed one without its second opinion."""
    found = []
    for result in results:
        name = f"{result['library']} {result['name']}"
        if result["verdict"] is None:
            found.append(f"{name}: no report")
        elif "INTERNAL" in result["verdict"]["codes"]:
            found.append(f"{name}: INTERNAL: {result['verdict']['message']}")
        if is_lie(result):
            found.append(f"{name}: blessed and wrong: {result['verdict']['wrong']}")
        if is_blessed(result) and not is_equal(result) and not _may_lack_opinion(result):
            found.append(f"{name}: blessed without a second opinion: {result['verdict']['second_opinion']}")
    return found


def _may_lack_opinion(result: Result) -> bool:
    """Siblings that share a trace are exempt, and the report says whose. Other exceptions are not made here."""
    opinion = result["verdict"]["second_opinion"] or {}
    return opinion.get("status") == "none" and (opinion.get("why") or "").startswith("a sibling of ")


def page(results: Sequence[Result]) -> str:
    """The table by library and kind of file; siblings that share a trace are `exempt`. Below it, by reason code, what was refused
    though its own library reloads it right.
    """
    rows = collections.defaultdict(list)
    for result in results:
        group = "" if result["group"] == "table" else f", {result['group']}"
        rows[f"{result['library']}{group}", result["file"]].append(result)
    head = "| library | file | models | reloaded right by it | of them blessed | float32, too | opinion equal | exempt | lies |"
    lines = [head, "| --- | --- |" + " ---: |" * 7]
    lines += [f"| {library} | `{file}` | {_counts(group)} |" for (library, file), group in sorted(rows.items())]
    lines.append(f"| all | | {_counts(results)} |")
    refused = [result for result in results if is_reloaded(result) and not is_blessed(result)]
    by_code = collections.Counter(
        ", ".join(result["verdict"]["codes"]) if result["verdict"] else "no report" for result in refused
    )
    lines += ["", f"Refused although the library reloads them right: {_listed(by_code)}."]
    wrong = [result for result in results if not is_reloaded(result)]
    then = collections.Counter("blessed, right" if is_blessed(result) else "refused" for result in wrong if not is_lie(result))
    lines += ["", f"Reloaded wrong, or not at all, by their own library: {len(wrong)}. Of these here: {_listed(then)}."]
    return "\n".join(lines)


def _counts(results: Iterable[Result]) -> str:
    every = list(results)
    right = [result for result in every if is_reloaded(result)]
    blessed = [result for result in right if is_blessed(result)]
    lite = sum("float32" in result["verdict"]["blessed"] for result in blessed)
    opinions = [sum(map(is_equal, blessed)), sum(map(_may_lack_opinion, blessed))]
    return " | ".join(map(str, [len(every), len(right), len(blessed), lite, *opinions, sum(map(is_lie, every))]))


def _listed(counts: collections.Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"
