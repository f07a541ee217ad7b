"""State of layers besides their variables, after a load: state that derives from variables is recomputed, and state that the file
cannot hold is refused.

The libraries' loaders miss some of it. Keras 3 finalises the layers of an HDF5 file one level deep only, so a Normalization in a
nested model keeps mean 0 and variance 1; nothing finalises a tf_keras Discretization of an archive, or any layer that
TensorFlow's checkpoints fill. Vocabularies are not variables: archives store them beside the weights, HDF5 files and TensorFlow
checkpoints do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from liteferry.checkpoints.detection import BY_PATH, CheckpointFacts, Kind
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import layer_names
from liteferry.loading.unfilled import own_variables

_LIBRARIES = ("keras.", "tf_keras.")


def restore(path: str, facts: CheckpointFacts, model: Any) -> None:
    """Brings every layer of a loaded model to the state that follows from its variables.

    Args:
      path: as errors name the file.
      facts: the kind of file that the variables came from.
      model: a Keras model whose variables hold the file's arrays.

    Raises:
      ModelError: WEIGHTS_MISMATCH for a layer whose state is not in a file of this kind.
    """
    is_by_path = facts.weights_layout == BY_PATH
    used_own_protocol = (facts.kind is Kind.KERAS and not is_by_path) or facts.weights_layout == "keras_v3"
    layers = [layer for layer in model._flatten_layers() if layer is not model]
    if not used_own_protocol:
        for layer in layers:
            _load_through_itself(path, layer)
    for layer in layers:
        if _finalises(layer, users_too=not used_own_protocol):
            layer.finalize_state()
    if facts.kind is not Kind.KERAS or is_by_path:
        _refuse_missing_assets(path, layers)
    if facts.kind is not Kind.TF_CHECKPOINT:  # which follows TensorFlow's own variables, too
        _refuse_unknown_variables(path, model)


def _defined_by_library(layer: Any, method: str) -> bool:
    return str(getattr(type(layer), method).__module__).startswith(_LIBRARIES)


def _finalises(layer: Any, *, users_too: bool) -> bool:
    if not callable(getattr(type(layer), "finalize_state", None)):
        return False
    if not _defined_by_library(layer, "finalize_state"):
        return users_too
    # Keras 3's Discretization keeps its boundaries in the config; its summary, which is not saved, would overwrite them.
    summary = getattr(layer, "summary", None)
    return not (isinstance(summary, np.ndarray) and summary.size == 0)


def _load_through_itself(path: str, layer: Any) -> None:
    """Calls `load_own_variables` of the user's layers: they may derive state from their variables there, and only archives and
    `.weights.h5` call it.

    The layer gets back exactly the values that it would save now. A layer that saves anything besides its variables has state
    that this file never held.
    """
    if not hasattr(type(layer), "load_own_variables") or _defined_by_library(layer, "load_own_variables"):
        return
    if not _defined_by_library(layer, "save_own_variables"):
        held = [np.asarray(weight) for weight in layer.weights]
        store: dict[str, Any] = {}
        layer.save_own_variables(store)
        store = {key: np.asarray(value) for key, value in store.items()}
        extra = [key for key, value in store.items() if not any(_same(value, array) for array in held)]
        if extra:
            raise _not_in_file(path, f"{_named(layer)} saves {', '.join(extra[:5])}, which are no variables")
    else:
        store = {str(number): np.asarray(variable) for number, variable in enumerate(own_variables(layer))}
    layer.load_own_variables(store)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()


def _refuse_missing_assets(path: str, layers: list[Any]) -> None:
    for layer in layers:
        if hasattr(type(layer), "load_assets") and not _defined_by_library(layer, "load_assets"):
            raise _not_in_file(path, f"{_named(layer)} saves assets of its own")
        for table in _tables(layer):
            if not _is_filled(table):
                raise _not_in_file(path, f"{_named(layer)} was adapted, and its vocabulary is no variable")


def _refuse_unknown_variables(path: str, model: Any) -> None:
    """Keras 3 saves its own variables only: a `tf.Variable` in a user's layer is in none of its files."""
    import tensorflow as tf

    if not layer_names.is_keras_3(model):
        return  # tf_keras knows every variable of a layer as its weight
    for layer in model._flatten_layers():
        if type(layer).__module__.startswith(_LIBRARIES):
            continue
        held = [value for value in vars(layer).values() if isinstance(value, tf.Variable)]
        if held:
            told = ", ".join(f"{variable.name.split(':')[0]} {list(variable.shape)}" for variable in held[:5])
            raise ModelError(
                ReasonCode.WEIGHTS_MISMATCH,
                Stage.LOAD,
                f"{path}: {_named(layer)} holds {told} as tf.Variable, which Keras saves in no file; make it with `add_weight` "
                "and save the model again",
            )


def _tables(layer: Any) -> Iterator[Any]:
    table = getattr(layer, "lookup_table", None)
    if table is not None and hasattr(table, "size"):
        yield table


def _is_filled(table: Any) -> bool:
    import tensorflow as tf

    try:
        return int(table.size()) > 0
    except (tf.errors.FailedPreconditionError, tf.errors.NotFoundError):
        return False


def _named(layer: Any) -> str:
    return f"{layer.name} ({type(layer).__name__})"


def _not_in_file(path: str, what: str) -> ModelError:
    return ModelError(
        ReasonCode.WEIGHTS_MISMATCH,
        Stage.LOAD,
        f"{path}: {what}; only a .keras archive or a SavedModel holds that. Save the model in one of these formats, or give the "
        "layer its vocabulary where it is made",
    )
