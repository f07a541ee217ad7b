"""Writes models of the generated fleet: `python -m tests.sizes.fleet FOLDER NUMBER ...`. Every model is trained for a moment, so
that its answers mean something.

Nine architectures in turn; each round is in another size, half of them in float32, the others in half precision or quantised by
Keras. `tests.sizes.qat` has those that are trained with quantisation in mind.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

ROWS = 160
FORMS = ("float32", "float32", "mixed_float16", "int8", "float32", "mixed_bfloat16")


def write(folder: str, numbers: Iterable[int]) -> None:
    """Checkpoints, one npz of rows for each, and job.json."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import keras

    models, samples = [], {}
    names = list(ARCHITECTURES)
    for number in numbers:
        kind, form = names[number % len(names)], FORMS[number // len(names) % len(FORMS)]
        keras.utils.set_random_seed(number)
        keras.config.set_dtype_policy(form if form.startswith("mixed") else "float32")
        model, rows, targets = ARCHITECTURES[kind](keras, np.random.default_rng(number), number // len(names))
        model.compile(keras.optimizers.Adam(3e-3), "mse")
        model.fit(rows, targets, epochs=4, batch_size=32, verbose=0)
        if form == "int8":
            model.quantize("int8")
        keras.config.set_dtype_policy("float32")
        name = f"{kind}_{form}_{number:02d}"
        model.save(os.path.join(folder, f"{name}.keras"))
        np.savez(os.path.join(folder, f"{name}.npz"), x=rows)
        models.append({"checkpoints": f"{name}.keras", "samples": name})
        samples[name] = {"path": f"{name}.npz"}
    with open(os.path.join(folder, "job.json"), "w", encoding="utf-8") as file:
        json.dump({"models": models, "samples": samples}, file, indent=1)


Built = tuple[Any, np.ndarray, np.ndarray]


def _mlp(keras: Any, random: np.random.Generator, size: int) -> Built:
    layers = keras.layers
    x = random.normal(size=(ROWS, 20)).astype("float32")
    hidden = [layers.Dense(64 + 32 * size, "relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((20,), name="x"), *hidden, layers.Dense(6, "softmax", name="y")])
    return model, x, np.eye(6, dtype="float32")[np.argmax(x[:, :6], axis=1)]


def _images(random: np.random.Generator) -> np.ndarray:
    return random.uniform(size=(ROWS, 16, 16, 3)).astype("float32")


def _cnn(keras: Any, random: np.random.Generator, size: int) -> Built:
    layers, x = keras.layers, _images(random)
    body = [
        layers.Conv2D(8 + 4 * size, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.Conv2D(16, 3, 2, activation="relu"),
    ]
    model = keras.Sequential([keras.Input((16, 16, 3), name="x"), *body, layers.Flatten(), layers.Dense(4, "softmax", name="y")])
    return model, x, np.eye(4, dtype="float32")[(x[:, 4:12, 4:12].mean((1, 2, 3)) * 40 - 18).clip(0, 3).astype(int)]


def _separable(keras: Any, random: np.random.Generator, size: int) -> Built:
    layers, x = keras.layers, _images(random)
    body = [layers.Conv2D(16, 3, 2), layers.DepthwiseConv2D(3, activation="hard_swish"), layers.Conv2D(24 + 8 * size, 1)]
    tail = [layers.GlobalAveragePooling2D(), layers.Dense(32, "relu"), layers.Dense(3, name="y")]
    model = keras.Sequential([keras.Input((16, 16, 3), name="x"), *body, *tail])
    return model, x, x.mean((1, 2))


def _series(random: np.random.Generator) -> np.ndarray:
    return np.cumsum(random.normal(size=(ROWS, 16, 4), scale=0.3), axis=1).astype("float32")


def _gru(keras: Any, random: np.random.Generator, size: int) -> Built:
    layers, x = keras.layers, _series(random)
    model = keras.Sequential([keras.Input((16, 4), name="x"), layers.GRU(16 + 8 * size), layers.Dense(2, name="y")])
    return model, x, x[:, -1, :2]


def _lstm(keras: Any, random: np.random.Generator, size: int) -> Built:
    layers, x = keras.layers, _series(random)
    body = [layers.Bidirectional(layers.LSTM(8 + 4 * size)), layers.Dense(16, "tanh")]
    return keras.Sequential([keras.Input((16, 4), name="x"), *body, layers.Dense(2, name="y")]), x, x[:, -1, :2]


def _conv1d(keras: Any, random: np.random.Generator, size: int) -> Built:
    layers, x = keras.layers, _series(random)
    body = [layers.Conv1D(24 + 8 * size, 3, padding="causal", activation="relu"), layers.Conv1D(24, 3, dilation_rate=2)]
    tail = [layers.GlobalMaxPooling1D(), layers.Dense(2, name="y")]
    return keras.Sequential([keras.Input((16, 4), name="x"), *body, *tail]), x, x.max(axis=1)[:, :2]


def _attention(keras: Any, random: np.random.Generator, size: int) -> Built:
    layers = keras.layers
    x = random.integers(0, 80, (ROWS, 12)).astype("int32")
    inputs = keras.Input((12,), name="x", dtype="int32")
    hidden = layers.Embedding(80, 16 + 8 * size)(inputs)
    hidden = layers.LayerNormalization()(hidden + layers.MultiHeadAttention(2, 8)(hidden, hidden))
    hidden = layers.Dense(32, activation="gelu")(hidden)
    outputs = layers.Dense(4, "softmax", name="y")(layers.GlobalAveragePooling1D()(hidden))
    return keras.Model(inputs, outputs), x, np.eye(4, dtype="float32")[x.sum(axis=1) % 4]


def _regressor(keras: Any, random: np.random.Generator, size: int) -> Built:
    layers = keras.layers
    x = random.normal(size=(ROWS, 12)).astype("float32")
    body = [layers.Dense(32 + 16 * size, "relu") for _ in range(2)]
    last = layers.Dense(1, name="y", bias_initializer=keras.initializers.Constant(100.0))
    return keras.Sequential([keras.Input((12,), name="x"), *body, last]), x, 100 + 3 * np.tanh(x[:, :2].sum(1, keepdims=True))


def _detector(keras: Any, random: np.random.Generator, size: int) -> Built:
    layers, x = keras.layers, _images(random)
    inputs = keras.Input((16, 16, 3), name="x")
    hidden = layers.Conv2D(16 + 8 * size, 4, strides=4, activation="relu")(inputs)
    boxes, classes = layers.Conv2D(4, 1, activation="sigmoid")(hidden), layers.Conv2D(3, 1, activation="sigmoid")(hidden)
    joined = layers.Concatenate()([layers.Reshape((16, 4))(layers.Rescaling(320.0)(boxes)), layers.Reshape((16, 3))(classes)])
    targets = np.concatenate([np.full((ROWS, 16, 4), 160.0), random.uniform(size=(ROWS, 16, 3))], axis=2).astype("float32")
    return keras.Model(inputs, joined), x, targets


ARCHITECTURES: dict[str, Callable[[Any, np.random.Generator, int], Built]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "separable": _separable,
    "gru": _gru,
    "lstm": _lstm,
    "conv1d": _conv1d,
    "attention": _attention,
    "regressor": _regressor,
    "detector": _detector,
}


if __name__ == "__main__":
    write(sys.argv[1], map(int, sys.argv[2:]))
