"""`same_function`: what it lists computes the same in both libraries; what it does not list keeps the other from standing in."""

from __future__ import annotations

from typing import Any

import pytest

from liteferry.loading.same_function import ACTIVATIONS, LAYERS, differences
from liteferry.sandbox import Flavor, Limits
from tests.checkpoints import same_function_units
from tests.support.units import run_unit

LIMITS = Limits(seconds=200, memory_bytes=8 * 10**9)


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    outcome = run_unit("tests.checkpoints.same_function_units:compare_layers", None, flavor=Flavor.KERAS, limits=LIMITS)
    assert outcome.error is None, str(outcome.error)
    found: dict[str, float] = outcome.results[0]
    return found


def test_everything_listed_is_measured(measured: dict[str, float]) -> None:
    assert measured.keys() - {"hard_sigmoid"} == LAYERS | ACTIVATIONS
    assert {*same_function_units.CASES, *same_function_units.MERGES, *same_function_units.WRAPPERS} == LAYERS


@pytest.mark.parametrize("name", sorted(LAYERS | ACTIVATIONS))
def test_what_is_listed_computes_the_same(measured: dict[str, float], name: str) -> None:
    assert measured[name] <= 1e-6


def test_the_measurement_sees_a_difference(measured: dict[str, float]) -> None:
    assert measured["hard_sigmoid"] > 1e-3


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "s", "layers": list(layers)}}


def layer(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": "l", "dtype": "float32", **config}}


@pytest.mark.parametrize(
    ("node", "named"),
    [
        (layer("Dense", activation="relu"), []),
        (layer("Dense", activation="hard_sigmoid"), ["the activation hard_sigmoid"]),
        (layer("LSTM", recurrent_activation="hard_sigmoid"), ["the activation hard_sigmoid"]),
        (layer("Dense", activation={"class_name": "function", "config": "gelu", "module": "builtins"}), ["the function gelu"]),
        (layer("Dense", kernel_initializer={"class_name": "Mine", "config": {}}), []),
        (layer("Theirs"), ["Theirs"]),
        (layer("keras.layers>Dense"), ["keras.layers>Dense"]),
        (layer("Lambda"), ["Lambda"]),
        (layer("Dense", dtype="mixed_float16"), ["dtype mixed_float16"]),
        (layer("Dense", dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}), ["dtype mixed_bfloat16"]),
        (layer("Conv2D", data_format="channels_first"), ["Conv2D with channels_first"]),
        (layer("LSTM", stateful=True), ["LSTM with stateful"]),
        (layer("Embedding", mask_zero=True), ["Embedding with mask_zero"]),
        (layer("Bidirectional", layer=layer("GRU", recurrent_activation="hard_sigmoid")), ["the activation hard_sigmoid"]),
        (sequential(layer("UpSampling2D")), ["UpSampling2D"]),
    ],
    ids=str,
)
def test_what_may_differ_is_named(node: dict[str, Any], named: list[str]) -> None:
    assert differences(sequential(layer("Dense"), node)) == named
