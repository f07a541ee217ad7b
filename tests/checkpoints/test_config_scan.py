"""`config_scan`: what an architecture would run is seen before a loader sees the file, and siblings have one digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from liteferry.checkpoints import config_trust
from liteferry.checkpoints.config_scan import architecture_digest, refuse_untrusted, scan, serialized_objects
from liteferry.checkpoints.detection import examine
from liteferry.errors import ModelError
from liteferry.json_records import parse
from liteferry.sandbox import Flavor, Limits
from tests.support.units import run_unit

LIMITS = Limits(seconds=120, memory_bytes=8 * 10**9)


@pytest.fixture(scope="module")
def lambdas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models with Lambda layers, written by Keras 3 and tf_keras."""
    folder = tmp_path_factory.mktemp("lambdas")
    outcome = run_unit(
        "tests.checkpoints.detect_units:write_lambdas", str(folder), flavor=Flavor.KERAS, limits=LIMITS, writable=[str(folder)]
    )
    assert outcome.error is None, outcome.error
    return folder


def refusal(config: dict[str, Any], *, offered: tuple[str, ...] = (), trust: tuple[str, ...] = ()) -> str | None:
    """The code of the reason to refuse a config, None when a loader may see it."""
    try:
        refuse_untrusted("a.keras", scan(config), offered=offered, trust=trust)
    except ModelError as error:
        return error.reason.code.value
    return None


# Bytecode


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("keras3_bytecode.keras", 1),
        ("keras3_bytecode.h5", 1),
        ("keras3_nested.keras", 1),
        ("keras3_named.keras", 0),
        ("keras3_named.h5", 0),
        ("keras2_bytecode.keras", 1),
        ("keras2_bytecode.h5", 1),
        ("keras2_nested.keras", 1),
        ("keras2_mask.keras", 1),
        ("keras2_mask.h5", 1),
        ("keras2_shape.keras", 1),
        ("keras2_shape.h5", 1),
        ("keras2_named.keras", 1),  # tf_keras stores the bytecode of every function, with a name or without
        ("keras2_named.h5", 1),
    ],
)
def test_bytecode_is_found_in_the_files_of_both_libraries(lambdas: Path, name: str, count: int) -> None:
    config = examine(str(lambdas / name)).config
    assert config is not None
    assert len(scan(config).lambda_layers) == count
    assert refusal(config) == ("LOAD_UNSAFE" if count else "LOAD_UNKNOWN_OBJECT")  # by name: a function that somebody has to give
    assert refusal(config, offered=("twice",), trust=("lambda",)) is None


def test_a_refusal_names_the_layers_and_the_way_to_trust_them(lambdas: Path) -> None:
    config = examine(str(lambdas / "keras2_bytecode.h5")).config
    assert config is not None
    with pytest.raises(ModelError, match=r"a\.h5 carries Python bytecode in Lambda layers \(doubling\).*`trust: \[lambda\]`"):
        refuse_untrusted("a.h5", scan(config), offered=(), trust=())


@pytest.mark.parametrize(
    "node",
    [
        {"class_name": "Lambda", "config": {"function": ["4wEAAAA=", None, None], "function_type": "lambda"}},
        {"class_name": "lambda_layer.Lambda", "config": {"function": ["4wEAAAA=", None, None], "function_type": "lambda"}},
        {"class_name": "MyLambda", "config": {"function": "f", "mask": ["4wEAAAA="], "mask_type": "lambda"}},
        {"class_name": "Lambda", "config": {"function": "f", "output_shape": ["4wEAAAA="], "output_shape_type": "lambda"}},
        {"class_name": "Lambda", "config": {"function": ["4wEAAAA=", None, None]}},
        {"class_name": "Dense", "config": {"activation": {"class_name": "__lambda__", "config": {"value": ["4wEAAAA="]}}}},
        {"class_name": "__lambda__", "config": None},
    ],
)
def test_bytecode_is_found_whatever_it_calls_itself(node: dict[str, Any]) -> None:
    assert refusal({"class_name": "Sequential", "config": {"layers": [{"inside": [node]}]}}) == "LOAD_UNSAFE"


# Code from elsewhere


