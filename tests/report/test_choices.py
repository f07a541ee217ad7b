"""What a model's page says of targets and of what `auto` found; anybody's report is laid out without an error."""

from __future__ import annotations

from typing import Any

import pytest

from liteferry.report.pages import choices
from liteferry.report.pages.render import render_model

FOUND: dict[str, Any] = {
    "formats": {"int4": 300, "int8": 0, "float16": 100, "float32": 0},
    "sensitivity": [
        {"name": "conv", "operator": "CONV_2D", "elements": 300, "format": "int4", "sqnr_db": 71.5},
        {"name": "head", "operator": "FULLY_CONNECTED", "elements": 100, "format": "int4", "sqnr_db": -3.25},
        {"name": "never", "operator": "FULLY_CONNECTED", "elements": 9, "format": "int4", "sqnr_db": None},
    ],
    "tried": [
        {"formats": {"int4": 2}, "bytes": 200, "holds": False, "on": "search", "why": "too much noise"},
        {"formats": {"int4": 1, "float16": 1}, "bytes": 350, "holds": True, "on": "proof", "why": None},
    ],
    "candidates": 9,
    "is_complete": True,
    "from_family": False,
    "search_rows": 64,
    "proof_rows": 63,
    "rows_are_apart": True,
}
TARGET: dict[str, Any] = {
    "how": "estimated",
    "recommended_variant": None,
    "why": "no variant is blessed for it",
    "trade_off": None,
    "variants": {},
}


def report(**facts: Any) -> dict[str, Any]:
    return {"model_id": "m", "status": "blessed", "variants": {"auto": {"status": "blessed", "auto": {**FOUND, **facts}}}}


def test_the_mix_is_told_in_a_sentence() -> None:
    found = choices.auto(report())
    assert found is not None
    assert found["sentence"] == "Weights: 75% int4, 25% float16; 9 files made, 64 rows searched, 63 to prove it."
    of_family = choices.auto(report(from_family=True, rows_are_apart=False, is_complete=False))
    assert of_family is not None
    assert of_family["sentence"].endswith(
        "the mix of a sibling, 64 rows searched, 63 to prove it (the same ones: there are few); the search was cut by its limits."
    )


def test_bars_stay_within_their_scale_and_words_say_the_number() -> None:
    found = choices.auto(report())
    assert found is not None
    assert [(bar["value"], bar["words"]) for bar in found["bars"]] == [
        (60.0, "71.5 dB"),
        (0.0, "-3.2 dB"),
        (None, "no difference"),
    ]
    assert [(mix["formats"], mix["result"]) for mix in found["tried"]] == [
        ("2 int4", "too much noise"),
        ("1 int4, 1 float16", "holds"),
    ]


def test_targets_are_shown_where_there_is_more_than_the_cpu() -> None:
    assert choices.targets({"targets": {"cpu": TARGET}}) == []
    rows = choices.targets({"targets": {"cpu": {**TARGET, "recommended_variant": "int8"}, "ethos-u55-256": TARGET}})
    assert [(row["target"], row["variant"]) for row in rows] == [("cpu", "int8"), ("ethos-u55-256", "–")]


def test_the_page_has_both() -> None:
    page = render_model({**report(), "targets": {"cpu": TARGET, "microcontroller": TARGET}})
    assert "What auto found" in page
    assert "<meter" in page
    assert ">microcontroller<" in page


@pytest.mark.parametrize("facts", [{"auto": 3}, {"auto": {"sensitivity": [1, None], "tried": "x", "formats": []}}, {}])
def test_anybodys_report_is_laid_out(facts: dict[str, Any]) -> None:
    assert "<html" in render_model({"model_id": "m", "variants": {"auto": facts}, "targets": {"x": 1, "y": None}})
