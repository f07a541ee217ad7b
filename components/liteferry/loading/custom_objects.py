"""Decides to which object each node of an architecture refers: the library's own, or one of the user's.

Loaders look up `custom_objects` by bare name, before their own names: a helper called `relu` or a class called `Dense` would
replace Keras's. So a loader gets no name that its library has itself, and a node that names a module gets the object of that
module under a unique name. Where the file is ambiguous, the job's `custom_objects` decides; nothing is guessed.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from liteferry.checkpoints.config_names import TRAINING_KEYS
from liteferry.checkpoints.keras_names import ACTIVATIONS, LAYERS, MADE_BY_KERAS
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import user_code
from liteferry.loading.user_code import Offered

_LIBRARY_ROOTS = ("keras", "tf_keras")
# Modules in which both libraries look names up.
_HOMES = ("activations", "initializers", "regularizers", "constraints", "layers", "losses", "metrics", "optimizers", "models")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resolved:
    """A config whose nodes each refer to one object, and the `custom_objects` to load it with.

    Attributes:
      config: the input unchanged where no node needed a unique name.
      objects: names a loader needs, none of them the library's own, unless the job's `custom_objects` contains it.
      registered: names that the user's code has registered with the library, which finds them by itself.
      used: the user's own name of every object that a node was resolved to -> the object.
      shared: names that are left out of `objects`, since several objects have them.
    """

    config: dict[str, Any]
    objects: Mapping[str, Any]
    used: Mapping[str, Any]
    registered: frozenset[str] = frozenset()
    shared: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)


def own_names(library: Any) -> set[str]:
    """Every name that this Keras library resolves by itself."""
    homes = [getattr(library, home, None) for home in _HOMES]
    public = {name for home in homes if home is not None for name in dir(home) if not name.startswith("_")}
    return public | LAYERS | MADE_BY_KERAS | ACTIVATIONS


def resolve(path: str, config: dict[str, Any], offered: Offered, library: Any) -> Resolved:
    """Decides for every node of an architecture which object it refers to.

    Args:
      path: as errors name the file.
      config: parsed JSON.
      offered: the user's code.
      library: the module, keras or tf_keras, that will load it.

    Raises:
      ModelError: LOAD_UNKNOWN_OBJECT where a name fits several of the user's objects and the file does not say which.
    """
    nodes = _Nodes(path, offered, library)
    changed = copy.deepcopy(config)
    for node in _built_for_inference(changed):
        nodes.settle(node)
    return Resolved(
        config=changed,
        objects={**nodes.plain_names(), **nodes.aliases, **offered.chosen},
        used={**nodes.used, **offered.chosen},
        registered=frozenset(nodes.registered),
        shared=nodes.shared(),
    )


def _built_for_inference(config: Any) -> Iterator[dict[str, Any]]:
    """Every node of an object, without training's. Iterative: the file decides how deep it is."""
    pending = [config]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            if "class_name" in current:
                yield current
            pending.extend(value for key, value in current.items() if key not in TRAINING_KEYS)
        elif isinstance(current, list):
            pending.extend(current)