def function(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


@pytest.mark.parametrize(
    ("node", "names"),
    [
        pytest.param(function("os", "system"), {"system": "os"}, id="CVE-2025-1550"),
        pytest.param(function("subprocess", "run"), {"run": "subprocess"}, id="another module of Python"),
        pytest.param({"module": "my.layers", "class_name": "Mine", "config": {}}, {"Mine": "my.layers"}, id="a class"),
        pytest.param({"module": "keras_evil", "class_name": "Dense", "config": {}}, {"Dense": "keras_evil"}, id="almost keras"),
        pytest.param(
            {"module": None, "class_name": "Mine", "config": {}, "registered_name": "pack>Mine"},
            {"Mine": "pack"},
            id="registered",
        ),
        pytest.param(
            {"module": "keras.layers", "class_name": "Dense", "config": {}, "registered_name": None}, {}, id="Keras's own"
        ),
        pytest.param({"class_name": "Dense", "config": {"units": 2}}, {}, id="legacy, without a module"),
        pytest.param({"module": 3, "class_name": ["x"], "config": "y"}, {}, id="nonsense"),
    ],
)
def test_code_from_outside_keras_is_named_with_its_module(node: dict[str, Any], names: dict[str, str]) -> None:
    config = {"class_name": "Functional", "config": {"layers": [{"class_name": "Activation", "config": {"activation": node}}]}}
    assert scan(config).custom_objects == names
    assert refusal(config) == ("LOAD_UNKNOWN_OBJECT" if names else None)
    assert refusal(config, offered=tuple(names)) is None


@pytest.mark.parametrize("name", ["TFDConcat", "TFDIdentity"])
def test_what_a_feature_space_is_made_of_is_a_layer_of_keras(name: str) -> None:
    """Keras has no public name for them, and writes them where a model is built on a FeatureSpace."""
    place = "keras.src.layers.preprocessing.feature_space"
    node = {"module": place, "class_name": name, "registered_name": name, "config": {"name": "a", "axis": -1}}
    model = {"class_name": "Functional", "module": "keras.src.models.functional", "config": {"layers": [node]}}
    assert not config_trust.findings(model)
    model["config"] = {"layers": [{**node, "class_name": "TFDOther", "registered_name": "TFDOther"}]}
    assert config_trust.findings(model)


def test_all_that_is_missing_is_named_at_once() -> None:
    config = {"layers": [function("my_losses", "focal"), {"module": "my_layers", "class_name": "Patch", "config": {}}]}
    with pytest.raises(ModelError, match=r"Patch \(module my_layers\), focal \(module my_losses\)"):
        refuse_untrusted("a.keras", scan(config), offered=(), trust=())


# Depth


def test_a_config_of_any_depth_is_scanned_to_its_end() -> None:
    config: Any = {"class_name": "__lambda__", "config": {"name": "at the bottom"}}
    for number in range(100_000):
        config = {"config": config} if number % 2 else [config]
    assert scan({"layers": config}).lambda_layers == ("at the bottom",)


def test_objects_come_in_the_order_of_the_file() -> None:
    config = {
        "layers": [{"class_name": "A", "config": {"cell": {"class_name": "B"}}}, {"class_name": "C"}],
        "class_name": "Model",
    }
    assert [node["class_name"] for node in serialized_objects(config)] == ["Model", "A", "B", "C"]


@pytest.mark.parametrize(("depth", "is_taken"), [(1, True), (200, True), (201, False), (100_000, False)])
def test_json_is_parsed_to_the_depth_that_all_code_can_walk(depth: int, is_taken: bool) -> None:
    text = "[" * (depth - 1) + "1" + "]" * (depth - 1)
    if is_taken:
        architecture_digest({"config": parse(text)})
    else:
        with pytest.raises(ValueError, match="nests"):
            parse(text)


# Siblings


@pytest.fixture(scope="module")
def digests() -> list[dict[str, str]]:
    """Digests of Keras 3's and of tf_keras's models by what is different in them."""
    outcome = run_unit("tests.checkpoints.detect_units:digest_architectures", None, flavor=Flavor.KERAS, limits=LIMITS)
    assert outcome.error is None, outcome.error
    return list(outcome.results)


@pytest.mark.parametrize(
    ("one", "other"), [("base", "again"), ("base", "trained"), ("base", "frozen"), ("a name", "the same name")]
)
def test_siblings_have_one_digest(digests: list[dict[str, str]], one: str, other: str) -> None:
    assert [library[one] == library[other] for library in digests] == [True, True]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("base", "units"),
        ("base", "activation"),
        ("base", "wiring"),
        ("base", "a name"),
        ("layer shared", "layer not shared"),
        ("called relu", "called tanh"),
        ("full precision", "mixed precision"),
        ("full precision", "another input"),
    ],
)
def test_models_that_compute_something_else_have_another(digests: list[dict[str, str]], one: str, other: str) -> None:
    assert [library[one] == library[other] for library in digests] == [False, False]
