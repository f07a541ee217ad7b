"""Checkpoints for the loading tests, each written by the real library, with what that library answers on sample rows.

`python fixtures_checkpoints.py keras OUT` and the same with tf_keras: one process for each library, because one
process can only have one Keras behind `import keras`. Every fixture is a folder with `case.json`, `rows.npz`, `expected.npz`.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WRITERS: dict[str, dict[str, Callable[[Case], None]]] = {"keras": {}, "tf_keras": {}}
MODULE = str(Path(__file__).with_name("loading_models.py"))


class Case:
    """One fixture in the making. `k` is the library that writes it."""

    def __init__(self, name: str, folder: Path, library: Any) -> None:
        self.name, self.folder, self.k = name, folder, library
        self.random = np.random.default_rng(sum(name.encode()))
        folder.mkdir(parents=True)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def floats(self, *shape: int) -> np.ndarray:
        return self.random.normal(size=shape).astype(np.float32)

    def shake(self, model: Any) -> Any:
        """Every weight random and none at its initial value, BatchNorm statistics included."""
        for weight in model.weights:
            if "float" in str(getattr(weight, "dtype", "")):
                value = self.random.normal(scale=0.5, size=weight.shape)
                weight.assign(np.abs(value) + 0.5 if "variance" in weight.name else value)
        return model

    def finish(
        self, checkpoint: str, rows: dict[str, np.ndarray], answers: Any, names: Any = None, *, kind: str, **spec: Any
    ) -> None:
        """Writes the case. `answers`: arrays by name, or one array, or a list with `names`."""
        if not isinstance(answers, dict):
            answers = dict(zip(names, answers if isinstance(answers, list | tuple) else [answers], strict=True))
        arrays: Any = {name: np.asarray(value) for name, value in answers.items()}
        plain: Any = {name: value.astype("S") if value.dtype == object else value for name, value in rows.items()}
        np.savez(self.folder / "rows.npz", **plain)
        np.savez(self.folder / "expected.npz", **arrays)
        case = {"checkpoint": checkpoint, "kind": kind, "writer": self.k.__name__, **spec}
        (self.folder / "case.json").write_text(json.dumps(case, indent=2))


def fixture(*libraries: str) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    def register(function: Callable[[Case], None]) -> Callable[[Case], None]:
        for library in libraries:
            prefix = {"keras": "keras3", "tf_keras": "keras2"}[library] if len(libraries) > 1 else None
            name = f"{prefix}_{function.__name__}" if prefix else function.__name__
            WRITERS[library][name] = function
        return function

    return register


both = fixture("keras", "tf_keras")


def mlp(case: Case, units: int = 8) -> Any:
    loading_models = importlib.import_module("loading_models")

    return case.shake(loading_models._mlp(case.k, units))


def numpy(value: Any) -> np.ndarray:
    return np.asarray(value)


# --- archives and H5 of both libraries


@both
def functional(case: Case) -> None:
    """Two named inputs, two named outputs, shared layer, dropout."""
    k, layers = case.k, case.k.layers
    a, b = k.Input((6,), name="left"), k.Input((6,), name="right")
    shared = layers.Dense(5, activation="gelu", name="shared")
    both_sides = layers.Concatenate()([shared(a), layers.Dropout(0.5)(shared(b))])
    heads = [layers.Dense(3, name="scores"), layers.Dense(1, activation="sigmoid", name="is_even")]
    model = case.shake(k.Model([b, a], [head(both_sides) for head in heads]))
    model.save(case.path("model.keras"))
    rows = {"left": case.floats(7, 6), "right": case.floats(7, 6)}
    answers = list(model([rows["right"], rows["left"]], training=False))
    case.finish("model.keras", rows, answers, ["scores", "is_even"], kind="keras")


@both
def dict_functional(case: Case) -> None:
    """A Functional model over a dict of inputs with a dict of outputs."""
    k, layers = case.k, case.k.layers
    inputs = {"zebra": k.Input((3,), name="zebra"), "ant": k.Input((3,), name="ant")}
    x = layers.Subtract()([inputs["zebra"], inputs["ant"]])
    model = case.shake(k.Model(inputs, {"wide": layers.Dense(4, name="w")(x), "narrow": layers.Dense(1, name="n")(x)}))
    model.save(case.path("model.keras"))
    rows = {"zebra": case.floats(5, 3), "ant": case.floats(5, 3)}
    answers = {name: numpy(value) for name, value in model(rows, training=False).items()}
    case.finish("model.keras", rows, answers, kind="keras")


def _augmenting(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            k.Input((8, 8, 3), name="image"),
            layers.Rescaling(1 / 255.0),
            layers.RandomRotation(0.2),
            layers.RandomFlip(),
            layers.GaussianNoise(0.3),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.4),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="label"),
        ]
    )


@both
def augmenting(case: Case) -> None:
    """Rescaling, augmentation, noise, BatchNorm and dropout in a Sequential."""
    model = case.shake(_augmenting(case.k))
    model.save(case.path("model.keras"))
    rows = {"image": case.random.uniform(0, 255, (6, 8, 8, 3)).astype(np.float32)}
    case.finish("model.keras", rows, numpy(model(rows["image"], training=False)), ["label"], kind="keras")


@both
def h5_model(case: Case) -> None:
    model = case.shake(_augmenting(case.k))
    model.save(case.path("model.h5"))
    rows = {"image": case.random.uniform(0, 255, (6, 8, 8, 3)).astype(np.float32)}
    case.finish("model.h5", rows, numpy(model(rows["image"], training=False)), ["label"], kind="h5_model")


@both
def hard_sigmoid(case: Case) -> None:
    """The function that the two libraries disagree about."""
    k = case.k
    model = case.shake(k.Sequential([k.Input((4,), name="x"), k.layers.Dense(6, activation="hard_sigmoid", name="y")]))
    model.save(case.path("model.h5"))
    rows = {"x": case.floats(9, 4) * 3}
    case.finish("model.h5", rows, numpy(model(rows["x"], training=False)), ["y"], kind="h5_model")


@both
def weights_h5(case: Case) -> None:
    """The newer layout of weights, into a builder of the library that wrote them."""
    model = mlp(case)
    model.save_weights(case.path("my.weights.h5"))
    builder = "build_mlp" if case.k.__name__ == "keras" else "build_tf_keras_mlp"
    _finish_mlp(case, model, "my.weights.h5", builder=f"loading_models:{builder}", builder_args={"units": 8})


def _finish_mlp(case: Case, model: Any, checkpoint: str, kind: str = "h5_weights", **spec: Any) -> None:
    rows = {"features": case.floats(11, 5)}
    case.finish(checkpoint, rows, numpy(model(rows["features"], training=False)), ["scores"], kind=kind, modules=[MODULE], **spec)


@fixture("keras")
def builder_takes_checkpoint(case: Case) -> None:
    model = mlp(case, 12)
    model.save_weights(case.path("units_12.weights.h5"))
    _finish_mlp(case, model, "units_12.weights.h5", builder="loading_models:build_by_file_name")


@fixture("keras")
def builder_reads_the_folders_name(case: Case) -> None:
    model = mlp(case, 12)
    os.makedirs(case.path("units_12/last"))
    model.save_weights(case.path("units_12/last/model.weights.h5"))
    _finish_mlp(case, model, "units_12/last/model.weights.h5", builder="loading_models:build_by_folder_name")


@fixture("keras")
def weights_into_a_subclassed_builder(case: Case) -> None:
    """The builder returns a model that was never called: it has no variables before the samples give it shapes."""
    loading_models = importlib.import_module("loading_models")

    model = loading_models.TwoLayers(8)
    model(case.floats(1, 5))
    case.shake(model).save_weights(case.path("sub.weights.h5"))
    rows = {"inputs": case.floats(11, 5)}
    answers = numpy(model(rows["inputs"], training=False))
    spec = {"modules": [MODULE], "builder": "loading_models:build_subclassed"}
    case.finish("sub.weights.h5", rows, answers, ["output_0"], kind="h5_weights", **spec)


@fixture("tf_keras")
def legacy_weights_into_tf_keras(case: Case) -> None:
    model = mlp(case)
    model.save_weights(case.path("weights.h5"))
    _finish_mlp(case, model, "weights.h5", builder="loading_models:build_tf_keras_mlp")


@fixture("tf_keras")
def legacy_weights_into_keras_3(case: Case) -> None:
    model = mlp(case)
    model.save_weights(case.path("model_weights.hdf5"))
    _finish_mlp(case, model, "model_weights.hdf5", builder="loading_models:build_mlp")


@fixture("tf_keras")
def full_h5_with_a_builder(case: Case) -> None:
    """A whole model whose architecture the user gives anyway: the builder wins."""
    model = mlp(case)
    model.save(case.path("whole.h5"))
    _finish_mlp(case, model, "whole.h5", kind="h5_model", builder="loading_models:build_tf_keras_mlp")


# --- subclassed models


@both
def subclassed(case: Case) -> None:
    loading_models = importlib.import_module("loading_models")

    model = loading_models.TwoLayers(8)
    model(case.floats(1, 5))
    case.shake(model).save(case.path("model.keras"))
    rows = {"inputs": case.floats(6, 5)}
    answers = numpy(model(rows["inputs"], training=False))
    case.finish("model.keras", rows, answers, ["output_0"], kind="keras", modules=[MODULE])


@both
def call_without_training(case: Case) -> None:
    loading_models = importlib.import_module("loading_models")

    model = loading_models.WithoutTraining(8)
    model(case.floats(1, 5))
    case.shake(model).save(case.path("model.keras"))
    rows = {"inputs": case.floats(6, 5)}
    x = model.norm(model.first(rows["inputs"]), training=False)
    case.finish("model.keras", rows, numpy(model.second(x)), ["output_0"], kind="keras", modules=[MODULE])


@both
def dict_subclassed(case: Case) -> None:
    loading_models = importlib.import_module("loading_models")

    model = loading_models.DictModel()
    rows = {"left": case.floats(4, 3), "right": case.floats(4, 2)}
    model(rows)
    case.shake(model).save(case.path("model.keras"))
    answers = model(rows)
    flat = {"sum": answers["sum"], "parts/left": answers["parts"]["left"], "parts/right": answers["parts"]["right"]}
    case.finish("model.keras", rows, {name: numpy(value) for name, value in flat.items()}, kind="keras", modules=[MODULE])


@fixture("keras")
def never_called(case: Case) -> None:
    """Its variables were made when it was, and it was saved without ever being called: only the samples say what it takes."""
    loading_models = importlib.import_module("loading_models")

    model = loading_models.BuiltInInit(4)
    case.shake(model).save(case.path("model.keras"))
    rows = {"features": case.floats(6, 5)}
    case.finish("model.keras", rows, numpy(model(rows["features"])["scores"]), ["scores"], kind="keras", modules=[MODULE])


# --- state, precision, preprocessing


@both
def stateful_rnn(case: Case) -> None:
    """State that is kept between calls must not leak from one batch of rows into the next."""
    k = case.k
    inputs = k.Input(batch_shape=(4, 6, 3), name="steps")
    model = case.shake(k.Model(inputs, k.layers.Dense(2, name="y")(k.layers.LSTM(5, stateful=True)(inputs))))
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_states() if hasattr(layer, "reset_states") else layer.reset_state()
    model.save(case.path("model.keras"))
    rows = {"steps": case.floats(4, 6, 3)}
    case.finish("model.keras", rows, numpy(model(rows["steps"], training=False)), ["y"], kind="keras")


@both
def mixed_float16(case: Case) -> None:
    k = case.k
    k.mixed_precision.set_global_policy("mixed_float16")
    try:
        inputs = k.Input((6,), name="x")
        hidden = k.layers.Dense(8, activation="relu")(inputs)
        model = case.shake(k.Model(inputs, k.layers.Dense(3, dtype="float32", name="y")(hidden)))
    finally:
        k.mixed_precision.set_global_policy("float32")
    model.save(case.path("model.keras"))
    rows = {"x": case.floats(6, 6)}
    case.finish("model.keras", rows, numpy(model(rows["x"], training=False)), ["y"], kind="keras")


@both
def normalization(case: Case) -> None:
    k = case.k
    layer = k.layers.Normalization()
    layer.adapt(case.floats(50, 4) * 7 + 20)
    model = k.Sequential([k.Input((4,), name="x"), layer, k.layers.Dense(2, name="y")])
    model.save(case.path("model.keras"))
    rows = {"x": case.floats(6, 4) * 7 + 20}
    case.finish("model.keras", rows, numpy(model(rows["x"], training=False)), ["y"], kind="keras")


WORDS = np.array(["the cat sat", "on the mat", "a dog ran", "unknown words here", "cat dog mat"], dtype=object)


@both
def text_vectorization(case: Case) -> None:
    k = case.k
    layer = k.layers.TextVectorization(max_tokens=20, output_sequence_length=5)
    layer.adapt(WORDS[:3].tolist())
    inputs = k.Input((1,), dtype="string", name="text")
    x = k.layers.Embedding(20, 4)(layer(inputs))
    model = case.shake(k.Model(inputs, k.layers.Dense(2, name="y")(k.layers.GlobalAveragePooling1D()(x))))
    model.save(case.path("model.keras"))
    import tensorflow as tf

    rows = {"text": WORDS.reshape(-1, 1)}
    case.finish("model.keras", rows, numpy(model(tf.constant(WORDS.reshape(-1, 1)), training=False)), ["y"], kind="keras")


@both
def string_lookup(case: Case) -> None:
    k = case.k
    layer = k.layers.StringLookup(vocabulary=["red", "green", "blue"], output_mode="one_hot")
    inputs = k.Input((1,), dtype="string", name="colour")
    model = case.shake(k.Model(inputs, k.layers.Dense(2, name="y")(layer(inputs))))
    model.save(case.path("model.keras"))
    import tensorflow as tf

    colours = np.array([["red"], ["blue"], ["pink"], ["green"]], dtype=object)
    case.finish("model.keras", {"colour": colours}, numpy(model(tf.constant(colours), training=False)), ["y"], kind="keras")


@both
def lambda_trusted(case: Case) -> None:
    k = case.k
    inputs = k.Input((3,), name="x")
    doubled = k.layers.Lambda(lambda x: x * 2.0 + 1.0, output_shape=(3,), name="twice")(inputs)
    model = case.shake(k.Model(inputs, k.layers.Dense(2, name="y")(doubled)))
    model.save(case.path("model.keras"))
    rows = {"x": case.floats(5, 3)}
    case.finish("model.keras", rows, numpy(model(rows["x"], training=False)), ["y"], kind="keras", trust=["lambda"])


@fixture("tf_keras")
def lambda_trusted_h5(case: Case) -> None:
    k = case.k
    inputs = k.Input((3,), name="x")
    doubled = k.layers.Lambda(lambda x: x * 2.0 + 1.0, output_shape=(3,), name="twice")(inputs)
    model = case.shake(k.Model(inputs, k.layers.Dense(2, name="y")(doubled)))
    model.save(case.path("model.h5"))
    rows = {"x": case.floats(5, 3)}
    case.finish("model.h5", rows, numpy(model(rows["x"], training=False)), ["y"], kind="h5_model", trust=["lambda"])


@both
def always_on_augmentation_stripped(case: Case) -> None:
    loading_models = importlib.import_module("loading_models")

    k = case.k
    image = k.Input((6,), name="x")
    noisy = loading_models.AlwaysNoisy(name="noisy")(image)
    clean_half, noisy_half = k.layers.Dense(3, name="y"), k.layers.Dense(4, activation="relu")
    model = case.shake(k.Model(image, clean_half(noisy_half(noisy))))
    model.save(case.path("model.keras"))
    rows = {"x": case.floats(5, 6)}
    answers = numpy(clean_half(noisy_half(rows["x"])))
    case.finish("model.keras", rows, answers, ["y"], kind="keras", modules=[MODULE], strip=["AlwaysNoisy"])


@both
def strip_sequential_h5(case: Case) -> None:
    """Stripped without the class being given at all."""
    loading_models = importlib.import_module("loading_models")

    k = case.k
    noisy = loading_models.AlwaysNoisy()
    tail = [k.layers.Dense(4, activation="relu"), k.layers.BatchNormalization(), k.layers.Dense(3, name="y")]
    model = case.shake(k.Sequential([k.Input((6,), name="x"), noisy, *tail]))
    model.save(case.path("model.h5"))
    rows = {"x": case.floats(5, 6)}
    x = tail[2](tail[1](tail[0](rows["x"]), training=False))
    case.finish("model.h5", rows, numpy(x), ["y"], kind="h5_model", strip=["AlwaysNoisy"])


@both
def custom_loss_not_given(case: Case) -> None:
    """Inference needs no loss: a compiled model with the user's own loss loads without it."""
    loading_models = importlib.import_module("loading_models")

    k = case.k
    model = mlp(case)

    @k.utils.register_keras_serializable(package="their_training_code")
    def focal(y_true, y_pred):
        return y_pred - y_true

    model.compile(optimizer="adam", loss=focal)
    model.fit(case.floats(8, 5), case.floats(8, 3), verbose=0)
    model.save(case.path("model.keras"))
    del loading_models
    rows = {"features": case.floats(11, 5)}
    case.finish("model.keras", rows, numpy(model(rows["features"], training=False)), ["scores"], kind="keras")


