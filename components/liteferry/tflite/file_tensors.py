"""What goes into a .tflite file and comes out of it, in the formats of the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from liteferry.types import TensorContract

_OF_A_TWIN = ("float16", "bfloat16", "float64")  # inputs of a model whose file was made of its float32 twin


def as_file_takes_it(value: np.ndarray, tensor: TensorContract) -> Any:
    """For integer inputs, floats are quantised: rounded and clipped to the range. Inputs in another float format become float32
    for a float32 twin's file. Nothing else is changed.
    """
    if tensor.dtype == "string" or value.dtype.name == tensor.dtype:
        return value
    if tensor.dtype == "float32" and value.dtype.name in _OF_A_TWIN:
        return value.astype(np.float32)
    if tensor.scale and value.dtype.kind == "f":
        limits = np.iinfo(tensor.dtype)
        return np.clip(np.round(value / tensor.scale) + (tensor.zero_point or 0), limits.min, limits.max).astype(tensor.dtype)
    raise ValueError(f"input {tensor.name!r} is {value.dtype}, the file takes {tensor.dtype}")


def as_model_gives_it(value: np.ndarray, tensor: TensorContract) -> np.ndarray:
    """Dequantises an integer output to floats, as an app does."""
    if tensor.scale and value.dtype.kind in "iu":
        return ((value.astype(np.float32) - (tensor.zero_point or 0)) * np.float32(tensor.scale)).astype(np.float32)
    return value
