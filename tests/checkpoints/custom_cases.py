"""Writes the cases of `test_whole_models`: models whose code is the user's or whose state is more than variables.

`python custom_cases.py keras OUT`, as `weights_cases.py` does it.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RIGHT, REFUSED, UNKNOWN = "right", "WEIGHTS_MISMATCH", "LOAD_UNKNOWN_OBJECT"
# case -> what must come of the .keras archive and of the HDF5 file
EXPECT: dict[str, tuple[str, str]] = {
    "helpers_named_as_keras_s_own": (RIGHT, RIGHT),
    "a_class_named_as_keras_s_own": (RIGHT, RIGHT),
    "registered_as_keras_s_own": (RIGHT, RIGHT),
    "one_class_in_two_modules": (RIGHT, UNKNOWN),
    "one_class_in_two_modules_and_chosen": (RIGHT, RIGHT),
    "one_name_registered_by_two_modules": (RIGHT, UNKNOWN),
    "a_package": (RIGHT, RIGHT),
    "registered_by_a_package": (RIGHT, RIGHT),
    "nested_normalization": (RIGHT, RIGHT),
    "nested_discretization": (RIGHT, RIGHT),
    "adapted_string_lookup": (RIGHT, REFUSED),
    "adapted_integer_lookup": (RIGHT, REFUSED),
    "adapted_text_vectorization": (RIGHT, REFUSED),
    "given_vocabulary": (RIGHT, RIGHT),
    "hashing": (RIGHT, RIGHT),
    "derives_when_it_loads": (RIGHT, RIGHT),
    "saves_more_than_variables": (RIGHT, REFUSED),
    "forgets_a_variable": (REFUSED, RIGHT),
    "saves_assets": (RIGHT, REFUSED),
    "finalises": (RIGHT, RIGHT),
    "a_variable_of_tensorflows": (REFUSED, REFUSED),
    "frozen_inside_a_layer": (RIGHT, RIGHT),
}

OF_TF_KERAS = {
    "a_variable_of_tensorflows": (RIGHT, RIGHT),  # where it is a weight as any other
    "registered_as_keras_s_own": (
        RIGHT,
        UNKNOWN,
    ),  # tf_keras writes a registered function into HDF5 in a form that it cannot read
}
# tf_keras refuses to write these into HDF5.
UNSAVED = {("tf_keras", f"adapted_{kind}", "h5") for kind in ("string_lookup", "integer_lookup", "text_vectorization")}

LAYERS = """
import {library} as k
import numpy as np
import tensorflow as tf

class {class_name}(k.layers.Layer):
    def __init__(self, units=4, **kw):
        super().__init__(**kw); self.units = units
    def build(self, shape):
        self.w = self.add_weight(name="w", shape=(shape[-1], self.units)); super().build(shape)
    def call(self, x):
        return tf.{activation}(tf.matmul(x, tf.convert_to_tensor(self.w)))
    def get_config(self):
        return {{**super().get_config(), "units": self.units}}
"""
HELPERS = """
import tensorflow as tf

def relu(x, alpha=0.2):
    return tf.maximum(alpha * x, x)

def gelu(x):
    return 0.5 * x
"""
STATES = """
import os
import {library} as k
import numpy as np
import tensorflow as tf

class Scale(k.layers.Layer):
    def build(self, shape):
        self.gain = self.add_weight(name="gain", shape=(shape[-1],), initializer="ones")
        self.other = self.add_weight(name="other", shape=(shape[-1],), initializer="ones")
        self.derived = np.ones((shape[-1],), "float32"); super().build(shape)
    def call(self, x):
        return x * tf.convert_to_tensor(self.gain) * self.derived * tf.convert_to_tensor(self.other)

class DerivesWhenItLoads(Scale):
    def load_own_variables(self, store):
        super().load_own_variables(store); self.derived = np.asarray(self.gain) * 2.0