class _Nodes:
    def __init__(self, path: str, offered: Offered, library: Any) -> None:
        self._path, self._library = path, library
        self._chosen, self._packages = offered.chosen, offered.packages
        self._defined = dict(offered.defined)
        self._own = own_names(library)
        self._searched = False
        self.aliases: dict[str, Any] = {}
        self.used: dict[str, Any] = {}
        self.registered: set[str] = set()

    def plain_names(self) -> dict[str, Any]:
        """The objects that may be offered under their bare names: the library has no such name, and the user only one such
        object.
        """
        return {name: values[0] for name, values in self._defined.items() if len(values) == 1 and name not in self._own}

    def shared(self) -> dict[str, tuple[Any, ...]]:
        return {name: values for name, values in self._defined.items() if len(values) > 1 and name not in self._chosen}

    def settle(self, node: dict[str, Any]) -> None:
        """Leaves a node as it is, or gives it a unique name for one object."""
        is_function, name = _function_or_class(node)
        if name is None or name in self._chosen or str(node.get("registered_name")) in self._chosen:
            return
        found = self._found(name, node)
        if not found:
            return  # the library's own; or not offered at all, which the scan reports
        if len(found) > 1:
            raise ambiguous(self._path, name, found)
        self.used[name] = found[0]
        if self._registered(node) is found[0]:
            self.registered |= {name, _registered_name(node)}
        if self.plain_names().get(name) is found[0] or self._registered(node) is found[0]:
            return
        alias = f"{found[0].__module__}.{name}"
        self.aliases[alias] = found[0]
        if is_function:
            node.update(config=alias, module="builtins", registered_name="function")
        else:
            node["class_name"] = alias
            node.update({"module": None, "registered_name": alias} if "module" in node else {})

    def _found(self, name: str, node: Mapping[str, Any]) -> list[Any]:
        """The user's objects that a node may refer to: none for the library's own, several where the file is ambiguous."""
        registered, module = self._registered(node), _module(node)
        if registered is None and self._is_library_s(name, module):
            return []
        same = [value for value in self._defined.get(name, ()) if module and value.__module__ == module]
        if registered is None or same:
            return same or self._candidates(name, module)
        key = self._library.saving.get_registered_name(registered)
        alike = [value for value in self._defined.get(name, ()) if self._library.saving.get_registered_name(value) == key]
        return alike if len(alike) > 1 else [registered]

    def _registered(self, node: Mapping[str, Any]) -> Any:
        """The object that the user's code has registered under the node's registered name."""
        key = _registered_name(node)
        return self._library.saving.get_registered_object(key) if ">" in key else None

    def _is_library_s(self, name: str, module: str | None) -> bool:
        return module.split(".")[0] in _LIBRARY_ROOTS if module else name in self._own

    def _candidates(self, name: str, module: str | None) -> list[Any]:
        if module and any(module.startswith(f"{package}.") for package in self._packages):
            with contextlib.suppress(Exception):  # the package may have moved it to another module; then its name decides
                self._add(user_code.defined_in(importlib.import_module(module)).items())
        if name not in self._defined and not self._searched and self._packages:
            self._searched = True
            for package in self._packages:
                user_code.import_submodules(package)
                self._add(user_code.defined_below(importlib.import_module(package)))
        every = self._defined.get(name, ())
        same = [value for value in every if value.__module__ == module]
        ends = [value for value in every if module and _is_end_of(value.__module__, module)]
        return same or ends or list(every)

    def _add(self, items: Iterable[tuple[str, Any]]) -> None:
        for name, value in items:
            known = self._defined.get(name, ())
            if not any(value is one for one in known):
                self._defined[name] = (*known, value)


def _function_or_class(node: Mapping[str, Any]) -> tuple[bool, str | None]:
    """Whether a node is a function, and its name without the package it is registered under."""
    if node.get("class_name") == "function":
        inner = node.get("config")
        return True, inner.split(">")[-1] if isinstance(inner, str) else None
    name = node.get("class_name")
    return False, name.split(">")[-1] if isinstance(name, str) and "config" in node else None


def _registered_name(node: Mapping[str, Any]) -> str:
    """`package>name`, if the user's code has registered the object that the node refers to."""
    inner = node.get("config")
    if node.get("class_name") == "function" and isinstance(inner, str):
        return inner
    return str(node.get("registered_name") or node.get("class_name"))


def _module(node: Mapping[str, Any]) -> str | None:
    """The module that a node names, where it names one."""
    module = node.get("module")
    return module if isinstance(module, str) and module != "builtins" else None


def _is_end_of(one: str, other: str) -> bool:
    """Whether two module names may be the same file seen from different folders: `layers` and `project.layers`."""
    return one.endswith(f".{other}") or other.endswith(f".{one}")


def ambiguous(path: str, name: str, values: Iterable[Any]) -> ModelError:
    """LOAD_UNKNOWN_OBJECT for a name that several of the user's modules define."""
    modules = sorted(str(value.__module__) for value in values)
    return ModelError(
        ReasonCode.LOAD_UNKNOWN_OBJECT,
        Stage.LOAD,
        f"{path} needs {name}, which {' and '.join(modules)} each define, and the file does not say which; choose with "
        f'`custom_objects: {{{name}: "{modules[0]}:{name}"}}`',
    )
