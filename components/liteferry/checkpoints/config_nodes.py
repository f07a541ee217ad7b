"""Walks a serialized architecture: every object in it, and every text that may name an object, with the classes allowed there.

`config_objects` judges each object. Iterative throughout: the file decides how deep a config is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from liteferry.checkpoints import config_names
from liteferry.checkpoints.config_objects import FILE_OPS, LAMBDA, Finding, Spot, Unknown, Users, Verdict, is_keras, of_object

# Layers whose constants may be any text: the function that gets the text is on a list of functions that only compute.
_TAKES_TEXT = frozenset({"TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod"}) | config_names.OPERATIONS
# Keys for a layer's call arguments and shapes: data only, nothing callable.
_QUANTIZATION_MODE = re.compile(r"(int4|gptq/\d+|awq/\d+)/-?\d+")
_WORD = re.compile(r"[\w.,>\- ]{0,80}")
# Keys of names and words that no loader opens as a file, and of bytecode, which is reported separately.
_ANY_SIGN = ("name", "oov_token", "mask_token", "symbol", "function", "mask", "output_shape")
_MOST_NESTED_TEXTS = 4
_OPERATION_LAYERS = ("TensorFlowOpLayer", "AddLoss", "AddMetric")


def judge(config: Any, users: Users) -> Iterator[Verdict]:
    """Findings (things that a loader must not do with a config) and objects that the user must supply, in the order of the
    file.
    """
    pending = [Spot(value=config, allowed=config_names.BUILT)]
    while pending:
        below: list[Spot] = []
        for found in _of_value(pending.pop(), users):
            if isinstance(found, Spot):
                if isinstance(found.value, (dict, list, str)):  # numbers name nothing
                    below.append(found)
            else:
                yield found
        pending.extend(reversed(below))


def _of_value(spot: Spot, users: Users) -> Iterator[Verdict | Spot]:
    if isinstance(spot.value, dict):
        yield from _of_dict(spot, users)
    elif isinstance(spot.value, list):
        yield from _of_list(spot)
    elif isinstance(spot.value, str) and not spot.is_training:
        yield from _nested(spot)
        if spot.of_library:
            yield from _of_text(spot, users)


def _of_list(spot: Spot) -> Iterator[Spot]:
    items = spot.value
    is_reference = len(items) >= 3 and isinstance(items[0], str) and isinstance(items[1], int)  # [layer, call, output]
    yield from (spot.changed(value=item, is_item=True) for item in (items[1:] if is_reference else items))


def _nested(spot: Spot) -> Iterator[Spot]:
    """An architecture inside a text, which some functions would parse."""
    text = spot.value
    if text.lstrip()[:1] not in ("{", "[") or "class_name" not in text or spot.texts >= _MOST_NESTED_TEXTS:
        return
    try:
        nested = json.loads(text)
    except (ValueError, RecursionError):
        return
    allowed = config_names.DATA if spot.of_library else config_names.ANYTHING
    yield spot.changed(value=nested, allowed=allowed, texts=spot.texts + 1)


def _of_text(spot: Spot, users: Users) -> Iterator[Verdict]:
    text = spot.value
    if spot.is_item and not spot.is_constant:
        return  # for example the words of a vocabulary
    if spot.key in config_names.PATHS and text:
        yield Finding(what=f"the layer {spot.layer!r} reads the file {text!r}", opened_by=FILE_OPS)
    elif spot.is_constant:
        if not spot.takes_text and not _WORD.fullmatch(text):
            yield Finding(what=f"the layer {spot.layer!r} is called on the text {text[:80]!r}, which no layer takes")
    elif spot.key in ("activation", "recurrent_activation"):
        if text not in config_names.FUNCTIONS and text not in config_names.BUILT and text not in users.offered:
            yield Unknown(name=text)
    elif spot.key == "mode" and _QUANTIZATION_MODE.fullmatch(text):
        return  # Keras's key for the block size of quantised weights
    elif ("/" in text or "\\" in text) and not spot.key.endswith(_ANY_SIGN):
        yield Finding(what=f"the layer {spot.layer!r} has the path {text[:200]!r} as its {spot.key}", opened_by=FILE_OPS)


def _of_dict(spot: Spot, users: Users) -> Iterator[Verdict | Spot]:
    node = spot.value
    spot = spot.changed(layer=_name_of(node) or spot.layer)
    if _is_bytecode(node) or (isinstance(node.get("config"), dict) and _is_bytecode(node["config"])):
        yield Finding(what=f"Python bytecode in the Lambda layer {spot.layer!r}, which would run", opened_by=LAMBDA)
    class_name = node.get("class_name")
    if not isinstance(class_name, str):
        yield from (spot.inside(str(key), value, _below(str(key), spot)) for key, value in node.items())
        return
    inner = node.get("config")
    name = inner if class_name == "function" and isinstance(inner, str) else class_name
    is_users = users.has(node, name)
    if not is_users and class_name != "__lambda__":
        yield from of_object(node, spot)
    known = name in config_names.ANYTHING or name in config_names.FUNCTIONS
    module = node.get("module")
    is_library = not is_users and known and (not isinstance(module, str) or is_keras(module.split(".")))
    yield from _children(spot.changed(of_library=is_library, takes_text=class_name in _TAKES_TEXT), class_name)


def _children(spot: Spot, class_name: str) -> Iterator[Spot]:
    for key, value in spot.value.items():
        if key in ("class_name", "module", "registered_name", "name") or (key == "config" and class_name == "function"):
            continue
        if key != "config":
            yield spot.inside(key, value, config_names.expected(key, config_names.ANYTHING))
        elif isinstance(value, dict):
            for inner, held in value.items():
                if not (class_name in _OPERATION_LAYERS and inner in ("node_def", "constants")):
                    yield spot.inside(str(inner), held, _below(str(inner), spot, class_name))
        else:  # an old Sequential, whose config is the list of its layers
            yield spot.inside("layers" if isinstance(value, list) else key, value, config_names.ANYTHING)


def _below(key: str, spot: Spot, class_name: str = "") -> frozenset[str]:
    """The classes that are allowed under a key. In a user's object anything is allowed. A Lambda's function is not a callable
    object of the config.
    """
    if class_name.split(">")[-1] == "Lambda" and key in ("function", "mask", "output_shape"):
        return config_names.DATA
    if not spot.of_library:
        return config_names.ANYTHING
    return config_names.expected(key, config_names.ANYTHING if class_name else spot.allowed)


def _name_of(node: dict[str, Any]) -> str | None:
    inner = node.get("config")
    for holder in (inner, node):
        if isinstance(holder, dict) and isinstance(holder.get("name"), str):
            return str(holder["name"])
    return None


def _is_bytecode(node: dict[str, Any]) -> bool:
    """By structure, not by class name: aliases and subclasses of Lambda unmarshal too, as do its output shape and mask."""
    if node.get("class_name") == "__lambda__":
        return True
    if any(value == "lambda" and str(key).endswith("_type") for key, value in node.items()):
        return True
    function = node.get("function")
    return isinstance(function, list) and bool(function) and isinstance(function[0], str)