class SavesMoreThanVariables(Scale):
    def save_own_variables(self, store):
        super().save_own_variables(store); store["derived"] = self.derived
    def load_own_variables(self, store):
        self.gain.assign(store["0"]); self.other.assign(store["1"]); self.derived = np.asarray(store["derived"])

class ForgetsAVariable(Scale):
    def save_own_variables(self, store):
        store["0"] = np.asarray(self.gain)
    def load_own_variables(self, store):
        self.gain.assign(store["0"])

class SavesAssets(Scale):
    def save_assets(self, folder):
        np.save(os.path.join(folder, "derived.npy"), self.derived)
    def load_assets(self, folder):
        self.derived = np.load(os.path.join(folder, "derived.npy"))

class Finalises(Scale):
    def finalize_state(self):
        self.derived = np.asarray(self.gain) * 2.0
    def load_own_variables(self, store):
        super().load_own_variables(store); self.finalize_state()

class AVariableOfTensorflows(Scale):
    def build(self, shape):
        super().build(shape); self.bare = tf.Variable(np.ones((4,), "float32"))
    def call(self, x):
        return super().call(x) * self.bare

class Inner(k.layers.Layer):
    def __init__(self, **kw):
        super().__init__(**kw); self.first = k.layers.Dense(4, name="first"); self.second = k.layers.Dense(4, name="second")
    def call(self, x):
        return self.second(tf.tanh(self.first(x)))
"""


class Case:
    """One case in the making: `folder` for what the user's code is, `k` the library."""

    def __init__(self, name: str, k: Any, out: Path) -> None:
        self.name, self.k, self.out = name, k, out
        self.modules: list[str] = []
        self.custom_objects: dict[str, str] = {}
        self.random = np.random.default_rng(sum(name.encode()))
        self.code = out / f"{name}-code"
        self.code.mkdir(parents=True)
        sys.path.insert(0, str(self.code))

    def module(self, name: str, text: str, listed: str | None = None) -> Any:
        """A module of the user's, listed in the job by its file, or as the package that is `listed`."""
        path = self.code / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        listed = listed or str(path)
        self.modules += [] if listed in self.modules else [listed]
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    def x(self) -> Any:
        return self.k.Input((4,), name="x")

    def floats(self) -> np.ndarray:
        return (self.random.normal(size=(8, 4)) * [1, 5, 50, 500] + [3, 30, 300, 3000]).astype(np.float32)

    def save(self, model: Any, rows: np.ndarray, *, shake: bool = True) -> None:
        """Both files, with the live model's answers. `shake`: every weight random first."""
        import tensorflow as tf

        if shake:
            for weight in model.weights:
                weight.assign(self.random.normal(size=tuple(weight.shape)))
        values = tf.constant(rows)
        answers = np.asarray(model(values, training=False))
        expected = {**EXPECT, **(OF_TF_KERAS if self.k.__name__ == "tf_keras" else {})}[self.name]
        for ending, expect in zip(("keras", "h5"), expected, strict=True):
            if (self.k.__name__, self.name, ending) in UNSAVED:
                continue
            folder = self.out / f"{self.name}-{ending}"
            folder.mkdir(parents=True)
            model.save(str(folder / f"model.{ending}"))
            named: Any = {model.inputs[0].name.split(":")[0]: rows}
            np.savez(folder / "rows.npz", **named)
            np.savez(folder / "expected.npz", output_0=answers)
            case = {
                "checkpoint": f"model.{ending}",
                "modules": self.modules,
                "custom_objects": self.custom_objects,
                "expect": expect,
            }
            (folder / "case.json").write_text(json.dumps(case, indent=2))


WRITERS: dict[str, Callable[[Case], None]] = {}


def case(function: Callable[[Case], None]) -> Callable[[Case], None]:
    WRITERS[function.__name__] = function
    return function


@case
def helpers_named_as_keras_s_own(c: Case) -> None:
    c.module("helpers_own", HELPERS)
    x = c.x()
    h = c.k.layers.Dense(4, activation="relu")(x)
    c.save(c.k.Model(x, c.k.layers.Dense(2, activation="gelu")(h)), c.floats() / 100)


