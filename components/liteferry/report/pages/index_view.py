"""Facts of a fleet -> the index page's content as plain values; the template only lays them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from liteferry import lenient
from liteferry.report import formats
from liteferry.report.hints import hint_for
from liteferry.report.pages.index_charts import changes, index_charts
from liteferry.report.pages.model_view import badge, pairs, variant_anchor
from liteferry.report.pages.table_data import table_data
from liteferry.types import Status

MESSAGES_PER_REASON = 25
MODELS_PER_MESSAGE = 50
MESSAGE_CHARACTERS = 400
MESSAGES_SHOWN_AT_ONCE = 3
CHANGES_PER_KIND = 200
# Label and position of the table's columns that a reader on a phone can sort by.
SORTABLE = (("model", 0), ("verdict", 3), ("size", 5), ("worst error", 6), ("latency", 8))
UNSTATED_HINT = "No reason was recorded. Look at the log of the run, or run again with `--force`."

Facts = Mapping[str, Any]


def index_view(facts: Facts) -> dict[str, Any]:
    """Totals and a verdict in a sentence, then models that did not ship, grouped by reason, then every model."""
    models = facts["models"]
    variants = lenient.ordered_variants(name for model in models for name in model["variants"])
    charts = index_charts(facts)
    return {
        **shared_view(facts["totals"], facts.get("run")),
        "shortfalls": shortfalls(models),
        "models": [_model_row(model) for model in models],
        "held_back": [_held_back(model) for model in models if model.get("held_back")],
        "changes": [linked(change) for change in changes(facts)],
        "sortable": SORTABLE,
        "charts": charts,
        "has_charts": any(charts.values()),
        "errors_in_words": errors_in_words(charts["errors"]),
        "reasons_in_words": reasons_in_words(charts["reasons"]),
        "data": {"table": table_data(facts), "charts": charts, "variants": [formats.single_line(name) for name in variants]},
        "warned": sum(model["status"] == Status.BLESSED.value and bool(model.get("warnings")) for model in models),
    }


def shared_view(totals: Facts, run: object) -> dict[str, Any]:
    """What the page of a fleet of any size shows of its totals and of the run."""
    return {
        "verdict": verdict(totals),
        "tone": _tone(totals),
        "totals": totals,
        "by_variant": _by_variant(totals),
        "head": _head(run),
        "run": _run(run),
        "trend": trend(run),
    }


def _head(value: object) -> list[tuple[str, str]]:
    """When, of what, where and with what, in a few lines; the rest stands under `Run`."""
    run = lenient.mapping(value)
    took = run.get("duration_s")
    ended = formats.single_line(run.get("ended"))
    versions = lenient.mapping(run.get("libraries"))
    libraries = {name: versions[name] for name in sorted(versions, key=lambda name: name != "liteferry")}
    machine = [formats.single_line(run[key]) for key in ("machine", "cpu") if run.get(key)]
    told = (
        ("ended", f"{ended}, after {formats.human_seconds(took)}" if ended and took is not None else ended),
        ("job", formats.single_line(run.get("job"), limit=400)),
        ("output", formats.single_line(run.get("output"), limit=400)),
        ("machine", ", ".join(machine)),
        ("made with", ", ".join(f"{name} {formats.single_line(version)}" for name, version in libraries.items())),
    )
    return [(name, words) for name, words in told if words]


def _run(value: object) -> list[tuple[str, str]]:
    """The facts of the run, one entry for each library; earlier runs are drawn as a chart."""
    run = lenient.mapping(value)
    shown = {
        name: item
        for name, item in run.items()
        if name not in ("libraries", "runs", "seconds", "duration_s") and item is not None
    }
    if run.get("seconds") is not None:
        shown["work of all models"] = formats.human_seconds(run["seconds"])
    return pairs({**shown, **lenient.mapping(run.get("libraries"))})


TREND_SHOWN, _BAR, _HEIGHT = 30, 10, 40


def trend(run: object) -> dict[str, Any] | None:
    """The last runs as bars of blessed, not blessed and failed models, the newest to the right; None for a first run."""
    runs = [lenient.mapping(one) for one in lenient.listing(lenient.mapping(run).get("runs"))][-TREND_SHOWN:]
    most = max((lenient.integer(one.get("models")) or 0 for one in runs), default=0)
    if len(runs) < 2 or not most:
        return None
    bars = []
    for place, one in enumerate(runs):
        below = 0.0
        for status in (Status.BLESSED, Status.NOT_BLESSED, Status.FAILED):
            height = round(_HEIGHT * (lenient.integer(one.get(status.value)) or 0) / most, 2)
            below += height
            if height:
                bars.append({"tone": status.value, "x": place * _BAR, "y": round(_HEIGHT - below, 2), "height": height})
    told = [f"{formats.single_line(one.get('ended'))}: {one.get('blessed')} of {one.get('models')} blessed" for one in runs]
    return {
        "bars": bars,
        "width": len(runs) * _BAR,
        "bar": _BAR - 2,
        "height": _HEIGHT,
        "count": len(runs),
        "words": "; ".join(told),
    }


def verdict(totals: Facts) -> str:
    """The whole fleet in one sentence."""
    if not totals["models"]:
        return "No model was found: nothing ran, and nothing is blessed."
    if totals["blessed"] == totals["models"]:
        return "The model is blessed." if totals["models"] == 1 else f"All {totals['models']:,} models are blessed."
    is_or_are = "is" if 1 in (totals["blessed"], totals["models"]) else "are"
    return f"{totals['blessed']:,} of {formats.counted(totals['models'], 'model')} {is_or_are} blessed."


def _tone(totals: Facts) -> str:
    return Status.BLESSED.value if totals["models"] and totals["blessed"] == totals["models"] else Status.NOT_BLESSED.value


def _by_variant(totals: Facts) -> list[dict[str, Any]]:
    by_variant = totals["by_variant"]
    return [
        {"name": name, "counts": [{"status": verdict.value, "count": by_variant[name][verdict.value]} for verdict in Status]}
        for name in lenient.ordered_variants(by_variant)
    ]


def shortfalls(models: Sequence[Facts]) -> list[dict[str, Any]]:
    """Models that did not ship, grouped by reason code (most models first), then by message; equal messages are listed once."""
    groups: dict[str, dict[tuple[str, str], list[dict[str, Any]]]] = {}
    for model in models:
        for variant, reason in _missed(model):
            message = (reason.get("stage") or "", reason.get("message") or "No message was recorded.")
            link = _link(model, variant)
            groups.setdefault(reason.get("code") or "UNSTATED", {}).setdefault(message, []).append(link)
    found = [_group(code, messages) for code, messages in groups.items()]
    return sorted(found, key=lambda group: (-group["models"], group["code"]))


def _missed(model: Facts) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Each variant that is not blessed with its reason, and the model's own reason unless a variant's has the same code."""
    of_model = model["reason"] or {}
    codes = set()
    for name in lenient.ordered_variants(model["variants"]):
        variant = model["variants"][name]
        if variant["status"] != Status.BLESSED.value:
            reason = variant["reason"] or of_model
            codes.add(reason.get("code"))
            yield name, reason
    if model["status"] != Status.BLESSED.value and of_model.get("code") not in codes:
        yield None, of_model


