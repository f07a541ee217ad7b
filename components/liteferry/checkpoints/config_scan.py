"""Scans a serialized architecture for code it would run: Lambda bytecode, foreign modules, classes that the user must supply.

A config is data until a loader turns it into objects. Everything that is refused here is refused before a loader sees the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from liteferry.checkpoints.config_names import TRAINING_KEYS
from liteferry.checkpoints.config_nodes import judge
from liteferry.checkpoints.config_objects import Unknown, Users, Verdict
from liteferry.errors import ModelError, ReasonCode, Stage

_TRUSTED_ROOTS = ("keras", "tf_keras", "builtins", "tensorflow")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfigFacts:
    """The objects that a config refers to. `custom_objects` maps each class or function from outside Keras to the module the
    config names for it, None where it names none.
    """

    lambda_layers: tuple[str, ...]
    custom_objects: dict[str, str | None]


def serialized_objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every dict in a config that describes an object, in the order of the file. Iterative: the file decides how deep it is."""
    pending = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            if "class_name" in current:
                yield current
            pending.extend(reversed(current.values()))
        elif isinstance(current, list):
            pending.extend(reversed(current))


def scan(config: dict[str, Any], verdicts: Iterable[Verdict] | None = None) -> ConfigFacts:
    """Finds Lambda bytecode and objects from outside Keras. `verdicts`: what `judge` says of it, where that is known."""
    lambdas: list[str] = []
    custom: dict[str, str | None] = {}
    for node in serialized_objects(config):
        if _is_bytecode(node):
            inner = node.get("config")
            lambdas.append(str(inner.get("name", "unnamed")) if isinstance(inner, dict) else "unnamed")
        module = node.get("module")
        if isinstance(module, str) and module.split(".")[0] not in _TRUSTED_ROOTS:
            custom[_offered_name(node)] = module
        elif module is None and isinstance(node.get("registered_name"), str) and ">" in node["registered_name"]:
            custom[_offered_name(node)] = node["registered_name"].split(">")[0]
    for found in judge(config, Users()) if verdicts is None else verdicts:
        if isinstance(found, Unknown):
            custom.setdefault(found.name, found.module)
    return ConfigFacts(lambda_layers=tuple(dict.fromkeys(lambdas)), custom_objects=custom)


def _is_bytecode(node: dict[str, Any]) -> bool:
    """By structure, not by class: loaders unmarshal anything that is marked as a lambda, whether it is a layer's function, its
    mask or its output shape.
    """
    if node.get("class_name") == "__lambda__":
        return True
    inner = node.get("config")
    if not isinstance(inner, dict):
        return False
    kinds = (inner.get(f"{part}_type") for part in ("function", "mask", "output_shape"))
    return "lambda" in kinds or (node.get("class_name") == "Lambda" and isinstance(inner.get("function"), list))


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
      ModelError: LOAD_UNSAFE for Lambda bytecode, LOAD_UNKNOWN_OBJECT for a class or function that the user's code does not
        offer.
    """
    if facts.lambda_layers and "lambda" not in trust:
        raise ModelError(
            ReasonCode.LOAD_UNSAFE,
            Stage.LOAD,
            f"{path} carries Python bytecode in Lambda layers ({', '.join(facts.lambda_layers)}), which would run when "
            "it is loaded; if you trust its author, add `trust: [lambda]` to the job file",
        )
    missing = {name: module for name, module in facts.custom_objects.items() if name not in offered}
    if missing:
        wanted = ", ".join(f"{name} (module {module})" if module else name for name, module in sorted(missing.items()))
        raise ModelError(
            ReasonCode.LOAD_UNKNOWN_OBJECT,
            Stage.LOAD,
            f"{path} needs code that is not Keras's and was not given: {wanted}; list the file that defines it under `modules`, "
            "or map the name under `custom_objects`",
        )


def without_training(config: Any) -> Any:
    """A copy of a config without compile settings at any depth. `compile=False` skips only the outermost settings; those of a
    nested model would still be built.
    """
    if isinstance(config, dict):
        return {key: without_training(value) for key, value in config.items() if key not in TRAINING_KEYS}
    return [without_training(item) for item in config] if isinstance(config, list) else config


# Settings that only training uses, or that the weights in the file replace. Checkpoints that differ only in these are siblings.
_TRAINING_KEYS = {"trainable", "compile_config", "training_config", "seed"}
_TRAINING_ENDINGS = ("_initializer", "_regularizer", "_constraint")
_COUNTER = re.compile(r"_\d+$")


def architecture_digest(config: dict[str, Any]) -> str:
    """sha256 of a config without weights, automatic numbers and training settings: equal for siblings.

    The number a name ends with is replaced by the order in which the names first appear, so that `dense_17` of one checkpoint
    and `dense_3` of another agree, while the wiring between layers still counts. Everything else counts unchanged: a layer's
    name may be the same word as a function's ("relu"), and a dtype policy has a name too.
    """
    numbers: dict[str, int] = {}

    def without_counter(name: str) -> str:
        return f"{_COUNTER.sub('', name)}#{numbers.setdefault(name, len(numbers))}"

    def canonical(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                key: without_counter(value) if key == "name" and isinstance(value, str) else canonical(value)
                for key, value in sorted(node.items())
                if key not in _TRAINING_KEYS and not key.endswith(_TRAINING_ENDINGS)
            }
        if isinstance(node, list):
            rest = map(canonical, node[1:])
            return [without_counter(node[0]), *rest] if _is_reference(node) else [canonical(item) for item in node]
        return node

    return f"sha256:{hashlib.sha256(json.dumps(canonical(config), sort_keys=True).encode()).hexdigest()}"


def _is_reference(node: list[Any]) -> bool:
    """Whether a list is how Keras 2 and 3 name a layer's output: [layer name, call, output, ...]."""
    return len(node) >= 3 and isinstance(node[0], str) and isinstance(node[1], int) and isinstance(node[2], int)
