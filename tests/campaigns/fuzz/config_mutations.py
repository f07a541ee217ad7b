"""Architectures whose nodes name anything: seeds of both libraries, with one to three places changed.

Names come from every module of Python and of both Kerases; so do modules, registered names, and symbols of TensorFlow. All of
them are imported for it: what a process happens to have loaded would make other configs of the same numbers.
"""

from __future__ import annotations

import functools
import importlib
import json
import pickle
import pkgutil
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

from tests.checkpoints.names_units import import_all

Node = dict[str, Any]
INPUTS = 3
_HOMES = (
    "keras.layers",
    "tf_keras.layers",
    "keras.activations",
    "tf_keras.ops",
    "builtins",
    "keras.src.layers",
    "keras",
    None,
)
# They open a window or a browser, print a poem, or are Python's own tests.
_NOT_IMPORTED = frozenset({"antigravity", "this", "idlelib", "lib2to3", "test", "tkinter", "turtle", "turtledemo"})
_HARMFUL_SYMBOLS = ("io.write_file", "io.gfile.remove", "numpy_function", "load_op_library", "print")


class Names:
    """What an attacker may write: names, and the modules they are in."""

    def __init__(self, rng: random.Random) -> None:
        from liteferry.checkpoints import config_names, tf_symbols

        self._rng = rng
        self.pairs = [(module, name) for module in import_everything() for name in _names(module)]
        self.listed = sorted(config_names.ANYTHING | config_names.FUNCTIONS)
        self.functions = sorted(config_names.FUNCTIONS)
        self.is_function = config_names.FUNCTIONS
        self.symbols = [*sorted(tf_symbols.SYMBOLS), *_HARMFUL_SYMBOLS]
        self.side = {
            "_initializer": sorted(config_names.INITIALIZERS),
            "_regularizer": sorted(config_names.REGULARIZERS),
            "_constraint": sorted(config_names.CONSTRAINTS),
        }

    def any_pair(self) -> tuple[str, str]:
        """A module and something that can be called in it."""
        return self._rng.choice(self.pairs)

    def written(self) -> str:
        """A name in a form that a careless reader would take for another."""
        name = self._rng.choice(self.listed) if self._rng.random() < 0.5 else self.any_pair()[1]
        forms = (
            name.upper(),
            name.swapcase(),
            f"{name} ",
            f"\u200b{name}",
            f"keras.{name}",
            f"Custom>{name}",
            f"{name}\0",
            name + "_v2",
        )
        return self._rng.choice(forms)

    def module(self) -> Any:
        """A module that a node may be said to be from, or none."""
        return self._rng.choice(_HOMES) if self._rng.random() < 0.7 else self.any_pair()[0]


@functools.cache
def import_everything() -> tuple[str, ...]:
    """Imports all modules of Python and of both Kerases that can be imported here. Their names, sorted."""
    import keras
    import tf_keras

    found = [*import_all(keras), *import_all(tf_keras), "keras", "tf_keras"]
    return tuple(sorted({*found, *_python_modules()}))


def _python_modules() -> Iterator[str]:
    for name in sorted(sys.stdlib_module_names - _NOT_IMPORTED):
        if _can_be_imported(name):
            yield name
            inside = pkgutil.iter_modules(getattr(sys.modules[name], "__path__", ()), f"{name}.")
            yield from (found.name for found in inside if "__main__" not in found.name and _can_be_imported(found.name))


