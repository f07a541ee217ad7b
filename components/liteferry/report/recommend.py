"""Recommends a variant to ship, and says why no smaller one is recommended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liteferry import lenient
from liteferry.report import formats
from liteferry.report.formats import single_line
from liteferry.types import Status

_AUTO = "auto"


MIN_SAVING = 0.1
"""How much a smaller file must save compared with one that agrees better, as a share of that file's bytes."""


def worth_naming(variants: Mapping[str, Mapping[str, Any]], *, min_saving: float = MIN_SAVING) -> str | None:
    """The blessed variant to ship; None if none is blessed. Goes through the blessed variants by agreement with the model, best
    first; a smaller variant replaces the current choice if it saves at least `min_saving` of its bytes. Among equal ones, the
    first by name.
    """
    blessed = {name: facts for name, facts in variants.items() if facts["status"] == Status.BLESSED.value}
    ordered = sorted(
        blessed, key=lambda name: (tuple(-share for share in _agreement(blessed[name])), blessed[name]["bytes"], name)
    )
    named: str | None = None
    for name in ordered:
        size = blessed[name]["bytes"]
        if named is None or (size < blessed[named]["bytes"] and size <= (1 - min_saving) * blessed[named]["bytes"]):
            named = name
    return named


def _agreement(facts: Mapping[str, Any]) -> tuple[float, float]:
    """How well a variant agrees with the model: its worst share of equal classes or integers, then its worst signal to noise.
    Differences below a thousandth of the share, or below one decibel, count as equal.
    """
    outputs = [lenient.mapping(stats) for stats in lenient.mapping(facts.get("parity")).values()]
    shares = [found for stats in outputs for key in _SHARES if (found := lenient.number(stats.get(key))) is not None]
    decibels = [found for stats in outputs if (found := lenient.number(stats.get("sqnr_db"))) is not None]
    return round(min(shares, default=1.0), 3), round(min([*decibels, _NO_NOISE_DB]))


_SHARES = ("argmax_agreement", "exact_agreement")
_NO_NOISE_DB = 100.0  # above this, differences are float32's own rounding


def passed_over(variants: Mapping[str, Mapping[str, Any]], recommended: str | None) -> list[dict[str, Any]]:
    """The variants that are smaller than the recommended one, smallest first; then those that were not made.

    Without a recommended variant that is every variant: {variant, bytes, code, saves}. `bytes` is None where there is no file,
    `code` where it is blessed: then `saves` says which share of the recommended one's bytes it would save, for answers that
    agree less.
    """
    most = float("inf") if recommended is None else variants[recommended]["bytes"]
    found = [
        {
            "variant": name,
            "bytes": facts["bytes"],
            "code": facts["reason"]["code"] if facts["reason"] else None,
            "saves": round(1 - facts["bytes"] / most, 4) if facts["status"] == Status.BLESSED.value else None,
        }
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
        saves = lenient.number(one.get("saves"))
        if saves is not None:
            words.append(f"{single_line(one.get('variant'))} ({made}) saves {saves:.1%} and agrees less")
            continue
        words.append(f"{single_line(one.get('variant'))} ({made}) {single_line(one.get('code')) or 'no reason recorded'}")
    return words


def with_what_auto_found(variants: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The variants of a report; each refused one names the file that `auto` found instead, if that is blessed."""
    found = variants.get(_AUTO, {})
    if found.get("status") != Status.BLESSED.value:
        return dict(variants)
    words = f"; {_AUTO} found a file of {formats.human_bytes(found['bytes'])} within its gates"
    return {
        name: {**facts, "reason": {**facts["reason"], "message": facts["reason"]["message"] + words}}
        if facts["reason"]
        else facts
        for name, facts in variants.items()
    }
