"""Finds variables that a load left at their initial values: user layers may load their own variables in any way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage

_LIBRARIES = ("keras.", "tf_keras.")


def loads_its_own(model: Any) -> list[Any]:
    """Whether a layer has its own code for saving or loading its variables."""
    return [
        layer
        for layer in model._flatten_layers()
        if not all(_is_library_s(layer, method) for method in ("save_own_variables", "load_own_variables"))
    ]


def _is_library_s(layer: Any, method: str) -> bool:
    return str(getattr(getattr(type(layer), method, None), "__module__", "keras.")).startswith(_LIBRARIES)


def own_variables(layer: Any) -> list[Any]:
    """A layer's variables without those of layers inside it, in the order in which both libraries save them."""
    if hasattr(layer, "_trainable_variables"):  # Keras 3
        return [*layer._trainable_variables, *layer._non_trainable_variables]
    return [*layer._trainable_weights, *layer._non_trainable_weights]


def refuse(path: str, model: Any, load: Callable[[], None]) -> None:
    """Loads the weights and raises if such a layer left a variable unfilled, since that value would not come from the file.

    Args:
      path: as errors name the file.
      model: a Keras model with its variables.
      load: loads the weights.

    Raises:
      ModelError: WEIGHTS_MISMATCH with the variables. Whatever `load` raises.
    """
    marked = [(layer, variable, _mark(variable)) for layer in loads_its_own(model) for variable in own_variables(layer)]
    load()
    left = [
        f"{layer.name}: {getattr(variable, 'path', variable.name)} {list(variable.shape)}"
        for layer, variable, mark in marked
        if mark is not None and np.asarray(variable).tobytes() == mark.tobytes()
    ]
    if left:
        raise ModelError(
            ReasonCode.WEIGHTS_MISMATCH,
            Stage.LOAD,
            f"{path}: its file holds nothing for {len(left)} variables of the model: {'; '.join(left[:8])}. These layers load "
            "their own variables (load_own_variables); make them save and load all of them",
        )


def _mark(variable: Any) -> np.ndarray | None:
    """Fills a variable with a value that training never produces; None for a dtype without such a value."""
    dtype = np.asarray(variable).dtype
    if dtype.kind in "iu" and dtype.itemsize > 1:
        value: Any = np.iinfo(dtype).max - 41
    elif dtype.kind == "f":
        value = np.nan
    else:
        return None
    variable.assign(np.full(tuple(variable.shape), value, dtype))
    return np.asarray(variable)
