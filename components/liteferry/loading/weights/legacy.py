"""Weights in the legacy HDF5 layout, where every layer's group lists the names of its arrays: names decide, not their order.

The libraries read it by order alone: layers in their order, and in each layer trainable arrays before the others. With a frozen
layer, a branch that is built first, or arrays of equal shapes, arrays are swapped without an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.loading import cudnn_weights, layer_names
from liteferry.loading.weights.mismatch import mismatch, shape_of
from liteferry.loading.weights.names import LayerNames, Matching, NoMatchError, Slot, match
from liteferry.loading.weights.new_layout import same_values

_TOP = "top_level_model_weights"
_CUDNN = re.compile(r"cu_dnn(lstm|gru)")  # their weights go into the portable layers, which count in their place
# Keras stored kernels in another order with these backends; tf_keras converts them.
_OTHER_BACKENDS = ("theano", "cntk")


def _names(group: Any, key: str) -> list[str]:
    """A list of names in a group's attributes; a long list is split over several attributes."""
    values = list(group.attrs[key]) if key in group.attrs else []
    at = 0
    while f"{key}{at}" in group.attrs:
        values += list(group.attrs[f"{key}{at}"])
        at += 1
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def stored(file: Any) -> dict[str, Any]:
    """Every array of the model in an open file, under the layer's name and its own, in the order of the file."""
    holder = file.get("model_weights", file)
    layers = _names(holder, "layer_names")
    found = {}
    for layer in [*layers, *([_TOP] if _TOP in holder and _TOP not in layers else [])]:
        for name in _names(holder[layer], "weight_names"):
            found[f"{layer}/{name.split(':')[0]}"] = holder[layer][name]
    return found


def wanted(model: Any) -> list[tuple[str, Any]]:
    """(name, variable) of every array that the libraries read in this layout, in their order."""
    is_keras_3 = layer_names.is_keras_3(model)
    found = []
    for layer in model.layers:
        found += [(f"{layer.name}/{_name(weight)}", weight) for weight in _in_their_order(layer)]
    if is_keras_3:
        own = [*model._trainable_variables, *model._non_trainable_variables]
        own = [weight for weight in own if any(weight is one for one in model.weights)]
    else:
        own = [*model._trainable_weights, *model._non_trainable_weights]
    return found + [(f"{_TOP}/{_name(weight)}", weight) for weight in own]


def _in_their_order(layer: Any) -> list[Any]:
    """As `_legacy_weights` of both libraries."""
    trained = list(layer.trainable_weights)
    rest = list(layer.non_trainable_weights)
    return trained + rest


def _name(weight: Any) -> str:
    return str(getattr(weight, "path", None) or weight.name).split(":")[0]