def _group(code: str, messages: Mapping[tuple[str, str], list[dict[str, Any]]]) -> dict[str, Any]:
    shown = [
        {
            "stage": formats.STAGE_WORDS.get(stage, stage),
            "text": message if len(message) <= MESSAGE_CHARACTERS else message[: MESSAGE_CHARACTERS - 1].rstrip() + "…",
            "links": links[:MODELS_PER_MESSAGE],
            "more": max(0, len(links) - MODELS_PER_MESSAGE),
        }
        for (stage, message), links in list(messages.items())[:MESSAGES_PER_REASON]
    ]
    models = {link["model_id"] for links in messages.values() for link in links}
    return {
        "code": code,
        "models": len(models),
        "count": formats.counted(len(models), "model"),
        "hint": UNSTATED_HINT if code == "UNSTATED" else hint_for(code),
        "messages": shown,
        "more": max(0, len(messages) - MESSAGES_PER_REASON),
        "told": formats.counted(len(messages), "message"),
        "is_short": len(messages) <= MESSAGES_SHOWN_AT_ONCE,
    }


def _link(model: Facts, variant: str | None) -> dict[str, Any]:
    anchor = f"#{variant_anchor(variant)}" if variant is not None else ""
    return {"model_id": model["model_id"], "variant": variant, "href": href_of(model) + anchor}


def href_of(model: Facts) -> str:
    """The address of a model's page from the index: of the attempt, where one is held back."""
    return model_href(model["model_id"], folder="attempts" if model.get("held_back") else "models")


def model_href(model_id: str, *, folder: str = "models") -> str:
    """The address of a page below OUT/models or OUT/attempts."""
    return f"{folder}/{quote(model_id, safe='')}/report.html"


def _model_row(model: Facts) -> dict[str, Any]:
    return {
        "id": model["model_id"] or "(no id)",
        "href": href_of(model),
        "badge": badge(model["status"]),
        "code": (model["reason"] or {}).get("code"),
        "caution": lenient.caution(model),
    }


def _held_back(model: Facts) -> dict[str, Any]:
    """A model whose last blessed folder stays: since when, why, and both pages."""
    held = lenient.mapping(model["held_back"])
    reason = lenient.reason(held.get("reason")) or {}
    return {
        "id": model["model_id"],
        "href": href_of(model),
        "kept_href": model_href(model["model_id"]),
        "since": formats.single_line(held.get("since")),
        "code": reason.get("code") or "UNSTATED",
        "version": lenient.integer(lenient.mapping(held.get("kept")).get("version")),
    }


def linked(change: dict[str, Any]) -> dict[str, Any]:
    """A change with the addresses of its models' pages."""
    shown = change["items"][:CHANGES_PER_KIND]
    items = [item | {"href": model_href(item["model_id"]) if item["model_id"] else None} for item in shown]
    return change | {"items": items, "more": change["count"] - len(items)}


def errors_in_words(errors: Mapping[str, Any] | None) -> str:
    """The chart's content as text, for people who cannot see it."""
    if errors is None:
        return ""
    told = [f"{label}: {sum(one['counts'][place] for one in errors['series'])}" for place, label in enumerate(errors["labels"])]
    return "Bar chart of variants by the decade of their largest difference. " + ", ".join(told)


def reasons_in_words(reasons: Mapping[str, Any] | None) -> str:
    """As `errors_in_words`."""
    if reasons is None:
        return ""
    told = [f"{label}: {count}" for label, count in zip(reasons["labels"], reasons["counts"], strict=True)]
    return "Bar chart of models by reason. " + ", ".join(told)
