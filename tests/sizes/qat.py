"""Writes models that tfmot trained with quantisation in mind: `python -m tests.sizes.qat FOLDER NUMBER ...`, with `ENVIRONMENT`.

tensorflow-model-optimization is no dependency; `pip install --target DIR tensorflow-model-optimization` and DIR in PYTHONPATH
are enough.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
_ROWS = 160


def _cnn(layers: Any, size: int) -> tuple[list[Any], tuple[int, ...], int]:
    separable = [layers.DepthwiseConv2D(3), layers.BatchNormalization(), layers.ReLU(6.0)]
    body = [layers.Conv2D(16 + 8 * size, 3), layers.BatchNormalization(), layers.ReLU(), *separable]
    tail = [layers.Conv2D(24, 1, activation="relu"), layers.GlobalAveragePooling2D(), layers.Dense(4, activation="softmax")]
    return [*body, *tail], (16, 16, 3), 4


def _mlp(layers: Any, size: int) -> tuple[list[Any], tuple[int, ...], int]:
    return [*(layers.Dense(64 + 32 * size, activation="relu") for _ in range(2)), layers.Dense(5)], (20,), 5


ARCHITECTURES = {"cnn": _cnn, "mlp": _mlp}


def write(folder: str, numbers: Iterable[int]) -> None:
    """SavedModels with the ranges that training has found, an npz of rows for each with the model's answers, and job.json. Beside
    each, `NAME_writer.tflite` is what tfmot's own guide makes of it.
    """
    import tensorflow as tf
    import tf_keras

    tfmot = importlib.import_module("tensorflow_model_optimization")  # is not installed where types are checked

    models, samples = [], {}
    for number in numbers:
        kind = list(ARCHITECTURES)[number % len(ARCHITECTURES)]
        tf_keras.utils.set_random_seed(number)
        layers, shape, classes = ARCHITECTURES[kind](tf_keras.layers, number // len(ARCHITECTURES))
        float_model = tf_keras.Sequential([tf_keras.layers.Input(shape), *layers])
        model = tfmot.quantization.keras.quantize_model(float_model)
        model.compile("adam", "mse")
        random = np.random.default_rng(number)
        rows = random.normal(size=(_ROWS, *shape)).astype("float32")
        targets = np.eye(classes, dtype="float32")[np.argmax(rows.reshape(_ROWS, -1)[:, :classes], axis=1)]
        model.fit(rows, targets, epochs=4, verbose=0)
        name = f"{kind}_qat_{number:02d}"
        model.save(os.path.join(folder, name), save_format="tf")
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        with open(os.path.join(folder, f"{name}_writer.tflite"), "wb") as file:
            file.write(converter.convert())
        columns: dict[str, Any] = {model.input_names[0]: rows}
        np.savez(os.path.join(folder, f"{name}.npz"), **columns)
        models.append({"checkpoints": name, "samples": name})
        samples[name] = {"path": f"{name}.npz"}
    with open(os.path.join(folder, "job.json"), "w", encoding="utf-8") as file:
        json.dump({"models": models, "samples": samples}, file, indent=1)


if __name__ == "__main__":
    write(sys.argv[1], map(int, sys.argv[2:]))