# --- older dialects: hand-edited configs over files really written


def edit_h5_config(path: str, edit: Callable[[Any], Any], **attributes: str) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        config = edit(json.loads(file.attrs["model_config"]))
        file.attrs["model_config"] = json.dumps(config).encode()
        for name, value in attributes.items():
            file.attrs[name] = value.encode()


def _each_layer(config: Any, change: Callable[[str, dict[str, Any]], None]) -> Any:
    pending = [config]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if isinstance(node.get("config"), dict) and "class_name" in node:
                change(node["class_name"], node["config"])
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return config


@fixture("tf_keras")
def keras_2_0_sequential(case: Case) -> None:
    """Keras 2.0 to 2.1: the Sequential config is a list, GRU without reset_after or time_major, `implementation` 0."""
    k = case.k
    layers = [
        k.layers.Conv1D(4, 3, activation="relu", input_shape=(9, 3), name="conv"),
        k.layers.GRU(5, reset_after=False, recurrent_activation="hard_sigmoid", name="gru"),
        k.layers.Dense(2, activation="softmax", name="y"),
    ]
    model = case.shake(k.Sequential(layers))
    model.save(case.path("old.h5"))

    def edit(config: Any) -> Any:
        def change(class_name: str, inner: dict[str, Any]) -> None:
            for key in ("reset_after", "time_major", "groups", "dtype"):
                inner.pop(key, None)
            if class_name == "GRU":
                inner["implementation"] = 0
            if class_name == "Conv1D":
                inner.update(batch_input_shape=[None, 9, 3], dtype="float32")

        without_input = [layer for layer in config["config"]["layers"] if layer["class_name"] != "InputLayer"]
        return {"class_name": "Sequential", "config": _each_layer(without_input, change)}

    edit_h5_config(case.path("old.h5"), edit, keras_version="2.0.5", backend="tensorflow")
    rows = {"conv_input": case.floats(5, 9, 3)}
    case.finish("old.h5", rows, numpy(model(rows["conv_input"], training=False)), ["y"], kind="h5_model")


