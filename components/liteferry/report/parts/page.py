"""The page of a large fleet: a summary with each model's verdict, and files beside it that its script loads when it needs them.

A piece has what the table shows of a hundred models; a part's file for searches has the texts that are searched. Both are
scripts, since a page that lies on a disk may load scripts but no data: `LiteFerry.take(NAME, JSON)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry import lenient
from liteferry.report import formats
from liteferry.report.hints import hint_for
from liteferry.report.pages import index_view as index
from liteferry.report.pages.index_charts import changes, error_chart, reason_chart
from liteferry.report.pages.table_data import METRICS_SHOWN, json_block, table_data
from liteferry.report.parts.summary import Summary
from liteferry.storage import beneath, layout

MODELS_IN_A_PIECE = 100
_LETTER = 0x41  # the first of the letters that stand for a verdict and a reason

Facts = Mapping[str, Any]


def write_pieces(out: str, number: int, facts: Facts) -> dict[str, Any]:
    """Writes what the page loads of one part. Returns `{find: [name, models], pieces: [[name, models], ...]}`, with names in
    `layout.PAGE_PARTS`, which hold digests of the content.
    """
    models, rows = facts["models"], facts["rows"]
    by_id: dict[str, list[Facts]] = {}
    for row in rows:
        by_id.setdefault(row["model_id"], []).append(row)
    pieces = []
    for start in range(0, len(models), MODELS_IN_A_PIECE):
        some = models[start : start + MODELS_IN_A_PIECE]
        found = table_data({"models": some, "rows": [row for model in some for row in by_id[model["model_id"]]]})
        name = _write(out, f"{number:05}-{start // MODELS_IN_A_PIECE:02}", found)
        pieces.append([name, len(some)])
    return {"find": [_write(out, f"{number:05}-find", _find_data(models, by_id)), len(models)], "pieces": pieces}


def _write(out: str, name: str, value: Any) -> str:
    text = json_block(value)
    named = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.js"
    beneath.write_bytes(out, f"{layout.PAGE_PARTS}/{named}", f'LiteFerry.take("{named}",{text});\n'.encode())
    return named


def _find_data(models: Sequence[Facts], by_id: Mapping[str, Sequence[Facts]]) -> dict[str, Any]:
    """`{start, words, models}`: of each model its id, its path after `start`, and its message, reason and metadata by their
    places in `words`.
    """
    found = table_data({"models": models, "rows": [by_id[model["model_id"]][0] for model in models]})["models"]
    start = _shared_start([uri for _, _, _, _, uri, *_ in found])
    words: dict[str, int] = {}
    told = []
    for model_id, _, reason, message, uri, _, metadata, *_ in found:
        places = [words.setdefault(word, len(words)) for word in (message, reason, *metadata) if word]
        told.append([model_id, uri[len(start) :], *places])
    return {"start": start, "words": list(words), "models": told}


def _shared_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    return first[: next((place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))]


def parts_view(summary: Facts, whole: Summary, pages: Sequence[Facts]) -> dict[str, Any]:
    """The content of the page as plain values, with the same names as `index_view`.

    Args:
      summary: fleet.json.
      whole: `summary.merged` of its parts.
      pages: `write_pieces` of each part, in order.
    """
    totals = summary["totals"]
    charts = {"errors": error_chart(whole["errors"]), "reasons": reason_chart(totals["by_reason"])}
    metrics = sorted(whole["metrics"], key=lambda name: (-whole["metrics"][name], name))[:METRICS_SHOWN]
    kinds = sorted({(status, code) for status, code in whole["verdicts"]}, key=lambda kind: (kind[0], kind[1] or ""))
    letters = {kind: chr(_LETTER + place) for place, kind in enumerate(kinds)}
    return {
        **index.shared_view(totals, summary.get("run")),
        "warned": totals["warned"],
        "shortfalls": [shortfall(group) for group in summary["reasons"]],
        "changes": [_change(change, summary["change_counts"]) for change in map(index.linked, changes(summary))],
        "charts": charts,
        "has_charts": any(charts.values()),
        "errors_in_words": index.errors_in_words(charts["errors"]),
        "reasons_in_words": index.reasons_in_words(charts["reasons"]),
        "data": {
            "folder": layout.PAGE_PARTS,
            "variants": [formats.single_line(name) for name in lenient.ordered_variants(totals["by_variant"])],
            "metrics": [formats.single_line(name, limit=120) for name in metrics],
            "has_latency": whole["has_latency"],
            "kinds": [[status, None if code is None else formats.single_line(code, limit=120)] for status, code in kinds],
            "letter": _LETTER,
            "verdicts": "".join(letters[status, code] for status, code in whole["verdicts"]),
            "parts": [page["find"] for page in pages],
            "pieces": [piece for page in pages for piece in page["pieces"]],
            "charts": charts,
        },
    }


def shortfall(group: Facts) -> dict[str, Any]:
    """A reason of fleet.json as the page and the terminal show it, in the form of `index_view.shortfalls`."""
    messages = group["messages"]
    shown = [
        {
            "stage": message["stage"],
            "text": message["text"],
            "links": [
                {"model_id": one["model_id"], "variant": one["variant"], "href": one["page"]} for one in message["examples"]
            ],
            "more": message["count"] - len(message["examples"]),
        }
        for message in messages
    ]
    return {
        "code": group["code"],
        "models": group["models"],
        "count": formats.counted(group["models"], "model"),
        "hint": index.UNSTATED_HINT if group["code"] == "UNSTATED" else hint_for(group["code"]),
        "messages": shown,
        "more": "some" if group["has_more"] else 0,
        "told": formats.counted(len(messages), "message"),
        "is_short": len(messages) <= index.MESSAGES_SHOWN_AT_ONCE,
    }


def _change(change: dict[str, Any], counts: Mapping[str, int] | None) -> dict[str, Any]:
    count = lenient.mapping(counts).get(change["kind"].replace(" ", "_"), change["count"])
    return {**change, "count": count, "more": count - len(change["items"])}


def write_page(out: str, summary: Facts, whole: Summary, pages: Sequence[Facts]) -> None:
    """Writes the page's shared scripts and, last, index.html."""
    from liteferry.report.pages.render import render_view, write_assets

    write_assets(out)
    page = render_view("fleet_in_parts.html.j2", parts_view(summary, whole, pages))
    beneath.write_bytes(out, layout.INDEX, page.encode("utf-8", "backslashreplace"))


def page_files(pages: Sequence[Facts]) -> set[str]:
    """Names in `layout.PAGE_PARTS` of the files that a page loads."""
    return {json_name for page in pages for json_name, _ in (page["find"], *page["pieces"])}
