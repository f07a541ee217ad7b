"""Checks a fleet.json before `show` prints it and takes its exit status from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liteferry.types import Status

_MODEL_TEXTS = ("model_id", "status")
_OPTIONAL_TEXTS = ("checkpoint_uri", "kind", "recommended_variant")


IN_PARTS = 2
"""`schema_version` of a fleet.json whose models are in parts."""
_COUNTS = ("models", Status.BLESSED.value, Status.NOT_BLESSED.value, Status.FAILED.value)


def is_in_parts(facts: Mapping[str, Any]) -> bool:
    """Whether the rows of a fleet are in parts."""
    return facts.get("schema_version") == IN_PARTS


def sound_summary(facts: Mapping[str, Any]) -> None:
    """Raises ValueError that names the problem where a summary has not the form of one, or contradicts itself."""
    totals, parts = facts.get("totals"), facts.get("parts")
    if not isinstance(totals, dict) or not isinstance(parts, list) or not isinstance(facts.get("reasons"), list):
        raise ValueError("it has no totals, no reasons, or no parts")
    for name in _COUNTS:
        if not isinstance(totals.get(name), int) or isinstance(totals[name], bool) or totals[name] < 0:
            raise ValueError(f"its totals say {totals.get(name)!r} for {name}")
    for place, part in enumerate(parts):
        whole = isinstance(part, dict) and isinstance(part.get("models"), int) and isinstance(part.get("rows"), int)
        if not whole or not all(isinstance(part.get(key), str) for key in ("path", "sha256", "first", "last")):
            raise ValueError(f"parts[{place}] does not say its path, digest, range and counts")
    if sum(totals[name] for name in _COUNTS[1:]) != totals["models"]:
        raise ValueError(f"its totals say {totals['models']} for models, its verdicts add up to another number")
    if sum(part["models"] for part in parts) != totals["models"]:
        raise ValueError(f"its totals say {totals['models']} for models, its parts {sum(part['models'] for part in parts)}")


def sound_facts(facts: Any) -> dict[str, Any]:
    """The facts, if they have the form of a fleet's and agree with themselves. Raises ValueError that names the problem."""
    if not isinstance(facts, dict):
        raise ValueError("it is not a JSON object")
    if is_in_parts(facts):
        sound_summary(facts)
        return facts
    models, totals = facts.get("models"), facts.get("totals")
    if not isinstance(models, list) or not isinstance(totals, dict):
        raise ValueError("it has no models, or no totals")
    for place, model in enumerate(models):
        sound_model(place, model)
    counted = {"models": len(models)} | {
        status.value: sum(model["status"] == status.value for model in models)
        for status in (Status.BLESSED, Status.NOT_BLESSED, Status.FAILED)
    }
    for name, count in counted.items():
        if totals.get(name) != count:
            raise ValueError(f"its totals say {totals.get(name)!r} for {name}, its models {count}")
    return facts


def sound_model(place: int, model: Any) -> None:
    """Raises ValueError that names the problem where an entry of `models` has not the form of one."""
    if not isinstance(model, dict):
        raise ValueError(f"models[{place}] is not an object")
    missing = [name for name in (*_MODEL_TEXTS, *_OPTIONAL_TEXTS, "reason", "variants") if name not in model]
    if missing:
        raise ValueError(f"models[{place}] has no {missing[0]}")
    for name in (*_MODEL_TEXTS, *_OPTIONAL_TEXTS):
        value = model.get(name)
        if not (isinstance(value, str) or (name in _OPTIONAL_TEXTS and value is None)):
            raise ValueError(f"models[{place}].{name} is not text")
    if not _is_reason(model.get("reason")):
        raise ValueError(f"models[{place}].reason is no reason")
    variants = model.get("variants")
    if not isinstance(variants, dict):
        raise ValueError(f"models[{place}].variants is not an object")
    for name, variant in variants.items():
        if not isinstance(variant, dict) or not isinstance(variant.get("status"), str) or not _is_reason(variant.get("reason")):
            raise ValueError(f"models[{place}].variants has no verdict for {name!r}")


def _is_reason(reason: Any) -> bool:
    if reason is None:
        return True
    return isinstance(reason, Mapping) and all(
        isinstance(reason.get(key), (str, type(None))) for key in ("code", "stage", "message")
    )