@fixture("tf_keras")
def keras_2_3_time_major(case: Case) -> None:
    """`time_major` and `unroll` in the config; an LSTM that returns sequences inside Bidirectional."""
    k = case.k
    inputs = k.Input((6, 3), name="steps")
    x = k.layers.Bidirectional(k.layers.LSTM(4, return_sequences=True))(inputs)
    model = case.shake(k.Model(inputs, k.layers.TimeDistributed(k.layers.Dense(2), name="y")(x)))
    model.save(case.path("old.h5"))

    def change(class_name: str, inner: dict[str, Any]) -> None:
        if class_name == "LSTM":
            inner.update(time_major=False, unroll=False, implementation=1)

    edit_h5_config(case.path("old.h5"), lambda config: _each_layer(config, change), keras_version="2.3.1")
    rows = {"steps": case.floats(5, 6, 3)}
    case.finish("old.h5", rows, numpy(model(rows["steps"], training=False)), ["y"], kind="h5_model")


@fixture("tf_keras")
def lambda_named_activation(case: Case) -> None:
    """An activation stored as "<lambda>", given by the user."""
    loading_models = importlib.import_module("loading_models")

    k = case.k
    first = k.layers.Dense(4, activation=loading_models.leaky, input_shape=(3,), name="d")
    model = case.shake(k.Sequential([first, k.layers.Dense(2, name="y")]))
    model.save(case.path("model.h5"))

    def change(class_name: str, inner: dict[str, Any]) -> None:
        if "leaky" in str(inner.get("activation")):
            inner["activation"] = "<lambda>"

    edit_h5_config(case.path("model.h5"), lambda config: _each_layer(config, change), keras_version="2.2.4")
    rows = {"d_input": case.floats(5, 3)}
    spec = {"modules": [MODULE], "custom_objects": {"<lambda>": "loading_models:leaky"}}
    case.finish("model.h5", rows, numpy(model(rows["d_input"], training=False)), ["y"], kind="h5_model", **spec)


