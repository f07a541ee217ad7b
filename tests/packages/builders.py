"""The model whose weights `write_models` saves without its architecture."""

from __future__ import annotations

import keras


def build() -> keras.Model:
    inputs = keras.Input((4,), name="x")
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(8, "relu", name="hidden")(inputs))
    return keras.Model(inputs, keras.layers.Dense(3, "softmax", name="scores")(keras.layers.Dropout(0.3)(hidden)))
