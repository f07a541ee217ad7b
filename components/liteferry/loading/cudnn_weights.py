"""Weights of CuDNNLSTM and CuDNNGRU in the layout of the portable layers, which compute the same on any machine.

tf_keras converts them when it loads the legacy HDF5 layout, but not in `.keras` archives; Keras 3 never does. CuDNN keeps each
gate's kernels transposed, and two biases for each. Source: `_convert_rnn_weights` in tf_keras's `saving/legacy/hdf5_format.py`.
"""

from __future__ import annotations

import collections
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from liteferry.checkpoints.config_scan import serialized_objects

CLASSES = ("CuDNNLSTM", "CuDNNGRU")
_GATES = {"LSTM": 4, "GRU": 3}
_ARRAYS = 3


def count_layers(config: Any) -> int:
    """How many layers of an architecture have weights in CuDNN's layout; a Bidirectional's backward layer counts separately."""
    count = 0
    for node in serialized_objects(config):
        inner = node.get("config")
        if str(node["class_name"]).split(">")[-1] in CLASSES:
            count += 1
        elif node["class_name"] == "Bidirectional" and isinstance(inner, dict) and not inner.get("backward_layer"):
            wrapped = inner.get("layer")
            count += isinstance(wrapped, dict) and wrapped.get("class_name") in CLASSES
    return count


def cell_of(shapes: Sequence[tuple[int, ...]]) -> str | None:
    """ "LSTM" or "GRU" for kernel, recurrent kernel and bias of CuDNN's layout, None for anything else."""
    if len(shapes) != _ARRAYS or [len(shape) for shape in shapes] != [2, 2, 1]:
        return None
    units = shapes[1][0]
    for cell, gates in _GATES.items():
        if shapes[0][1] == shapes[1][1] == gates * units and shapes[2][0] == 2 * gates * units:
            return cell
    return None


def portable(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Kernel (inputs, gates * units), recurrent kernel (units, gates * units) and bias of the portable layer.

    An LSTM has one bias, the sum of CuDNN's two; a GRU, which then is one with `reset_after`, keeps both, (2, gates * units).
    """
    kernel, recurrent, bias = arrays
    cell = cell_of([array.shape for array in arrays])
    assert cell is not None
    gates = _GATES[cell]
    kernels = [part.T.reshape(part.shape, order="F") for part in np.hsplit(kernel, gates)]
    recurrents = [part.T for part in np.hsplit(recurrent, gates)]
    halves = bias.reshape(2, -1)
    return [np.hstack(kernels), np.hstack(recurrents), halves.sum(axis=0) if cell == "LSTM" else halves]


def portable_copy(path: str) -> str | None:
    """A copy of an HDF5 file in the legacy layout, in a temporary folder, with its CuDNN arrays
    converted; None if it has none.
    """
    import h5py

    with h5py.File(path, "r") as file:
        if not any(_triples(group) for group in _layer_groups(file)):
            return None
    copy = os.path.join(tempfile.mkdtemp(), os.path.basename(path))
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        for group in _layer_groups(file):
            for names in _triples(group):
                for name, array in zip(names, portable([group[name][()] for name in names]), strict=True):
                    del group[name]
                    group[name] = array
    return copy


def _layer_groups(file: Any) -> list[Any]:
    holder = file.get("model_weights", file)
    return [holder[name] for name in holder if "weight_names" in holder[name].attrs]


def _triples(group: Any) -> list[list[str]]:
    """Names of the arrays of each CuDNN layer in a layer's group; a Bidirectional has two."""
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs["weight_names"]]
    found, at = [], 0
    while at + _ARRAYS <= len(names):
        three = names[at : at + _ARRAYS]
        is_one = cell_of([group[name].shape for name in three]) is not None
        found += [three] if is_one else []
        at += _ARRAYS if is_one else 1
    return found


def make_archive_portable(file: Any, config: Any) -> int:
    """Moves CuDNN arrays in the open weights of a `.keras` archive to the place from which the portable layers load.

    That is the layer's cell, in a folder of the portable class's name. Returns how many layers were moved.
    """
    import h5py

    found: list[Any] = []

    def visit(_: str, item: Any) -> None:
        own = item.get("vars") if isinstance(item, h5py.Group) else None
        if isinstance(own, h5py.Group) and cell_of([own[key].shape for key in own if isinstance(own[key], h5py.Dataset)]):
            found.append(item)

    file.visititems(visit)
    for layer in found:
        arrays = portable([layer["vars"][key][()] for key in ("0", "1", "2")])
        for key in ("0", "1", "2"):
            del layer["vars"][key]
        cell = layer.require_group("cell/vars")
        for key, array in zip(("0", "1", "2"), arrays, strict=True):
            cell[key] = array
    _rename_layers(file, config)
    return len(found)


def _rename_layers(group: Any, config: Any) -> None:
    """Renames the folders of a container's layers, which are named by class and counter in the layers' order: `cu_dnnlstm`
    becomes `lstm`, and an `lstm` after it `lstm_1`.
    """
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else None
    holder = group.get("layers")
    if not isinstance(layers, list) or holder is None:
        return
    written: collections.Counter[str] = collections.Counter()
    wanted: collections.Counter[str] = collections.Counter()
    moves = []
    for layer in layers:
        class_name = str(layer.get("class_name")).split(">")[-1]
        name, now = (_counted(written, class_name), _counted(wanted, class_name.removeprefix("CuDNN")))
        if name in holder:
            _rename_layers(holder[name], layer)
            moves += [(name, now)] if name != now else []
    for name, now in moves:  # in two steps: a new name may be the old name of another folder
        holder.move(name, f"moved {now}")
    for _, now in moves:
        holder.move(f"moved {now}", now)


def _counted(counts: collections.Counter[str], class_name: str) -> str:
    """A folder name as both libraries make it, with `to_snake_case` and a counter."""
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", class_name)).lower()
    counts[name] += 1
    return name if counts[name] == 1 else f"{name}_{counts[name] - 1}"