def _cudnn_pair(case: Case, kind: str, *, plain_first: bool = False) -> tuple[Any, Any]:
    """The same weights in the portable layer, which computes the answer, and in the CuDNN layer, which only a GPU can run."""
    import tf_keras
    from tf_keras.api._v1 import keras as v1

    portable = {"LSTM": tf_keras.layers.LSTM, "GRU": lambda units, **kw: tf_keras.layers.GRU(units, reset_after=True, **kw)}[kind]
    fused = {"LSTM": v1.layers.CuDNNLSTM, "GRU": v1.layers.CuDNNGRU}[kind]
    models = []
    for layer in (portable, fused):
        inputs = tf_keras.Input((6, 3), name="steps")
        x = tf_keras.layers.Bidirectional(layer(4, return_sequences=True, name="inner"), name="both_ways")(inputs)
        if plain_first:  # a portable layer among them, whose place in an archive depends on how many are before it
            x = layer(4, return_sequences=True, name="middle")(x)
            x = tf_keras.layers.LSTM(3, return_sequences=True, name="plain")(x)
        x = layer(4, name="last")(x)
        models.append(tf_keras.Model(inputs, tf_keras.layers.Dense(2, name="y")(x)))
    case.shake(models[0]).save_weights(case.path("portable.h5"))
    models[1].load_weights(case.path("portable.h5"))
    os.remove(case.path("portable.h5"))
    return models[0], models[1]


