"""Which layers siblings may share a trace of: each is held against both libraries, and none of theirs is left unclassified."""

from __future__ import annotations

from typing import Any

import pytest

from liteferry.loading.sibling_layers import KEPT_APART, LAYERS, kept_apart
from liteferry.sandbox import Flavor, Limits
from tests.support.units import run_unit

LIBRARIES = ("keras", "tf_keras")


def run(function: str, argument: Any) -> Any:
    outcome = run_unit(
        f"tests.checkpoints.sibling_layer_units:{function}",
        argument,
        flavor=Flavor.KERAS,
        limits=Limits(seconds=300, memory_bytes=8 * 10**9),
    )
    assert outcome.error is None, outcome.error
    return outcome.results[0]


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_layer_of_the_library_is_classified(library: str) -> None:
    unknown = set(run("layers_of", library)) - LAYERS - KEPT_APART.keys()
    assert not unknown, f"{library} has layers that are neither on the list nor kept apart with a reason: {sorted(unknown)}"


def test_no_layer_is_both() -> None:
    assert not LAYERS & KEPT_APART.keys()
    assert all(KEPT_APART.values())


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_whole_state_of_each_layer_on_the_list_is_its_variables(library: str) -> None:
    problems = run("whole_state_is_variables", (library, sorted(LAYERS)))
    assert len(problems) > 70, "most layers were not found in the library"
    assert not {layer: problem for layer, problem in problems.items() if problem}


@pytest.mark.parametrize("library", LIBRARIES)
def test_state_beside_the_variables_would_be_noticed(library: str) -> None:
    problems = run("adapted_state_is_noticed", library)
    assert problems["extra"] is not None and problems["Dense"] is None


def layer(name: str, **settings: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"layers": [{"class_name": name, "config": {"name": "one", **settings}}]}}


@pytest.mark.parametrize(
    "config",
    [
        layer("Dense", activation="relu", kernel_initializer={"class_name": "GlorotUniform", "config": {}}),
        layer(
            "Activation", activation={"class_name": "function", "config": "gelu", "module": "builtins", "registered_name": "gelu"}
        ),
        {**layer("Dense"), "module": "keras.src.models.sequential", "registered_name": "Sequential"},
    ],
)
def test_plain_architectures_are_shared(config: dict[str, Any]) -> None:
    assert kept_apart(config) is None


@pytest.mark.parametrize(
    ("config", "claimed", "told"),
    [
        (layer("Normalization"), (), "'Normalization' is on no list"),
        (layer("MyLayer"), (), "'MyLayer' is on no list"),
        (layer("Dense", activation="my_activation"), (), "'my_activation' is on no list"),
        (layer("Dense", recurrent_activation={"class_name": "function", "config": "mine"}), (), "'mine' is on no list"),
        (layer("LSTM", stateful=True), (), "keeps state between calls"),
        (layer("Dense"), ("Dense",), "'Dense' is on no list"),
        (layer("Dense", activation="relu"), ("relu",), "'relu' is on no list"),
        ({"class_name": "Dense", "module": "my_layers", "config": {}}, (), "not the library's own"),
        (
            {"class_name": "Dense", "module": "keras.layers", "registered_name": "my>Dense", "config": {}},
            (),
            "not the library's own",
        ),
        (layer("Dense", kernel_regularizer={"class_name": "MyPenalty", "config": {}}), (), "'MyPenalty' is on no list"),
        (layer("TimeDistributed", layer={"class_name": "Lambda", "config": {}}), (), "'Lambda' is on no list"),
        (layer("Dense", dtype={"class_name": "QuantizedDTypePolicy", "config": {}}), (), "is on no list"),
    ],
)
def test_anything_else_is_kept_apart(config: dict[str, Any], claimed: tuple[str, ...], told: str) -> None:
    problem = kept_apart(config, claimed=claimed)
    assert problem is not None and told in problem
