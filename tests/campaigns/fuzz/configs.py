"""`python -m tests.campaigns.fuzz.configs`: architectures whose nodes name anything; what passes the scan is built.

The kernel confines nothing here. A canary stands behind every name: what a loader resolves is looked at before it is called, and
whatever opens a file, starts a process or unmarshals code while a config is deserialised is counted as fired. Names come from
every module of Python and of both Kerases; so do modules, registered names, and symbols of TensorFlow.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import copy
import importlib
import inspect
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Node = dict[str, Any]
# Audit events that no harmless architecture raises while it is built. `open` counts by its file, see `Canaries`.
_EVENT_NAMES = """
    os.system subprocess.Popen socket.connect marshal.loads os.remove os.rename os.mkdir os.rmdir pickle.find_class shutil.rmtree
    shutil.copyfile os.exec os.posix_spawn os.fork ctypes.dlopen urllib.Request
"""
_EVENTS = frozenset(_EVENT_NAMES.split())
_INPUTS = 3


class Canaries:
    """Watches a process while it deserialises. `fired` tells what went off."""

    def __init__(self) -> None:
        self.fired: list[str] = []
        self.is_watching = False
        self.resolved = 0
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_watching:
            return
        if event in _EVENTS or (event == "open" and not _is_code(arguments[0])):
            self.fired.append(f"{event} {arguments!r}"[:300])

    def look_at(self, resolved: Any, name: str) -> None:
        """Before anything is done with what a loader took for a name."""
        self.resolved += 1
        if not is_harmless(resolved):
            self.fired.append(f"{name} is {resolved!r}")
            raise TypeError("a canary")

    def stand_behind(self, module: Any, function: str) -> None:
        """Looks at everything that a library's own resolver returns."""
        original = getattr(module, function)

        def watched(*args: Any, **kwargs: Any) -> Any:
            found = original(*args, **kwargs)
            resolved = found[0] if isinstance(found, tuple) else found
            if self.is_watching:
                self.look_at(resolved, f"{module.__name__}.{function}{args[:1]!r}"[:200])
            return found

        setattr(module, function, watched)


def _is_code(path: Any) -> bool:
    """Python reads its own modules when one is imported for the first time."""
    return isinstance(path, int) or str(path).endswith((".py", ".pyc", ".so")) or "site-packages" in str(path)


def is_harmless(resolved: Any) -> bool:
    """Whether an object is a part of a model: a class of layers or their settings, or a function of tensors."""
    homes = (".ops", ".activations", ".losses", ".backend", ".metrics", ".nn", ".math", ".numpy", ".linalg", ".random", ".image")
    if inspect.isclass(resolved):
        roots = {"Operation", "Layer", "Initializer", "Regularizer", "Constraint", "Loss", "DTypePolicy", "Policy", "Quantizer"}
        roots |= {"QuantizationConfig", "FeatureColumn", "Feature", "Cross", "TypeSpec", "Module", "Reduction"}
        return bool(roots & {base.__name__ for base in resolved.__mro__}) and resolved.__name__ != "TFSMLayer"
    module = str(getattr(resolved, "__module__", ""))
    return module.split(".")[0] in ("keras", "tf_keras", "tensorflow") and any(home in module for home in homes)


class Names:
    """What an attacker may write: names, and the modules they are in."""

    def __init__(self, rng: random.Random) -> None:
        from liteferry.checkpoints import config_names, tf_symbols

        self._rng = rng
        self.pairs = [(module, name) for module in _modules() for name in _names(module)]
        self.listed = sorted(config_names.ANYTHING | config_names.FUNCTIONS)
        self.functions = sorted(config_names.FUNCTIONS)
        self.symbols = [
            *sorted(tf_symbols.SYMBOLS),
            "io.write_file",
            "io.gfile.remove",
            "numpy_function",
            "load_op_library",
            "print",
        ]
        self.classes = sorted(config_names.BUILT)
        self.side = {
            "_initializer": sorted(config_names.INITIALIZERS),
            "_regularizer": sorted(config_names.REGULARIZERS),
            "_constraint": sorted(config_names.CONSTRAINTS),
        }

    def any_pair(self) -> tuple[str, str]:
        return self._rng.choice(self.pairs)

    def module(self) -> Any:
        """A module that a node may be said to be from, or none."""
        homes = [
            "keras.layers",
            "tf_keras.layers",
            "keras.activations",
            "tf_keras.ops",
            "builtins",
            "keras.src.layers",
            "keras",
            None,
        ]
        return self._rng.choice(homes) if self._rng.random() < 0.7 else self.any_pair()[0]


