"""Judges one object of a serialized architecture by its name, its module, its registered name and its place.

The rules follow what loaders do with a name. Keras 3 looks it up among its public names and, for a class, in any module of its
own. tf_keras imports any module, takes any symbol from it, and falls back to the registered name. So an object passes if its name
is on the list for its place, its module is one of Keras's, and its registered name is consistent with both; or if it is the
user's. Sources: `serialization_lib` of both, tf_keras's `legacy/serialization` and `tf_op_layer`.
"""

from __future__ import annotations

import builtins
import dataclasses
import sys
from collections.abc import Collection, Iterator
from typing import Any

from liteferry.checkpoints import config_names, tf_symbols
from liteferry.checkpoints.graph_ops import harmful_in

LAMBDA = "lambda"
FILE_OPS = "file_ops"

_KERAS = (["keras"], ["tf_keras"], ["tensorflow", "keras"], ["tensorflow", "python", "keras"])
_FUNCTION_HOMES = ("activations", "losses", "metrics", "ops")
_CONSTANTS = ("inbound_nodes", "build_config", "arguments")
_NOT_HOMES = frozenset({"keras", "tf_keras", "tensorflow", "python", "src", "api", "_v1", "_v2", "_tf_keras"})
_TYPE_SPECS = frozenset({"TensorSpec", "RaggedTensorSpec", "SparseTensorSpec", "IndexedSlicesSpec", "TensorArraySpec"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """Something a loader must not do unasked. `opened_by` is the job's `trust` value that allows it; None when no value does."""

    what: str
    opened_by: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unknown:
    """A class or function that neither library has under that name; the user's code may define it."""

    name: str
    module: str | None = None


Verdict = Finding | Unknown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Users:
    """The user's code: names of objects, and names of modules that are trusted as a whole."""

    offered: Collection[str] = ()
    modules: Collection[str] = ()

    def has(self, node: dict[str, Any], name: str) -> bool:
        """Whether an object is the user's: a loader takes a function by its name, a class by either name."""
        module = node.get("module")
        if isinstance(module, str) and (module in self.modules or module.split(".")[0] in self.modules):
            return True
        is_function = node.get("class_name") == "function"
        return name in self.offered or (not is_function and str(node.get("registered_name")) in self.offered)


def is_keras(parts: list[str]) -> bool:
    """Whether a module's path is one of Keras's, of either library and of TensorFlow's copies."""
    return any(parts[: len(home)] == home for home in _KERAS)


def of_object(node: dict[str, Any], spot: Spot) -> Iterator[Verdict]:
    """Judges an object that is not the user's. An object of an unknown module is not an attack: the user is asked for it
    elsewhere.
    """
    class_name, module, inner = str(node["class_name"]), node.get("module"), node.get("config")
    is_function = class_name == "function"
    name = inner if is_function and isinstance(inner, str) else class_name
    parts = module.split(".") if isinstance(module, str) else []
    what = f"{'a function' if is_function else 'a class'} {name!r} of module {module!r}"
    if parts and parts[0] in sys.stdlib_module_names and class_name not in config_names.DATA:
        yield from (found for found in _of_python(node, name, parts, what) if isinstance(found, Finding) or not spot.is_training)
    elif spot.is_training:
        return
    elif (plain := class_name.split(">")[-1].split(".")[-1]) in config_names.FOREIGN_LAYERS:
        yield Finding(what=f"the layer {spot.layer!r} ({plain}) {config_names.FOREIGN_LAYERS[plain]}")
    elif class_name in ("__typespec__", "TypeSpec"):
        yield from _type_spec(node)
    elif parts and not is_keras(parts) and class_name not in config_names.DATA:
        if parts[0] == "tensorflow":
            yield Finding(what=f"{what}, which is no part of Keras")
    elif is_function and spot.is_constant:
        yield Finding(what=f"{what} among what the layer {spot.layer!r} is called with")
    elif is_function:
        yield from _function(node, name, parts, what)
    else:
        yield from _class(node, parts, what, spot)
        yield from _called_symbols(plain, inner, spot.layer)


def _of_python(node: dict[str, Any], name: str, parts: list[str], what: str) -> Iterator[Verdict]:
    """Keras writes the module `builtins` for functions of its own, and looks those names up among its own."""
    if parts[0] != "builtins" or hasattr(builtins, name) or node["class_name"] != "function":
        yield Finding(what=f"{what}, which is Python's own")
    elif name not in config_names.FUNCTIONS:
        yield Unknown(name=name)
    yield from _registered(node, name, what)


def _function(node: dict[str, Any], name: str, parts: list[str], what: str) -> Iterator[Verdict]:
    homes = [part for part in parts if part not in _NOT_HOMES]
    if not parts and name not in config_names.FUNCTIONS:
        yield Unknown(name=name)
    elif name not in config_names.FUNCTIONS or (parts and (not homes or homes[0] not in _FUNCTION_HOMES)):
        yield Finding(what=f"{what}, which is no layer, activation or other part of a model")
    yield from _registered(node, name, what)


def _class(node: dict[str, Any], parts: list[str], what: str, spot: Spot) -> Iterator[Verdict]:
    class_name = str(node["class_name"])
    if class_name in config_names.ANYTHING and class_name not in spot.allowed:
        yield Finding(what=f"{what} as the {spot.key or 'model'} of {spot.layer!r}, which Keras does not allow there")
    elif class_name not in spot.allowed and parts:
        yield Finding(what=f"{what}, which is no layer, activation or other part of a model")
    elif class_name not in spot.allowed:
        yield Unknown(name=class_name)
    yield from _registered(node, class_name, what)


def _registered(node: dict[str, Any], name: str, what: str) -> Iterator[Finding]:
    """Judges the registered name, which tf_keras looks up in the module when the name itself is not there."""
    registered = node.get("registered_name")
    if registered is None or registered in (name, node.get("class_name")):
        return
    if not isinstance(registered, str) or registered.rpartition(">")[2] != name:
        yield Finding(what=f"{what} under the registered name {registered!r}, which belongs to another object")


def _type_spec(node: dict[str, Any]) -> Iterator[Finding]:
    if node["class_name"] == "TypeSpec":
        if not str(node.get("type_spec")).startswith("tf."):
            yield Finding(what=f"a type {node.get('type_spec')!r}, which is not one of TensorFlow's")
        return
    name, module = str(node.get("spec_name")), str(node.get("module"))
    if name not in _TYPE_SPECS or module.split(".")[0] != "tensorflow" or node.get("registered_name") not in (None, name):
        yield Finding(what=f"a type {name!r} of module {module!r}, which is not one of TensorFlow's")


def _called_symbols(class_name: str, inner: Any, layer: str) -> Iterator[Finding]:
    """Judges the functions, methods and operations that layers of Keras 2 call by name."""
    inner = inner if isinstance(inner, dict) else {}
    if class_name in ("TFOpLambda", "SlicingOpLambda"):
        if not tf_symbols.is_computing(str(inner.get("function"))):
            yield Finding(what=f"the layer {layer!r} calls tf.{inner.get('function')}", opened_by=FILE_OPS)
    elif class_name == "ClassMethod":
        called = f"{str(inner.get('cls_symbol')).rpartition('.')[2]}.{inner.get('method_name')}"
        if called not in tf_symbols.METHODS:
            yield Finding(what=f"the layer {layer!r} calls the method tf.{called}", opened_by=FILE_OPS)
    elif class_name in ("InstanceMethod", "InstanceProperty"):
        if inner.get("attr_name") not in tf_symbols.ATTRIBUTES:
            yield Finding(
                what=f"the layer {layer!r} takes the attribute {inner.get('attr_name')!r} of a tensor", opened_by=FILE_OPS
            )
    elif class_name == "TensorFlowOpLayer":
        for operation in harmful_in(inner.get("node_def")):
            yield Finding(what=f"the layer {layer!r} runs the operation {operation}", opened_by=FILE_OPS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spot:
    """A value and its place: the classes allowed there, the enclosing layer, whether a library's object holds it."""

    value: Any
    allowed: frozenset[str]
    layer: str = "unnamed"
    key: str = ""
    of_library: bool = True
    takes_text: bool = False
    is_training: bool = False
    is_constant: bool = False
    is_item: bool = False
    texts: int = 0

    def inside(self, key: str, value: Any, allowed: frozenset[str]) -> Spot:
        """The spot of the value under a key of this one."""
        return self.changed(
            value=value,
            key=key,
            allowed=allowed,
            is_training=self.is_training or key in config_names.TRAINING_KEYS,
            is_constant=self.is_constant or key in _CONSTANTS,
            is_item=False,
        )

    def changed(self, **fields: Any) -> Spot:
        """`dataclasses.replace` without its checks, which would be most of the time that a scan takes."""
        spot = object.__new__(Spot)
        spot.__dict__.update(self.__dict__)
        spot.__dict__.update(fields)
        return spot