def _cudnn(case: Case, kind: str) -> None:
    portable, fused = _cudnn_pair(case, kind)
    fused.save(case.path("cudnn.h5"))
    rows = {"steps": case.floats(5, 6, 3)}
    case.finish("cudnn.h5", rows, numpy(portable(rows["steps"], training=False)), ["y"], kind="h5_model")


@fixture("tf_keras")
def cudnn_lstm(case: Case) -> None:
    _cudnn(case, "LSTM")


@fixture("tf_keras")
def cudnn_gru(case: Case) -> None:
    _cudnn(case, "GRU")


@fixture("tf_keras")
def cudnn_weights_into_portable_builder(case: Case) -> None:
    loading_models = importlib.import_module("loading_models")
    import tf_keras
    from tf_keras.api._v1 import keras as v1

    portable = case.shake(loading_models.build_tf_keras_rnn())
    fused = tf_keras.Sequential([v1.layers.CuDNNLSTM(4, input_shape=(6, 3), name="lstm"), tf_keras.layers.Dense(2, name="out")])
    portable.save_weights(case.path("portable.h5"))
    fused.load_weights(case.path("portable.h5"))
    os.remove(case.path("portable.h5"))
    fused.save_weights(case.path("cudnn_weights.h5"))
    rows = {"lstm_input": case.floats(5, 6, 3)}
    answers = numpy(portable(rows["lstm_input"], training=False))
    spec = {"modules": [MODULE], "builder": "loading_models:build_tf_keras_rnn"}
    case.finish("cudnn_weights.h5", rows, answers, ["out"], kind="h5_weights", **spec)


def _rewritten_by_a_tool(case: Case, activation: str) -> None:
    """A tool that copies HDF5 files dropped the writer's version: taken for Keras 2's, which cannot load it."""
    import h5py

    k = case.k
    inputs = k.Input((6, 3), name="steps")
    x = k.layers.Bidirectional(k.layers.GRU(4, return_sequences=True))(inputs)
    x = k.layers.BatchNormalization()(k.layers.Conv1D(3, 2, activation=activation)(x))
    model = case.shake(k.Model(inputs, k.layers.Dense(2, activation="softmax", name="y")(k.layers.Flatten()(x))))
    model.save(case.path("model.h5"))
    with h5py.File(case.path("model.h5"), "r+") as file:
        del file.attrs["keras_version"]
        del file["model_weights"].attrs["keras_version"]
    rows = {"steps": case.floats(5, 6, 3)}
    case.finish("model.h5", rows, numpy(model(rows["steps"], training=False)), ["y"], kind="h5_model")


@fixture("keras")
def h5_without_a_version(case: Case) -> None:
    _rewritten_by_a_tool(case, "relu")