def _slots(arrays: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> list[Slot]:
    items = arrays.items() if isinstance(arrays, Mapping) else arrays
    return [Slot(name=_CUDNN.sub(r"\1", name), shape=shape_of(array)) for name, array in items]


def has_other_layout(file: Any, *, unless_told: bool = False) -> bool:
    """Whether arrays are stored as Keras 1 or another backend did; only tf_keras's own loader can convert those.

    `unless_told`: whether a file without a version counts as one of Keras 1, as it does for tf_keras.
    """
    holder = file.get("model_weights", file)
    version, backend = (_text(holder.attrs.get(key)) for key in ("keras_version", "backend"))
    return version.startswith("1.") or backend in _OTHER_BACKENDS or (unless_told and not version)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def fill(path: str, place: str, model: Any, *, load: Callable[[], None]) -> tuple[str, ...]:
    """Fills a builder's model by the names in the file.

    Args:
      path: as errors name the file; `place`: the copy of it, CuDNN's arrays made portable.
      model: a Keras model with its variables.
      load: the library's own reader, for layouts that only it can convert.

    Returns:
      What was matched without a name, as sentences.

    Raises:
      ModelError: WEIGHTS_MISMATCH where the file's names do not decide which array belongs to which variable.
    """
    import h5py

    with h5py.File(place, "r") as file:
        if has_other_layout(file):
            load()
            return ("all weights by position: the file was written by Keras 1 or on another backend",)
        arrays, variables, names = stored(file), wanted(model), layer_names.of(model)
        if _counts_from_one(file):
            arrays = {_counted_from_zero(name, set(names.counted.values())): array for name, array in arrays.items()}
        matching = _match(path, arrays, variables, names)
        datasets = list(arrays.values())
        for (_, variable), at in zip(variables, matching.places, strict=True):
            variable.assign(np.asarray(datasets[at]))
    return matching.notes


def _counts_from_one(file: Any) -> bool:
    """Whether standalone Keras 2 wrote a file: it called the first Dense dense_1; TensorFlow's Keras calls it dense."""
    return bool(re.fullmatch(r"2\.[0-3]\.\d+", _text(file.get("model_weights", file).attrs.get("keras_version"))))


def _counted_from_zero(name: str, bases: Collection[str]) -> str:
    parts = []
    for part in name.split("/"):
        base, _, number = part.rpartition("_")
        is_counted = base in bases and number.isdigit() and int(number) > 0
        parts.append((base if number == "1" else f"{base}_{int(number) - 1}") if is_counted else part)
    return "/".join(parts)


def _match(path: str, arrays: Mapping[str, Any], variables: Sequence[tuple[str, Any]], names: LayerNames) -> Matching:
    theirs, ours = _slots(arrays), _slots(variables)
    try:
        return match(theirs, ours, names)
    except NoMatchError as error:
        raise mismatch(path, theirs, ours, error.why) from error


def put_right(path: str, place: str, model: Any) -> tuple[str, ...]:
    """Compares a whole model that a library has loaded with the names in its file, and moves arrays to where their names say.

    Args:
      path: as errors name the file. place: the copy of it. model: a Keras model of the file's own architecture.

    Returns:
      A sentence where the library had put arrays into other variables.

    Raises:
      ModelError: WEIGHTS_MISMATCH where arrays are left over or variables are not filled.
    """
    import h5py

    with h5py.File(place, "r") as file:
        arrays, variables = stored(file), wanted(model)
        if not arrays and not variables:
            return ()
        try:
            matching = match(_slots(arrays), _slots(variables), LayerNames())
        except NoMatchError as error:
            if _holds_all(file, arrays, variables):
                return ()
            raise mismatch(path, _slots(arrays), _slots(variables), error.why) from error
        datasets = list(arrays.values())
        pairs = [(name, variable, datasets[at]) for (name, variable), at in zip(variables, matching.places, strict=True)]
        moved = [(name, variable, array) for name, variable, array in pairs if not same_values(array, variable)]
        if not moved or has_other_layout(file, unless_told=True):
            return ()
        if not _holds_all(file, arrays, variables):
            told = ", ".join(name for name, *_ in moved[:5])
            raise mismatch(path, _slots(arrays), _slots(variables), f"{len(moved)} do not hold their arrays: {told}")
        for _, variable, array in moved:
            variable.assign(np.asarray(array))
    told = ", ".join(name for name, *_ in moved[:3])
    return (f"{len(moved)} weights were put where their names are, which is not where their order is ({told})",)


def refuse_left_over(path: str, place: str, model: Any) -> None:
    """Raises WEIGHTS_MISMATCH unless a model's variables hold all arrays of a file, and no others, in any order."""
    import h5py

    with h5py.File(place, "r") as file:
        arrays, variables = stored(file), wanted(model)
        if not _holds_all(file, arrays, variables):
            raise mismatch(path, _slots(arrays), _slots(variables), "arrays are left over, or variables were not filled")


def _holds_all(file: Any, arrays: Mapping[str, Any], variables: Sequence[tuple[str, Any]]) -> bool:
    """Whether the variables hold the file's arrays, ignoring names: older versions used other names and layouts."""
    if has_other_layout(file):
        return len(arrays) == len(variables)
    left = [np.asarray(array) for array in _portable(file, arrays)]
    for _, variable in variables:
        at = next((number for number, array in enumerate(left) if same_values(array, variable)), None)
        if at is None:
            return False
        left.pop(at)
    return not left


def _portable(file: Any, arrays: Mapping[str, Any]) -> list[Any]:
    """The arrays, three of CuDNN's layout at a time turned into those of the portable layer."""
    values = [np.asarray(array) for array in arrays.values()]
    at = 0
    while at + 3 <= len(values):
        if cudnn_weights.cell_of([value.shape for value in values[at : at + 3]]) is not None:
            values[at : at + 3] = cudnn_weights.portable(values[at : at + 3])
            at += 2
        at += 1
    return values
