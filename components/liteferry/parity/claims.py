"""A variant's name is a claim: a file called int8 must hold mostly int8 weights; otherwise it is refused under that name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from liteferry.errors import Reason, ReasonCode, Stage

LEAST_SHARE = 0.5
"""The share of weights that the format could hold, and of computing operators, that must be in the format."""
# Variant -> the formats of weights that its name allows.
_INT4 = frozenset({"int4", "uint4", "int2"})
_INT8 = _INT4 | {"int8", "uint8"}
_INT16 = _INT8 | {"int16", "uint16"}
_WEIGHTS: Mapping[str, frozenset[str]] = {
    "float16": _INT16 | {"float16"},
    "dynamic_int8": _INT8,
    "weight_only_int8": _INT8,
    "int8": _INT8,
    "int16x8": _INT16,
    "dynamic_int4": _INT4,
    "weight_only_int4": _INT4,
}
_SOME = 0.1  # share of the weights or operators; above it, a file of unknown origin is judged as quantised
_COMPUTES_QUANTIZED = ("int8", "int16x8")
_WAY_OUT = "drop the variant, or make this mixture with a recipe of your own under another name"
_WHY: Mapping[str, str] = {
    "QUANTIZE": "fake-quantisation ranges of quantisation-aware training",
    "FAKE_QUANT": "fake-quantisation ranges of quantisation-aware training",
    "CONV_3D": "3-D convolutions",
    "CONV_3D_TRANSPOSE": "3-D convolutions",
    "GATHER": "embeddings",
    "EMBEDDING_LOOKUP": "embeddings",
}


def is_claim(variant: str, recipes: Collection[Any]) -> bool:
    """Whether a variant's name claims a format for its file. The name of a user's recipe does not."""
    return variant in _WEIGHTS and variant not in recipes


def unmet(variant: str, held: Mapping[str, Any]) -> Reason | None:
    """Why a file does not hold the format that its name claims; None if it does. `held`: from `held_quantized.read`.

    A model without weights of rank 2 or more, or without operators that compute, has nothing to quantise.
    """
    weights, narrow = sum(held["weights"].values()), _of(held["weights"], _WEIGHTS[variant])
    if variant not in _COMPUTES_QUANTIZED:  # no kernels take such constants in these formats
        weights -= held["elementwise"]
    if narrow < LEAST_SHARE * weights:
        message = (
            f"the file is called {variant}, but only {narrow:,} of its {weights:,} weight elements "
            f"({narrow / weights:.1%}) are held in that format{_kept(held)}; {_WAY_OUT}"
        )
        return Reason(code=ReasonCode.NOT_QUANTIZED, stage=Stage.JUDGE, message=message)
    operators, computed = sum(held["operators"].values()), _of(held["operators"], _INT16)
    if variant in _COMPUTES_QUANTIZED and computed < LEAST_SHARE * operators:
        message = (
            f"the file is called {variant}, but only {computed:,} of its {operators:,} operators that compute "
            f"({computed / operators:.1%}) do so with integers{_kept(held)}; {_WAY_OUT}"
        )
        return Reason(code=ReasonCode.NOT_QUANTIZED, stage=Stage.JUDGE, message=message)
    return None


def kind_of(held: Mapping[str, Any]) -> str:
    """The variant whose default gates are fair to a file of unknown origin, judged by the formats of its weights."""
    operators, weights = sum(held["operators"].values()), sum(held["weights"].values())
    if operators and _of(held["operators"], _INT8) >= _SOME * operators:
        return "int8"
    if operators and _of(held["operators"], _INT16) >= _SOME * operators:
        return "int16x8"
    for formats, kind in ((_INT4, "dynamic_int4"), (_INT8, "dynamic_int8"), (frozenset({"float16"}), "float16")):
        if weights and _of(held["weights"], formats) >= _SOME * weights:
            return kind
    return "float32"


def _of(counts: Mapping[str, int], formats: Collection[str]) -> int:
    return sum(count for dtype, count in counts.items() if dtype in formats)


def _kept(held: Mapping[str, Any]) -> str:
    """The operators whose weights stayed in float32, and why, if the operator shows it."""
    kept = [
        f"{one['elements']:,} for {one['operator']}" + (f" ({_WHY[one['operator']]})" if one["operator"] in _WHY else "")
        for one in held["kept"]
    ]
    return f"; {', '.join(kept)} stayed in float32" if kept else ""