@fixture("tf_keras")
def cudnn_weights_into_keras_3_builder(case: Case) -> None:
    import tf_keras
    from tf_keras.api._v1 import keras as v1

    loading_models = importlib.import_module("loading_models")
    portable = case.shake(loading_models.build_tf_keras_rnns())
    steps = tf_keras.Input((6, 3), name="steps")
    both = tf_keras.layers.Bidirectional(v1.layers.CuDNNLSTM(4, return_sequences=True, name="lstm"), name="both")
    x = tf_keras.layers.Dense(2, name="out")(v1.layers.CuDNNGRU(3, name="gru")(both(steps)))
    fused = tf_keras.Model(steps, x)
    portable.save_weights(case.path("portable.h5"))
    fused.load_weights(case.path("portable.h5"))
    os.remove(case.path("portable.h5"))
    fused.save_weights(case.path("cudnn_weights.h5"))
    rows = {"steps": case.floats(5, 6, 3)}
    answers = numpy(portable(rows["steps"], training=False))
    spec = {"modules": [MODULE], "builder": "loading_models:build_keras_3_rnns"}
    case.finish("cudnn_weights.h5", rows, answers, ["out"], kind="h5_weights", **spec)


@fixture("tf_keras")
def cudnn_in_keras_archive(case: Case) -> None:
    """CuDNN layers in a `.keras` archive of Keras 2.13 to 2.15."""
    portable, fused = _cudnn_pair(case, "LSTM", plain_first=True)
    fused.save(case.path("cudnn.keras"))
    rows = {"steps": case.floats(5, 6, 3)}
    case.finish("cudnn.keras", rows, numpy(portable(rows["steps"], training=False)), ["y"], kind="keras")


@fixture("tf_keras")
def cudnn_gru_in_keras_archive(case: Case) -> None:
    portable, fused = _cudnn_pair(case, "GRU")
    fused.save(case.path("cudnn.keras"))
    rows = {"steps": case.floats(5, 6, 3)}
    case.finish("cudnn.keras", rows, numpy(portable(rows["steps"], training=False)), ["y"], kind="keras")


# --- archives


@fixture("keras")
def inside_a_zip(case: Case) -> None:
    model = mlp(case)
    model.save(case.path("inner.keras"))
    with zipfile.ZipFile(case.path("model.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(case.path("inner.keras"), "release/inner.keras")
        archive.writestr("release/README.md", "read me")
    os.remove(case.path("inner.keras"))
    _finish_mlp(case, model, "model.zip", kind="keras")


@fixture("tf_keras")
def saved_model_inside_a_tar(case: Case) -> None:
    model = mlp(case)
    model.save(case.path("export"), save_format="tf")
    with tarfile.open(case.path("export.tar.gz"), "w:gz") as archive:
        archive.add(case.path("export"), "1")
    shutil.rmtree(case.path("export"))
    _finish_mlp(case, model, "export.tar.gz", kind="saved_model_keras")


# --- SavedModel directories


@fixture("tf_keras")
def saved_model_with_optimizer(case: Case) -> None:
    model = mlp(case)
    model.compile("adam", "mse")
    model.fit(case.floats(8, 5), case.floats(8, 3), verbose=0)
    model.save(case.path("sm"), save_format="tf")
    rows = {"features": case.floats(11, 5)}
    case.finish("sm", rows, numpy(model(rows["features"], training=False)), ["scores"], kind="saved_model_keras")


@fixture("tf_keras")
def saved_model_without_metadata(case: Case) -> None:
    model = mlp(case)
    model.save(case.path("sm"), save_format="tf")
    os.remove(case.path("sm/keras_metadata.pb"))
    rows = {"features": case.floats(11, 5)}
    case.finish("sm", rows, numpy(model(rows["features"], training=False)), ["scores"], kind="saved_model")


@fixture("keras")
def keras_3_export(case: Case) -> None:
    model = mlp(case)
    model.export(case.path("sm"), verbose=False)
    kept = {"signatures_kept": ["serve", "serving_default"]}
    rows = {"features": case.floats(11, 5)}
    case.finish("sm", rows, numpy(model(rows["features"], training=False)), ["output_0"], kind="saved_model", **kept)


@fixture("keras")
def several_signatures(case: Case) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.v = tf.Variable([2.0, 3.0])

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def scale(x):
        return {"scaled": x * module.v}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="ids")])
    def count(ids):
        return {"next": ids + 1}

    tf.saved_model.save(module, case.path("sm"), signatures={"serving_default": scale, "count": count})
    rows = {"x": case.floats(4, 2)}
    answers = {"scaled": numpy(scale(rows["x"])["scaled"])}
    case.finish("sm", rows, answers, kind="saved_model", signatures_kept=["count", "serving_default"])


def _lines_of(file: Any) -> Any:
    import tensorflow as tf

    index = tf.lookup.TextFileIndex
    return tf.lookup.TextFileInitializer(file, tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER)


@fixture("keras")
def int_and_string_inputs_with_table(case: Case) -> None:
    """A vocabulary file as an asset, a string input and an int32 input, and no Keras."""
    import tensorflow as tf

    vocabulary = case.path("vocabulary.txt")
    Path(vocabulary).write_text("red\ngreen\nblue\n")
    module = tf.Module()
    module.table = tf.lookup.StaticVocabularyTable(_lines_of(vocabulary), 2)
    module.embedding = tf.Variable(case.floats(5, 3))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="colour"), tf.TensorSpec([None], tf.int32, name="count")])
    def serve(colour, count):
        return {"vector": tf.gather(module.embedding, module.table.lookup(colour)) * tf.cast(count, tf.float32)[:, None]}

    tf.saved_model.save(module, case.path("sm"), signatures=serve)
    colours = np.array(["blue", "red", "pink", "green"], dtype=object)
    counts = np.array([1, 2, 3, 4], np.int32)
    answers = {"vector": numpy(serve(tf.constant(colours), tf.constant(counts))["vector"])}
    os.remove(vocabulary)
    case.finish("sm", {"colour": colours, "count": counts}, answers, kind="saved_model")


