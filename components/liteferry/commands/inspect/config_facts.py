"""Facts of an architecture, read without building it: inputs, outputs, notable layers, code that the user must supply, findings
that a run would refuse.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from liteferry.checkpoints import architecture_facts, config_scan, config_trust
from liteferry.checkpoints.architecture_facts import STRIPPABLE, Statistics
from liteferry.checkpoints.config_objects import Verdict
from liteferry.checkpoints.config_scan import serialized_objects
from liteferry.checkpoints.keras_names import ACTIVATIONS, LAYERS, MADE_BY_KERAS

Tensors = list[dict[str, Any]]
_NO_LAYERS = ("_initializer", "_regularizer", "_constraint", "_config")
_NO_CLASSES = ("function", "__lambda__", "__tensor__", "__keras_tensor__", "DTypePolicy")
_FUNCTIONS = ("activation", "recurrent_activation")


def describe(config: dict[str, Any], statistics: Mapping[str, Statistics]) -> dict[str, Any]:
    """Facts of a parsed architecture.

    Args:
      config: as `model.to_json()` or a `.keras` archive holds it.
      statistics: of adapted Normalization layers, see `config_layers.input_range`.
    """
    classes = collections.Counter(_class_of(node) for node in _layers(config) if _class_of(node) != "InputLayer")
    ranges = architecture_facts.input_range(config, statistics)
    prepared = {layer["class_name"] for layer in architecture_facts.training_layers(config)}
    return {
        "model": {"class_name": _class_of(config), "name": _name(config), "layers": dict(sorted(classes.items()))},
        "inputs": inputs(config),
        "outputs": outputs(config),
        "input_ranges": {name: dataclasses.asdict(expected) for name, expected in ranges.items()},
        "custom_objects": custom_objects(config),
        "random_layers": _named(config, STRIPPABLE),
        "preprocessing_layers": _named(config, prepared - STRIPPABLE),
        "lambda_layers": _named(config, {"Lambda"}),
        "findings": [dataclasses.asdict(found) for found in config_trust.findings(config)],
    }


def classes(config: Mapping[str, Any]) -> set[str]:
    """The classes of its layers, and of the operations between them, at any depth."""
    return {_class_of(node) for node in _layers(config)}


def _class_of(node: Mapping[str, Any]) -> str:
    return str(node.get("class_name")).split(">")[-1]


def _name(node: Mapping[str, Any]) -> str | None:
    inner = node.get("config")
    name = inner.get("name") if isinstance(inner, dict) else None
    return name if isinstance(name, str) else None


def _named(config: Any, classes: frozenset[str] | set[str]) -> list[str]:
    """`name (ClassName)` of the layers of these classes, at any depth."""
    found = {f"{_name(node) or 'unnamed'} ({_class_of(node)})" for node in _layers(config) if _class_of(node) in classes}
    return sorted(found)


def _layers(config: Any) -> Iterator[dict[str, Any]]:
    """The objects that are layers, without initializers, regularizers, dtype policies and functions, and without the model
    itself.
    """
    pending: list[Any] = [config.get("config") if isinstance(config, dict) else None]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            is_object = "class_name" in node
            if is_object and node["class_name"] not in _NO_CLASSES:
                yield node
            pending.extend(
                value
                for key, value in node.items()
                if not key.endswith(_NO_LAYERS) and key not in ("dtype", "inbound_nodes", "arguments", *_FUNCTIONS)
            )
        elif isinstance(node, list):
            pending.extend(node)


def custom_objects(config: dict[str, Any], verdicts: Iterable[Verdict] | None = None) -> dict[str, str | None]:
    """Classes and functions that neither Keras has -> the module that the config names for each, None where it names none.

    Files of Keras 2 hold class names without modules, so those names are looked up in both libraries.
    """
    found: dict[str, str | None] = dict(config_scan.scan(config, verdicts).custom_objects)
    for node in [config, *_layers(config)]:
        name = _class_of(node)
        if "module" not in node and name not in LAYERS and name not in MADE_BY_KERAS:
            found.setdefault(str(node["class_name"]), None)
    for node in serialized_objects(config):
        inner = node.get("config")
        for function in [inner.get(key) for key in _FUNCTIONS] if isinstance(inner, dict) else []:
            own = function.get("config") if isinstance(function, dict) and function.get("module") == "builtins" else function
            if isinstance(own, str) and own not in ACTIVATIONS and own.split(".")[-1] not in LAYERS:
                found.setdefault(own, None)
    return dict(sorted(found.items()))


def names_its_inputs(config: dict[str, Any]) -> bool:
    """Whether the inputs have names of their own, in InputLayers; the first layer of a Sequential without one lends its name."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else inner
    if not isinstance(layers, list) or not layers:
        return False
    has_graph = isinstance(inner, dict) and bool(_references(inner.get("input_layers")))
    return has_graph or (isinstance(layers[0], dict) and _class_of(layers[0]) == "InputLayer")


