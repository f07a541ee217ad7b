"""A variant's name is a claim about what its file holds."""

from __future__ import annotations

from typing import Any

import pytest

from liteferry.errors import ReasonCode
from liteferry.parity import claims


def held(weights: dict[str, int], operators: dict[str, int] | None = None, **kept: int) -> dict[str, Any]:
    return {
        "weights": weights,
        "elementwise": kept.get("MUL", 0),
        "operators": operators or {"float32": 4},
        "kept": [{"operator": name, "elements": elements} for name, elements in kept.items()],
    }


@pytest.mark.parametrize(
    ("variant", "facts", "is_met"),
    [
        ("dynamic_int8", held({"int8": 50, "float32": 50}), True),
        ("dynamic_int8", held({"int8": 49, "float32": 51}), False),
        ("dynamic_int8", held({"float16": 100}), False),
        ("weight_only_int8", held({"int4": 100}), True),
        ("dynamic_int4", held({"int8": 100}), False),
        ("float16", held({"float16": 60, "float32": 40}), True),
        ("float16", held({"float32": 100}), False),
        ("int8", held({"int8": 100}, {"int8": 2, "float32": 2}), True),
        ("int8", held({"int8": 100}, {"int8": 1, "float32": 2}), False),
        ("int16x8", held({"int8": 90, "int16": 10}, {"int16": 3, "float32": 1}), True),
        ("int16x8", held({"int8": 100}, {"float32": 3}), False),
        ("dynamic_int8", held({"int8": 40, "float32": 60}, MUL=30), True),
        ("dynamic_int8", held({"int8": 40, "float32": 60}, MUL=10), False),
        ("int8", held({"int8": 40, "float32": 60}, {"int8": 1}, MUL=30), False),
        ("dynamic_int8", held({}), True),
        ("int8", held({}, {"int8": 1}), True),
    ],
)
def test_half_of_what_the_format_could_hold(variant: str, facts: dict[str, Any], is_met: bool) -> None:
    reason = claims.unmet(variant, facts)
    assert (reason is None) is is_met
    assert reason is None or reason.code is ReasonCode.NOT_QUANTIZED


def test_the_message_says_what_kept_it() -> None:
    reason = claims.unmet("int8", held({"int8": 48, "float32": 7776}, CONV_3D=7000, QUANTIZE=700, MUL=76))
    assert reason is not None
    assert "48 of its 7,824 weight elements (0.6%)" in reason.message
    assert "7,000 for CONV_3D (3-D convolutions), 700 for QUANTIZE (fake-quantisation ranges" in reason.message
    assert "76 for MUL stayed in float32;" in reason.message


def test_names_of_recipes_and_of_float32_claim_nothing() -> None:
    assert claims.is_claim("int8", ())
    assert not claims.is_claim("int8", ("int8",))
    assert not claims.is_claim("float32", ())
    assert not claims.is_claim("auto", ())


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        (held({"float32": 100}), "float32"),
        (held({"float16": 100}), "float16"),
        (held({"int8": 100}), "dynamic_int8"),
        (held({"int8": 20, "float32": 80}), "dynamic_int8"),
        (held({"int4": 100}), "dynamic_int4"),
        (held({"int8": 100}, {"int8": 4}), "int8"),
        (held({"int8": 100}, {"int16": 4}), "int16x8"),
        (held({}, {}), "float32"),
    ],
)
def test_a_strangers_file_is_judged_by_what_it_holds(facts: dict[str, Any], kind: str) -> None:
    assert claims.kind_of(facts) == kind