@fixture("keras")
def sharded_variables(case: Case) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.many = [tf.Variable(case.floats(16, 16), name=f"v{i}") for i in range(8)]

    @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32, name="x")])
    def serve(x):
        for v in module.many:
            x = tf.tanh(tf.matmul(x, v) * 0.3)
        return {"y": x}

    policy = tf.train.experimental.MaxShardSizePolicy(max_shard_size=2048)
    options = tf.saved_model.SaveOptions(experimental_sharding_callback=policy)
    tf.saved_model.save(module, case.path("sm"), signatures=serve, options=options)
    assert len(list(Path(case.path("sm/variables")).glob("variables.data-*"))) > 2
    rows = {"x": case.floats(4, 16)}
    case.finish("sm", rows, {"y": numpy(serve(rows["x"])["y"])}, kind="saved_model")


@fixture("keras")
def saved_model_without_signatures(case: Case) -> None:
    loading_models = importlib.import_module("loading_models")
    import tensorflow as tf

    module = loading_models.Affine()
    module.w.assign(case.floats(5, 3))
    tf.saved_model.save(module, case.path("sm"), signatures={})
    rows = {"features": case.floats(4, 5)}
    case.finish("sm", rows, {"scores": numpy(module(rows["features"])["scores"])}, kind="saved_model")


def _tf1(case: Case, build: Callable[[Any], tuple[Any, Any]], rows: np.ndarray, save: Callable[..., None]) -> np.ndarray:
    import tensorflow as tf

    tf1 = tf.compat.v1
    with tf.Graph().as_default(), tf1.Session() as session:
        features, scores = build(tf1)
        session.run([tf1.global_variables_initializer(), tf1.tables_initializer()])
        answers: np.ndarray = session.run(scores, {features: rows})
        save(tf1, session, features, scores)
    return answers


