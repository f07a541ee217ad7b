"""Facts of a fleet -> what the index page shows, as plain values: the template only lays them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from liteferry.report import fields, formats
from liteferry.report.hints import hint_for
from liteferry.report.model_view import badge, pairs, variant_anchor
from liteferry.types import Status

MESSAGES_PER_REASON = 25
MODELS_PER_MESSAGE = 50
MESSAGE_CHARACTERS = 400
UNSTATED_HINT = "No reason was recorded. Look at the log of the run, or run again with `--force`."

Facts = Mapping[str, Any]


def index_view(facts: Facts) -> dict[str, Any]:
    """Totals and a verdict in a sentence, then what did not ship grouped by reason, then every model."""
    models = facts["models"]
    variants = fields.ordered_variants(name for model in models for name in model["variants"])
    return {
        "verdict": verdict(facts["totals"]),
        "tone": _tone(facts["totals"]),
        "totals": facts["totals"],
        "by_variant": _by_variant(facts["totals"]),
        "shortfalls": shortfalls(models),
        "variants": variants,
        "models": [_model_row(model, variants) for model in models],
        "run": pairs(facts.get("run")),
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
        for name in fields.ordered_variants(by_variant)
    ]


def shortfalls(models: Sequence[Facts]) -> list[dict[str, Any]]:
    """What did not ship, grouped by reason code (most models first), then by message; equal messages stand once."""
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
    for name in fields.ordered_variants(model["variants"]):
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
    }


def _link(model: Facts, variant: str | None) -> dict[str, Any]:
    anchor = f"#{variant_anchor(variant)}" if variant is not None else ""
    return {"model_id": model["model_id"], "variant": variant, "href": model_href(model["model_id"]) + anchor}


def model_href(model_id: str) -> str:
    """The address of a model's page from the index."""
    return f"models/{quote(model_id, safe='')}/report.html"


def _model_row(model: Facts, variants: Sequence[str]) -> dict[str, Any]:
    saved_model = model["saved_model"]
    return {
        "id": model["model_id"] or "(no id)",
        "href": model_href(model["model_id"]),
        "uri": model["checkpoint_uri"],
        "badge": badge(model["status"]),
        "code": (model["reason"] or {}).get("code"),
        "warnings": formats.counted(len(model["warnings"]), "warning") if model["warnings"] else None,
        "saved_model": saved_model and _numbers(saved_model["max_abs"], saved_model["bytes"]),
        "cells": [_variant_cell(model, name) for name in variants],
    }


def _variant_cell(model: Facts, name: str) -> dict[str, Any]:
    variant = model["variants"].get(name)
    if variant is None:
        return {"name": name, "badge": None}
    return {
        "name": name,
        "badge": badge(variant["status"]),
        "href": f"{model_href(model['model_id'])}#{variant_anchor(name)}",
        "numbers": _numbers(variant["worst_max_abs"], variant["bytes"]),
        "recommended": name == model["recommended_variant"],
    }


def _numbers(max_abs: object, size: object) -> str:
    """`1.2e-07 · 21 kB`, leaving out what is not known."""
    known = [formats.human_number(max_abs) if fields.number(max_abs) is not None else "", formats.human_bytes(size)]
    return " · ".join(part for part in known if part not in ("", formats.ABSENT))
