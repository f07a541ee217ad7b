"""Trains the demo fleet on scikit-learn's digits and writes it with its job file. Run as a process of its own: `python -m
liteferry.commands.demo.train DIR`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from liteferry.commands.demo.broken import write_broken

_EPOCHS = 12
_HELD_OUT = 360

JOB = """\
# The demo's job file, as you would write it for your own fleet: docs/job_file.md explains every key.
models:
  - checkpoints: "checkpoints/*.keras"
    samples: digits
    metadata: {team: demo, dataset: scikit-learn digits}
  - checkpoints: "halves/*.keras"
    samples: halves
    metadata: {team: demo, dataset: scikit-learn digits, inputs: upper and lower half}
    metrics: [{class_name: SparseCategoricalAccuracy, output_name: digit, max_drop: 0.02}]
  - checkpoints: "keras2/*"
    samples: digits
    metadata: {team: demo, written_by: tf_keras}
  - checkpoints: "weights/*.weights.h5"
    builder: "digit_layers:build_compact"
    builder_args: {units: 48}
    samples: digits
modules: [digit_layers.py]
samples:
  digits: {path: digits.parquet, inputs: {image: image}, label: label, id: id}
  halves: {path: halves.npz, label: label}
variants: [float32, float16, dynamic_int8]
metrics: [{class_name: SparseCategoricalAccuracy, max_drop: 0.02}]
limits: {seconds_per_model: 120, memory_gb_per_model: 4}
"""


def main(folder: str, *, with_broken: bool) -> None:
    """Writes checkpoints, samples, the user's module and job.yaml into `folder`."""
    os.makedirs(folder, exist_ok=True)
    shutil.copy(os.path.join(os.path.dirname(__file__), "digit_layers.py"), folder)
    sys.path.insert(0, folder)
    images, labels = _digits()
    _write_samples(folder, images[-_HELD_OUT:], labels[-_HELD_OUT:])
    images, labels = images[:-_HELD_OUT], labels[:-_HELD_OUT]
    for name, make in _FLEET.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        make(path, images, labels)
        print(f"trained {name}", file=sys.stderr, flush=True)
    if with_broken:
        write_broken(folder)
    with open(os.path.join(folder, "job.yaml"), "w", encoding="utf-8") as file:
        file.write(JOB)


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 real handwritten digits: images (rows, 8, 8, 1) float32 in 0..1, labels (rows,) int64; in one fixed random order."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    return (digits.images[order, ..., None] / 16.0).astype(np.float32), digits.target[order].astype(np.int64)


def _write_samples(folder: str, images: np.ndarray, labels: np.ndarray) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = [f"digit-{row:04d}" for row in range(len(labels))]
    table = pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(images), "label": labels, "id": ids})
    pq.write_table(table, os.path.join(folder, "digits.parquet"))
    np.savez(os.path.join(folder, "halves.npz"), upper=images[:, :4], lower=images[:, 4:], label=labels)


def _fit(model: Any, inputs: Any, targets: Any, *, loss: Any = "sparse_categorical_crossentropy") -> Any:
    model.compile(optimizer="adam", loss=loss)
    model.fit(inputs, targets, epochs=_EPOCHS, batch_size=64, verbose=0)
    return model


def _mlp(path: str, images: np.ndarray, labels: np.ndarray) -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Flatten(),
            layers.Dense(64, "relu"),
            layers.Dense(10, "softmax", name="digit"),
        ]
    )
    _fit(model, images, labels).save(path)


def _cnn(path: str, images: np.ndarray, labels: np.ndarray) -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, "softmax", name="digit"),
        ]
    )
    _fit(model, images, labels).save(path)


def _cnn_augmented(path: str, images: np.ndarray, labels: np.ndarray) -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.RandomRotation(0.05, fill_mode="constant"),
            layers.Conv2D(24, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(10, "softmax", name="digit"),
        ]
    )
    _fit(model, images, labels).save(path)


def _two_halves(path: str, images: np.ndarray, labels: np.ndarray) -> None:
    import keras

    layers = keras.layers
    upper, lower = keras.Input((4, 8, 1), name="upper"), keras.Input((4, 8, 1), name="lower")
    towers = [layers.Dense(32, "relu")(layers.Flatten()(half)) for half in (upper, lower)]
    joined = layers.Dense(48, "relu")(layers.Concatenate()(towers))
    outputs = {
        "digit": layers.Dense(10, "softmax", name="digit")(joined),
        "is_even": layers.Dense(1, "sigmoid", name="is_even")(joined),
    }
    model = keras.Model({"upper": upper, "lower": lower}, outputs)
    targets = {"digit": labels, "is_even": (labels % 2 == 0).astype(np.float32)[:, None]}
    losses = {"digit": "sparse_categorical_crossentropy", "is_even": "binary_crossentropy"}
    _fit(model, {"upper": images[:, :4], "lower": images[:, 4:]}, targets, loss=losses).save(path)


def _subclassed(path: str, images: np.ndarray, labels: np.ndarray) -> None:
    import digit_layers

    _fit(digit_layers.DigitNet(units=64), images, labels).save(path)


def _gru(path: str, images: np.ndarray, labels: np.ndarray) -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8, 8, 1), name="image"), layers.Reshape((8, 8)), layers.GRU(32), layers.Dense(10, "softmax", name="digit")]
    )
    _fit(model, images, labels).save(path)


def _weights_only(path: str, images: np.ndarray, labels: np.ndarray) -> None:
    import digit_layers

    _fit(digit_layers.build_compact(units=48), images, labels).save_weights(path)


def _keras_2(path: str, images: np.ndarray, labels: np.ndarray, *, activation: str) -> None:
    import tf_keras

    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            tf_keras.Input((8, 8, 1), name="image"),
            layers.Flatten(),
            layers.Dense(64, activation),
            layers.Dropout(0.1),
            layers.Dense(10, "softmax", name="digit"),
        ]
    )
    _fit(model, images, labels).save(path)


def _legacy_h5(path: str, images: np.ndarray, labels: np.ndarray) -> None:
    _keras_2(path, images, labels, activation="hard_sigmoid")  # Keras 3 computes another function under this name


def _saved_model(path: str, images: np.ndarray, labels: np.ndarray) -> None:
    _keras_2(path, images, labels, activation="relu")


_FLEET: dict[str, Callable[[str, np.ndarray, np.ndarray], None]] = {
    "checkpoints/mlp.keras": _mlp,
    "checkpoints/cnn.keras": _cnn,
    "checkpoints/cnn_augmented.keras": _cnn_augmented,
    "checkpoints/subclassed.keras": _subclassed,
    "checkpoints/gru_over_rows.keras": _gru,
    "halves/two_halves.keras": _two_halves,
    "keras2/hard_sigmoid.h5": _legacy_h5,
    "keras2/saved_model": _saved_model,
    "weights/compact.weights.h5": _weights_only,
}


if __name__ == "__main__":
    import keras

    keras.utils.set_random_seed(7)
    main(sys.argv[1], with_broken="--with_broken" in sys.argv[2:])
