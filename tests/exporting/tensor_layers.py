"""A layer with an argument that may be None."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="tensor_models")
class AddIfThere(keras.layers.Layer):
    def call(self, x: Any, extra: Any = None) -> Any:
        return x if extra is None else x + extra

    def compute_output_shape(self, x_shape: Any, extra_shape: Any = None) -> Any:
        return x_shape