def _can_be_imported(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001  # those of other systems raise anything
        return False
    return True


def _names(module: str) -> list[str]:
    inside = vars(sys.modules[module])
    return sorted(name for name in inside if not name.startswith("__") and callable(inside[name]))


class Mutator:
    """Makes configs, always the same ones for a seed number."""

    def __init__(self, seeds: list[Node], seed: int) -> None:
        self._rng, self._seed = random.Random(seed), seed
        self._seeds = [pickle.dumps(config) for config in seeds]
        self.names = Names(self._rng)
        self._ways: list[Callable[[Node], None]] = [
            self._put_object,
            self._put_listed,
            self._put_listed,
            self._put_listed,
            self._rename,
            self._misspell,
            self._move,
            self._register,
            self._call_symbol,
            self._say_in_text,
            self._wrap,
            *[self._swap] * 10,
        ]

    def make(self, number: int) -> Node:
        """The config with a number."""
        self._rng.seed(f"{self._seed} {number}")
        config: Node = pickle.loads(self._rng.choice(self._seeds))  # a copy, a fifth of what deepcopy takes
        for _ in range(self._rng.choice((1, 1, 2, 3))):
            self._rng.choice(self._ways)(config)
        return config

    def _nodes(self, config: Node) -> list[Node]:
        found: list[Node] = []
        pending: list[Any] = [config]
        while pending:
            value = pending.pop()
            if isinstance(value, dict):
                if "class_name" in value:
                    found.append(value)
                pending.extend(value.values())
            elif isinstance(value, list):
                pending.extend(value)
        return found

    def _function(self) -> Node:
        module, name = self.names.any_pair()
        if self._rng.random() < 0.4:
            name, module = self._rng.choice(self.names.functions), self.names.module()
        registered = self._rng.choice((name, "function", self.names.any_pair()[1]))
        return {"module": module, "class_name": "function", "config": name, "registered_name": registered}

    def _object(self) -> Node:
        module, name = self.names.any_pair()
        return {"module": module, "class_name": name, "config": {"x": 1, "filepath": "/nowhere"}, "registered_name": None}

    def _place(self, config: Node) -> tuple[Node, str]:
        node = self._rng.choice(self._nodes(config))
        inner = node.get("config")
        if isinstance(inner, dict) and inner:
            return inner, self._rng.choice(list(inner))
        return node, "config"

    def _put_object(self, config: Node) -> None:
        holder, key = self._place(config)
        made = self._function() if self._rng.random() < 0.5 else self._object()
        holder[key] = made if self._rng.random() < 0.7 else [made, 1]

    def _put_listed(self, config: Node) -> None:
        holder, key = self._place(config)
        ending = next((ending for ending in self.names.side if key.endswith(ending)), None)
        name = self._rng.choice(self.names.side[ending] if ending else self.names.listed)
        if name in self.names.is_function:
            holder[key] = {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
        else:
            holder[key] = {"module": self.names.module(), "class_name": name, "config": {}, "registered_name": None}

    def _rename(self, config: Node) -> None:
        node = self._rng.choice(self._nodes(config))
        node["class_name"] = self.names.any_pair()[1] if self._rng.random() < 0.6 else self._rng.choice(self.names.listed)

    def _misspell(self, config: Node) -> None:
        node = self._rng.choice(self._nodes(config))
        node[self._rng.choice(("class_name", "module", "registered_name"))] = self.names.written()

    def _move(self, config: Node) -> None:
        self._rng.choice(self._nodes(config))["module"] = self.names.module()

    def _register(self, config: Node) -> None:
        node = self._rng.choice(self._nodes(config))
        registered = (self.names.any_pair()[1], f"a>{node['class_name']}", f"a>{self.names.any_pair()[1]}")
        node["registered_name"] = self._rng.choice(registered)

    def _call_symbol(self, config: Node) -> None:
        node = self._rng.choice(self._nodes(config))
        symbol = self._rng.choice(self.names.symbols)
        if self._rng.random() < 0.3:
            symbol = ".".join(self.names.any_pair())
        node["class_name"], node["config"] = "TFOpLambda", {"name": "op", "function": symbol}

    def _say_in_text(self, config: Node) -> None:
        holder, key = self._place(config)
        holder[key] = json.dumps(self._function() if self._rng.random() < 0.5 else self._object())

    def _wrap(self, config: Node) -> None:
        """An object as data: in a tuple, in bytes, as what a tensor or a slice holds."""
        holder, key = self._place(config)
        held = self._function() if self._rng.random() < 0.5 else self._object()
        kind = self._rng.choice(
            ("__tuple__", "__slice__", "__tensor__", "__numpy__", "__bytes__", "__typespec__", "__keras_tensor__")
        )
        values: dict[str, Any] = {
            "__tuple__": {"items": [held]},
            "__slice__": {"start": held, "stop": None, "step": None},
            "__tensor__": {"value": held, "dtype": "float32"},
            "__numpy__": {"value": held, "dtype": self._rng.choice(("float32", "object", "O8"))},
            "__bytes__": {"value": json.dumps(held)},
            "__typespec__": [held],
            "__keras_tensor__": {"shape": [held], "dtype": "float32", "keras_history": ["x", 0, 0]},
        }
        holder[key] = {"class_name": kind, "config": values[kind]}
        if kind == "__tuple__":
            holder[key]["items"] = [held]

    def _swap(self, config: Node) -> None:
        """One harmless setting for another: what passes, and is built."""
        holder, key = self._place(config)
        if key == "activation":
            holder[key] = self._rng.choice(self.names.functions)
        elif isinstance(holder[key], bool):
            holder[key] = not holder[key]
        elif isinstance(holder[key], int):
            holder[key] = self._rng.randrange(1, 50)
        elif isinstance(holder[key], float):
            holder[key] = self._rng.random()
        elif key == "name":
            holder[key] = f"{self._rng.choice(self.names.listed)}_{self._rng.randrange(1000)}"
        elif isinstance(holder[key], str):
            holder[key] = self._rng.choice(("float32", "relu", "same", "valid", "x", "channels_last", self.names.any_pair()[1]))


def seeds() -> list[Node]:
    """Nodes of layers and small models, as both libraries write them, and a Lambda over a function of tensors. Those that take
    long to build are fewer.
    """
    import keras
    import tf_keras

    found: list[Node] = []
    for library in (keras, tf_keras):
        save = library.saving.serialize_keras_object
        layers = library.layers
        light = [
            layers.Dense(2, activation="relu", kernel_regularizer="l2"),
            layers.Conv1D(2, 3, activation="tanh"),
            layers.BatchNormalization(),
            layers.TimeDistributed(layers.Dense(1)),
            layers.Embedding(4, 2),
            layers.Activation("gelu"),
            layers.Rescaling(2.0),
            layers.Lambda(library.activations.relu) if library is keras else layers.ReLU(),
        ]
        heavy = [layers.LSTM(2), layers.Bidirectional(layers.GRU(2)), layers.StringLookup(vocabulary=["a", "b"])]
        found += [_unbuilt(save(layer)) for layer in [*light * 8, *heavy]]
        x = library.Input((INPUTS,), name="x")
        model = library.Model(x, layers.Dense(2)(layers.Lambda(library.activations.relu)(x) if library is keras else x + 1.0))
        found += [save(model)]
    return found


def _unbuilt(node: Any) -> Any:
    """Without what would make variables, which takes a hundred times as long as all else."""
    if isinstance(node, dict):
        return {key: _unbuilt(value) for key, value in node.items() if key != "build_config"}
    return [_unbuilt(item) for item in node] if isinstance(node, list) else node