def inputs(config: dict[str, Any]) -> Tensors | None:
    """Name, shape and dtype of each input in the model's order; None where the config does not say."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else inner
    if not isinstance(layers, list) or not layers:
        return _of_build_config(config)
    nodes = [node for node in layers if isinstance(node, dict) and isinstance(node.get("config"), dict)]
    named = _references(inner.get("input_layers")) if isinstance(inner, dict) else []
    if named:
        by_name = {str(node.get("name") or _name(node)): node for node in nodes}
        return [_input(name, by_name[name]["config"]) for name in named if name in by_name]
    if not nodes:
        return None
    first = nodes[0]
    if _class_of(first) == "InputLayer":
        return [_input(_name(first) or "input", first["config"])]
    described = _input(f"{_name(first)}_input", first["config"])
    if described["shape"] is None and isinstance(inner, dict):
        described["shape"] = _dims(inner.get("build_input_shape"))
    return [described]


def outputs(config: dict[str, Any]) -> Tensors | None:
    """Names of the outputs; None where the config does not say. Shapes and dtypes are known once it is built."""
    inner = config.get("config")
    named = inner if isinstance(inner, dict) else {"layers": inner}
    names = _references(named.get("output_layers"))
    if not names:
        layers = named.get("layers")
        last = layers[-1] if isinstance(layers, list) and layers else None
        name = _name(last) if isinstance(last, dict) else None
        names = [name] if name else []
    return [{"name": name, "shape": None, "dtype": None} for name in names] or None


def _references(value: Any) -> list[str]:
    """Layer names in `input_layers` and `output_layers`: [name, call, tensor], a list of them, or a dict or list of lists."""
    if isinstance(value, dict):
        return [name for item in value.values() for name in _references(item)]
    if not isinstance(value, list):
        return []
    if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
        return [value[0]]
    return [name for item in value for name in _references(item)]


def _input(name: str, inner: Mapping[str, Any]) -> dict[str, Any]:
    shape = inner.get("batch_shape", inner.get("batch_input_shape"))
    dtype = inner.get("dtype")
    return {"name": name, "shape": _dims(shape), "dtype": dtype if isinstance(dtype, str) else _policy(dtype)}


def _policy(dtype: Any) -> str | None:
    inner = dtype.get("config") if isinstance(dtype, dict) else None
    name = inner.get("name") if isinstance(inner, dict) else None
    return name if isinstance(name, str) else None


def _dims(shape: Any) -> list[int | None] | None:
    if not isinstance(shape, list) or not all(dim is None or isinstance(dim, int) for dim in shape):
        return None
    return list(shape)


def _of_build_config(config: Mapping[str, Any]) -> Tensors | None:
    """Inputs of a subclassed model: it stores the shapes it was called with, but no names."""
    build = config.get("build_config")
    shapes = build.get("input_shape") if isinstance(build, dict) else None
    if isinstance(shapes, dict):
        named = {str(name): _dims(shape) for name, shape in sorted(shapes.items())}
        return [{"name": name, "shape": shape, "dtype": None} for name, shape in named.items()]
    shape = _dims(shapes)
    return [{"name": None, "shape": [None, *shape[1:]], "dtype": None}] if shape else None