def _modules() -> Iterator[str]:
    for name in sorted(sys.modules):
        if name.split(".")[0] in ("keras", "tf_keras") or name in sys.stdlib_module_names:
            yield name


def _names(module: str) -> list[str]:
    loaded = sys.modules.get(module)
    return [name for name in vars(loaded) if not name.startswith("__") and callable(vars(loaded)[name])] if loaded else []


class Mutator:
    """Makes the config with a number, always the same one: seeds of both libraries with one to three places changed."""

    def __init__(self, seeds: list[Node], seed: int) -> None:
        self._rng = random.Random(seed)
        self._seeds = seeds
        self.names = Names(self._rng)
        self._ways: list[Callable[[Node], None]] = [
            self._put_object,
            self._put_listed,
            self._put_listed,
            self._rename,
            self._move,
            self._register,
            self._call_symbol,
            self._say_in_text,
            self._swap,
            self._swap,
            self._swap,
        ]

    def make(self) -> Node:
        config = copy.deepcopy(self._rng.choice(self._seeds))
        for _ in range(self._rng.choice((1, 1, 2, 3))):
            self._rng.choice(self._ways)(config)
        return config

    def _nodes(self, config: Node) -> list[Node]:
        found, pending = [], [config]
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
        if name in self.names.functions:
            holder[key] = {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
        else:
            holder[key] = {"module": self.names.module(), "class_name": name, "config": {}, "registered_name": None}

    def _rename(self, config: Node) -> None:
        node = self._rng.choice(self._nodes(config))
        node["class_name"] = self.names.any_pair()[1] if self._rng.random() < 0.6 else self._rng.choice(self.names.listed)

    def _move(self, config: Node) -> None:
        self._rng.choice(self._nodes(config))["module"] = self.names.module()

    def _register(self, config: Node) -> None:
        node = self._rng.choice(self._nodes(config))
        node["registered_name"] = self._rng.choice(
            (self.names.any_pair()[1], f"a>{node['class_name']}", f"a>{self.names.any_pair()[1]}")
        )

    def _call_symbol(self, config: Node) -> None:
        node = self._rng.choice(self._nodes(config))
        symbol = self._rng.choice(self.names.symbols)
        if self._rng.random() < 0.3:
            symbol = ".".join(self.names.any_pair())
        node["class_name"], node["config"] = "TFOpLambda", {"name": "op", "function": symbol}

    def _say_in_text(self, config: Node) -> None:
        holder, key = self._place(config)
        holder[key] = json.dumps(self._function() if self._rng.random() < 0.5 else self._object())

    def _swap(self, config: Node) -> None:
        """One harmless setting for another: what passes, and is built."""
        holder, key = self._place(config)
        if key == "activation":
            holder[key] = self._rng.choice(self.names.functions)
        elif isinstance(holder[key], bool):
            holder[key] = not holder[key]
        elif isinstance(holder[key], int):
            holder[key] = self._rng.randrange(1, 5)
        elif isinstance(holder[key], str):
            holder[key] = self._rng.choice(("float32", "relu", "same", "valid", "x", "channels_last", self.names.any_pair()[1]))


def seeds() -> list[Node]:
    """Nodes of layers and small models, as both libraries write them, and a Lambda over a function of tensors."""
    import keras
    import tf_keras

    found = []
    for library in (keras, tf_keras):
        save = library.saving.serialize_keras_object
        layers = library.layers
        made = [
            layers.Dense(2, activation="relu", kernel_regularizer="l2"),
            layers.Conv1D(2, 3, activation="tanh"),
            layers.BatchNormalization(),
            layers.LSTM(2),
            layers.Bidirectional(layers.GRU(2)),
            layers.TimeDistributed(layers.Dense(1)),
            layers.Embedding(4, 2),
            layers.Activation("gelu"),
            layers.StringLookup(vocabulary=["a", "b"]),
            layers.Lambda(library.activations.relu) if library is keras else layers.ReLU(),
        ]
        found += [_unbuilt(save(layer)) for layer in made] * 3
        x = library.Input((_INPUTS,), name="x")
        model = library.Model(x, layers.Dense(2)(layers.Lambda(library.activations.relu)(x) if library is keras else x + 1.0))
        found += [save(model)]
    return found


def _unbuilt(node: Any) -> Any:
    """Without what would make variables, which takes a hundred times as long as all else."""
    if isinstance(node, dict):
        return {key: _unbuilt(value) for key, value in node.items() if key != "build_config"}
    return [_unbuilt(item) for item in node] if isinstance(node, list) else node


def run(total: int, *, seed: int, seconds: float) -> dict[str, Any]:
    """Scans up to `total` configs and deserialises what passes, for so many seconds at most. Returns counts and what fired."""
    from liteferry.checkpoints import config_scan, config_trust
    from liteferry.errors import ModelError

    canaries = _watched()
    mutator = Mutator(seeds(), seed)
    counts: collections.Counter[str] = collections.Counter()
    fired: list[str] = []
    begun = time.monotonic()
    for number in range(total):
        if time.monotonic() - begun > seconds:
            break
        config = mutator.make()
        counts["configs"] += 1
        try:
            config_trust.refuse("a", config_trust.findings(config), trust=())
            config_scan.refuse_untrusted("a", config_scan.scan(config), offered=(), trust=())
        except ModelError as error:
            counts[error.reason.code.value] += 1
            continue
        counts["passed"] += 1
        counts["deserialised" if _deserialise(canaries, config) else "refused by the library"] += 1
        if canaries.fired:
            fired.append(f"seed {seed}, number {number}: {canaries.fired[:3]} by {json.dumps(config)[:1500]}")
            canaries.fired.clear()
    return {"seed": seed, "seconds": round(time.monotonic() - begun, 1), "resolved": canaries.resolved, **counts, "fired": fired}


def _watched() -> Canaries:
    canaries = Canaries()
    for name in (
        "keras.src.saving.serialization_lib",
        "tf_keras.src.saving.serialization_lib",
    ):
        canaries.stand_behind(importlib.import_module(name), "_retrieve_class_or_fn")
    for name in ("keras.src.legacy.saving.serialization", "tf_keras.src.saving.legacy.serialization"):
        canaries.stand_behind(importlib.import_module(name), "class_and_config_for_serialized_keras_object")
    from tf_keras.src.layers.core import tf_op_layer

    canaries.stand_behind(tf_op_layer, "get_symbol_from_name")
    return canaries


def _deserialise(canaries: Canaries, config: Node) -> bool:
    """By both libraries, as their loaders do it. True when one of them built it."""
    import keras
    import tf_keras

    built = False
    for library in (keras, tf_keras):
        canaries.is_watching = True
        try:
            with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
                library.saving.deserialize_keras_object(copy.deepcopy(config), safe_mode=False)
            built = True
        except Exception:  # noqa: BLE001  # libraries raise anything over configs that were made to be wrong
            continue
        finally:
            canaries.is_watching = False
    return built


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.fuzz.configs", description=__doc__)
    parser.add_argument("--configs", type=int, default=200_000, metavar="N")
    parser.add_argument("--seconds", type=float, default=240.0, metavar="S", help="stop after so many, however many that were")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    told = run(options.configs, seed=options.seed, seconds=options.seconds)
    print(json.dumps(told))
    return int(bool(told["fired"]))


if __name__ == "__main__":
    sys.exit(main())