@case
def a_class_named_as_keras_s_own(c: Case) -> None:
    c.module("layers_own", LAYERS.format(library=c.k.__name__, class_name="Dense", activation="tanh"))
    x = c.x()
    c.save(c.k.Model(x, c.k.layers.Dense(2)(x)), c.floats())


@case
def registered_as_keras_s_own(c: Case) -> None:
    """A class and a function that are registered, and beside them Keras's own of the same names."""
    text = LAYERS.format(library=c.k.__name__, class_name="Dense", activation="tanh") + HELPERS
    for definition in ("class Dense", "def relu"):
        text = text.replace(f"\n{definition}", f"\n@k.saving.register_keras_serializable()\n{definition}")
    own = c.module("registered_own", text)
    x = c.x()
    h = own.Dense(4)(c.k.layers.Dense(4, activation="relu")(x))
    c.save(c.k.Model(x, c.k.layers.Dense(2, activation=own.relu)(h)), c.floats() / 100)


def _two_modules(c: Case, before: str = "") -> Any:
    x = h = c.x()
    for number, activation in enumerate(("tanh", "nn.relu")):
        text = LAYERS.format(library=c.k.__name__, class_name="Block", activation=activation)
        text = text.replace("\nclass", f"\n{before}\nclass")
        h = c.module(f"{c.name}_{number}", text).Block(4)(h)
    return c.k.Model(x, c.k.layers.Dense(2)(h))


@case
def one_class_in_two_modules(c: Case) -> None:
    c.save(_two_modules(c), c.floats() / 100)


@case
def one_name_registered_by_two_modules(c: Case) -> None:
    """The library keeps the one that was registered last."""
    c.save(_two_modules(c, before="@k.saving.register_keras_serializable()"), c.floats() / 100)


@case
def one_class_in_two_modules_and_chosen(c: Case) -> None:
    """Only one of the two is in the model; the file that names no module needs the choice."""
    x = c.x()
    for number, activation in enumerate(("tanh", "nn.relu")):
        module = c.module(f"{c.name}_{number}", LAYERS.format(library=c.k.__name__, class_name="Block", activation=activation))
    c.custom_objects = {"Block": f"{c.name}_1:Block"}
    c.save(c.k.Model(x, module.Block(3)(x)), c.floats() / 100)


@case
def a_package(c: Case) -> None:
    (c.code / "ownpackage/deep").mkdir(parents=True)
    for place in ("ownpackage", "ownpackage/deep"):
        (c.code / place / "__init__.py").write_text("")
    text = LAYERS.format(library=c.k.__name__, class_name="Deep", activation="tanh")
    module = c.module("ownpackage.deep.parts", text, listed="ownpackage")
    c.save(_with_layer(c, module.Deep(3)), c.floats() / 100)


@case
def registered_by_a_package(c: Case) -> None:
    (c.code / "registering").mkdir()
    (c.code / "registering/__init__.py").write_text("from registering import parts\n")
    text = LAYERS.format(library=c.k.__name__, class_name="Known", activation="tanh").replace(
        "\nclass Known", '\n@k.saving.register_keras_serializable("mine")\nclass Known'
    )
    module = c.module("registering.parts", text, listed="registering")
    c.save(_with_layer(c, module.Known(3)), c.floats() / 100)


def _with_layer(c: Case, layer: Any) -> Any:
    x = c.x()
    return c.k.Model(x, c.k.layers.Dense(2)(layer(x)))


@case
def nested_normalization(c: Case) -> None:
    rows = c.floats()
    layer = c.k.layers.Normalization()
    layer.adapt(rows)
    base = c.k.Sequential([c.k.Input((4,)), layer, c.k.layers.Dense(3)], name="base")
    c.save(_with_layer(c, base), rows, shake=False)


