"""Reads a serialized architecture for what it would run: Lambda bytecode, foreign modules, classes that must be given.

A config is data until a loader turns it into objects. Everything refused here is refused before any loader has seen the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterator
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage

_TRUSTED_ROOTS = ("keras", "tf_keras", "builtins", "tensorflow")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfigFacts:
    """What a config refers to. `custom_objects` maps each class or function from outside Keras to the module the config names for it."""

    lambda_layers: tuple[str, ...]
    custom_objects: dict[str, str]


def serialized_objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every dict in a config that describes an object, at any depth. Iterative: a config's depth is the file's to choose."""
    pending = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            if "class_name" in current:
                yield current
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)


def scan(config: dict[str, Any]) -> ConfigFacts:
    """Finds Lambda bytecode and objects from outside Keras."""
    lambdas: list[str] = []
    custom: dict[str, str] = {}
    for node in serialized_objects(config):
        class_name = node["class_name"]
        inner = node.get("config")
        if class_name == "__lambda__" or _is_bytecode_lambda(class_name, inner):
            lambdas.append(str(inner.get("name", "unnamed")) if isinstance(inner, dict) else "unnamed")
        module = node.get("module")
        if isinstance(module, str) and module.split(".")[0] not in _TRUSTED_ROOTS:
            custom[_offered_name(node)] = module
        elif module is None and isinstance(node.get("registered_name"), str) and ">" in node["registered_name"]:
            custom[_offered_name(node)] = node["registered_name"].split(">")[0]
    return ConfigFacts(lambda_layers=tuple(dict.fromkeys(lambdas)), custom_objects=custom)


def _is_bytecode_lambda(class_name: Any, inner: Any) -> bool:
    if class_name != "Lambda" or not isinstance(inner, dict):
        return False
    function = inner.get("function")
    return inner.get("function_type") == "lambda" or isinstance(function, list) or (isinstance(function, dict) and function.get("class_name") == "__lambda__")


def _offered_name(node: dict[str, Any]) -> str:
    inner = node.get("config")
    if node["class_name"] == "function" and isinstance(inner, str):
        return inner
    return str(node["class_name"])


def refuse_untrusted(path: str, facts: ConfigFacts, *, offered: Collection[str], trust: Collection[str]) -> None:
    """Raises unless every object can be had from Keras or from what the user offered.

    Args:
      offered: names the user's modules and custom_objects provide.
      trust: the job's `trust` list.

    Raises:
      ModelError: LOAD_UNSAFE for Lambda bytecode, LOAD_UNKNOWN_OBJECT for a class or function nobody offered.
    """
    if facts.lambda_layers and "lambda" not in trust:
        raise ModelError(
            ReasonCode.LOAD_UNSAFE,
            Stage.LOAD,
            f"{path} carries Python bytecode in Lambda layers ({', '.join(facts.lambda_layers)}), which would run when it is loaded; "
            "if you trust its author, add `trust: [lambda]` to the job file",
        )
    missing = {name: module for name, module in facts.custom_objects.items() if name not in offered}
    if missing:
        wanted = ", ".join(f"{name} (module {module})" for name, module in sorted(missing.items()))
        raise ModelError(
            ReasonCode.LOAD_UNKNOWN_OBJECT,
            Stage.LOAD,
            f"{path} needs code that is not Keras's and was not given: {wanted}; list the file that defines it under `modules`, "
            "or map the name under `custom_objects`",
        )


# Training's business or chosen by a counter; two checkpoints that differ only here compute with the same graph.
_NOT_ARCHITECTURE = {"name", "trainable", "build_config", "compile_config", "kernel_initializer", "bias_initializer", "registered_name", "seed"}


def architecture_digest(config: dict[str, Any]) -> str:
    """sha256 of a config without weights, automatic names and training settings: equal for siblings.

    Names are replaced by the order in which they first appear, so that `dense_17` of one checkpoint and `dense_3` of another agree, while the
    wiring between layers still counts.
    """
    order: dict[str, str] = {}

    def canonical(node: Any) -> Any:
        if isinstance(node, dict):
            names = [node["name"]] if isinstance(node.get("name"), str) else []
            for name in names:
                order.setdefault(name, f"#{len(order)}")
            return {key: canonical(value) for key, value in sorted(node.items()) if key not in _NOT_ARCHITECTURE}
        if isinstance(node, list):
            return [canonical(item) for item in node]
        return order.get(node, node) if isinstance(node, str) else node

    # Twice: the first pass meets every name, also those that are referred to before they are defined.
    canonical(config)
    return f"sha256:{hashlib.sha256(json.dumps(canonical(config), sort_keys=True).encode()).hexdigest()}"