def _tf1_tower(tf1: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    features = tf1.placeholder(tf.float32, [None, 5], "features")
    with tf1.variable_scope("tower"):
        w, b = tf1.get_variable("w", [5, 3]), tf1.get_variable("b", [3])
    return features, tf.nn.softmax(tf.matmul(features, w) + b)


@fixture("tf_keras")
def tf1_saver(case: Case) -> None:
    """TensorFlow 1's Saver; the job names the .index file, the builder is a function that asks for variables by name."""
    rows = {"features": case.floats(4, 5)}

    def save(tf1: Any, session: Any, *_: Any) -> None:
        tf1.train.Saver().save(session, case.path("model.ckpt"), global_step=100)

    answers = _tf1(case, _tf1_tower, rows["features"], save)
    spec = {"modules": [MODULE], "builder": "loading_models:build_tf1_graph"}
    case.finish("model.ckpt-100.index", rows, {"scores": answers}, kind="tf_checkpoint", **spec)


@fixture("tf_keras")
def tf1_saver_without_a_name(case: Case) -> None:
    """A prefix that ends in a slash: the files are called `.index` and `.data-...`, as in a published package."""
    rows = {"features": case.floats(4, 5)}

    def save(tf1: Any, session: Any, *_: Any) -> None:
        os.mkdir(case.path("tower"))
        tf1.train.Saver().save(session, case.path("tower") + "/", write_state=False)

    answers = _tf1(case, _tf1_tower, rows["features"], save)
    spec = {"modules": [MODULE], "builder": "loading_models:build_tf1_graph"}
    case.finish("tower/.index", rows, {"scores": answers}, kind="tf_checkpoint", **spec)


@fixture("tf_keras")
def tf1_saver_into_a_keras_builder(case: Case) -> None:
    """Names that TensorFlow 1's layers gave, and a Keras model whose layers are called the same."""
    loading_models = importlib.import_module("loading_models")

    rows = {"features": case.floats(4, 5)}

    def save(tf1: Any, session: Any, *_: Any) -> None:
        tf1.train.Saver().save(session, case.path("model.ckpt"))

    answers = _tf1(case, _tf1_dense, rows["features"], save)
    del loading_models
    spec = {"modules": [MODULE], "builder": "loading_models:build_keras_tower"}
    case.finish("model.ckpt.index", rows, {"scores": answers}, kind="tf_checkpoint", **spec)


def _tf1_dense(tf1: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    features = tf1.placeholder(tf.float32, [None, 5], "features")
    hidden = features
    for name, units in (("hidden", 4), ("scores", 3)):
        with tf1.variable_scope(name):
            kernel = tf1.get_variable("kernel", [hidden.shape[-1], units])
            hidden = tf.tanh(tf.matmul(hidden, kernel) + tf1.get_variable("bias", [units]))
    return features, hidden


@fixture("tf_keras")
def saved_model_with_several_tag_sets(case: Case) -> None:
    """A graph for training, one for a GPU and one to serve on a CPU; the variables are shared."""
    rows = {"x": case.floats(4, 5)}
    import tensorflow as tf

    tf1 = tf.compat.v1
    builder = tf1.saved_model.Builder(case.path("sm"))
    answers = None
    for number, tags in enumerate((["train"], ["serve", "gpu"], ["serve"])):
        with tf.Graph().as_default(), tf1.Session() as session:
            features, scores = _tf1_tower(tf1)
            scores = scores * 1.0 if tags == ["serve"] else scores * 100.0
            signature = tf1.saved_model.predict_signature_def({"x": features}, {"scores": scores})
            if number == 0:
                session.run(tf1.global_variables_initializer())
                weights = session.run(tf1.global_variables())
                builder.add_meta_graph_and_variables(session, tags, {"serving_default": signature})
            else:
                for variable, value in zip(tf1.global_variables(), weights, strict=True):
                    variable.load(value, session)
                builder.add_meta_graph(tags, {"serving_default": signature})
            answers = session.run(scores, {features: rows["x"]})
    builder.save()
    case.finish("sm", rows, {"scores": answers}, kind="saved_model")


@fixture("tf_keras")
def tf1_saved_model(case: Case) -> None:
    rows = {"x": case.floats(4, 5)}

    def save(tf1: Any, session: Any, features: Any, scores: Any) -> None:
        tf1.saved_model.simple_save(session, case.path("sm"), {"x": features}, {"scores": scores})

    answers = _tf1(case, _tf1_tower, rows["x"], save)
    case.finish("sm", rows, {"scores": answers}, kind="saved_model")


@fixture("tf_keras")
def tf1_saved_model_with_table(case: Case) -> None:
    colours = np.array(["blue", "red", "pink"], dtype=object)
    vocabulary = case.path("vocabulary.txt")
    Path(vocabulary).write_text("red\ngreen\nblue\n")

    def build(tf1: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        asset = tf1.constant(vocabulary)
        tf1.add_to_collection(tf1.GraphKeys.ASSET_FILEPATHS, asset)
        colour = tf1.placeholder(tf.string, [None], "colour")
        initializer = _lines_of(asset)
        table = tf.lookup.StaticHashTable(initializer, -1)
        scale = tf1.get_variable("scale", [])
        return colour, tf.cast(table.lookup(colour), tf.float32) * scale

    def save(tf1: Any, session: Any, colour: Any, scores: Any) -> None:
        builder = tf1.saved_model.Builder(case.path("sm"))
        signature = tf1.saved_model.predict_signature_def({"colour": colour}, {"y": scores})
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": signature},
            assets_collection=tf1.get_collection(tf1.GraphKeys.ASSET_FILEPATHS),
            main_op=tf1.tables_initializer(),
        )
        builder.save()

    answers = _tf1(case, build, colours, save)
    os.remove(vocabulary)
    case.finish("sm", {"colour": colours}, {"y": answers}, kind="saved_model")


# --- tf.train.Checkpoint


@both
def train_checkpoint(case: Case) -> None:
    """A training checkpoint with optimizer and step counter; the job names the folder that `CheckpointManager` wrote."""
    import tensorflow as tf

    model = mlp(case)
    model.compile("adam", "mse")
    model.fit(case.floats(8, 5), case.floats(8, 3), verbose=0)
    tracked = tf.train.Checkpoint(model=model, step=tf.Variable(3), optimizer=model.optimizer)
    tf.train.CheckpointManager(tracked, case.path("training"), max_to_keep=2).save()
    builder = "build_mlp" if case.k.__name__ == "keras" else "build_tf_keras_mlp"
    _finish_mlp(case, model, "training", kind="tf_checkpoint", builder=f"loading_models:{builder}")


@fixture("tf_keras")
def tf_format_weights(case: Case) -> None:
    """`model.save_weights("name")` of Keras 2: the model itself is the root."""
    model = mlp(case)
    model.save_weights(case.path("weights"), save_format="tf")
    _finish_mlp(case, model, "weights.index", kind="tf_checkpoint", builder="loading_models:build_tf_keras_mlp")


@fixture("keras")
def module_checkpoint(case: Case) -> None:
    loading_models = importlib.import_module("loading_models")
    import tensorflow as tf

    module = loading_models.Affine()
    module.w.assign(case.floats(5, 3))
    tf.train.Checkpoint(net=module).write(case.path("affine"))
    rows = {"features": case.floats(4, 5)}
    spec = {"modules": [MODULE], "builder": "loading_models:build_affine"}
    case.finish("affine.index", rows, {"scores": numpy(module(rows["features"])["scores"])}, kind="tf_checkpoint", **spec)


def main(library: str, out: str, *only: str) -> None:
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", TF_USE_LEGACY_KERAS=str(int(library == "tf_keras")))
    sys.path.insert(0, str(Path(__file__).parent))
    if library == "tf_keras":
        import tf_keras as k

        sys.modules["keras"] = k
    else:
        import keras as k
    for name, write in WRITERS[library].items():
        if only and name not in only:
            continue
        k.utils.set_random_seed(7)
        try:
            write(Case(name, Path(out) / name, k))
        except Exception:  # noqa: BLE001  # one fixture that cannot be written fails its own test
            import traceback

            (Path(out) / name / "error.txt").write_text(traceback.format_exc())


if __name__ == "__main__":
    main(*sys.argv[1:])