@case
def nested_discretization(c: Case) -> None:
    rows = c.floats()
    layer = c.k.layers.Discretization(num_bins=4, output_mode="int")
    layer.adapt(rows[:, :1])
    base = c.k.Sequential([c.k.Input((4,)), layer, c.k.layers.Rescaling(0.3), c.k.layers.Dense(3)], name="base")
    c.save(_with_layer(c, base), rows, shake=False)


WORDS = np.array([["red"], ["green"], ["blue"], ["green"]], dtype=object)


def _embedded(c: Case, layer: Any, kind: str = "string") -> Any:
    a = c.k.Input((1,), dtype=kind, name="x")
    h = c.k.layers.Flatten()(c.k.layers.Embedding(8, 3)(layer(a)))
    return c.k.Model(a, c.k.layers.Dense(2)(h))


@case
def adapted_string_lookup(c: Case) -> None:
    layer = c.k.layers.StringLookup()
    layer.adapt(WORDS.ravel().astype(str))
    c.save(_embedded(c, layer), WORDS, shake=False)


@case
def adapted_integer_lookup(c: Case) -> None:
    rows = np.array([[11], [22], [33], [22]])
    layer = c.k.layers.IntegerLookup()
    layer.adapt(rows.ravel())
    c.save(_embedded(c, layer, "int64"), rows, shake=False)


@case
def adapted_text_vectorization(c: Case) -> None:
    layer = c.k.layers.TextVectorization(output_sequence_length=2)
    layer.adapt(WORDS.ravel().astype(str))
    c.save(_embedded(c, layer), WORDS, shake=False)


@case
def given_vocabulary(c: Case) -> None:
    c.save(_embedded(c, c.k.layers.StringLookup(vocabulary=["red", "green", "blue"])), WORDS, shake=False)


@case
def hashing(c: Case) -> None:
    c.save(_embedded(c, c.k.layers.Hashing(num_bins=5)), WORDS, shake=False)


def _state(c: Case, name: str, after: Callable[[Any], None] = lambda _: None) -> None:
    module = c.module(f"{c.name}_states", STATES.format(library=c.k.__name__))
    layer = getattr(module, name)()
    model = _with_layer(c, layer)
    for weight in model.weights:
        weight.assign(c.random.normal(size=tuple(weight.shape)))
    after(layer)
    c.save(model, c.floats() / 100, shake=False)


def _derive(layer: Any) -> None:
    layer.derived = np.asarray(layer.gain) * 2.0


@case
def derives_when_it_loads(c: Case) -> None:
    _state(c, "DerivesWhenItLoads", _derive)


@case
def saves_more_than_variables(c: Case) -> None:
    _state(c, "SavesMoreThanVariables", _derive)


@case
def forgets_a_variable(c: Case) -> None:
    _state(c, "ForgetsAVariable")


@case
def saves_assets(c: Case) -> None:
    _state(c, "SavesAssets", _derive)


@case
def finalises(c: Case) -> None:
    _state(c, "Finalises", _derive)


@case
def a_variable_of_tensorflows(c: Case) -> None:
    _state(c, "AVariableOfTensorflows", lambda layer: layer.bare.assign([1.0, 2.0, 3.0, 4.0]))


@case
def frozen_inside_a_layer(c: Case) -> None:
    """The first layer inside is frozen after it was made, which no config says: HDF5 lists it last."""

    def freeze(layer: Any) -> None:
        layer.first.trainable = False

    _state(c, "Inner", freeze)


def names() -> list[tuple[str, str]]:
    """Library and name of every case."""
    every = [(library, name, ending) for library in ("keras", "tf_keras") for name in EXPECT for ending in ("keras", "h5")]
    return [(library, f"{name}-{ending}") for library, name, ending in every if (library, name, ending) not in UNSAVED]


def main(library: str, out: Path) -> None:
    """Writes all cases of one library."""
    k = importlib.import_module(library)
    for name, write in WRITERS.items():
        write(Case(name, k, out / library))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
