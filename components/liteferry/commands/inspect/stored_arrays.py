"""The arrays a checkpoint holds, without reading them: how many, how large, of which dtypes."""

from __future__ import annotations

import collections
import contextlib
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liteferry.checkpoints import tf_checkpoint_files
from liteferry.checkpoints.architecture_facts import Statistics
from liteferry.checkpoints.config_scan import serialized_objects
from liteferry.checkpoints.detection import CheckpointFacts, Kind
from liteferry.commands.inspect.bundle_index import StoredArray

_WEIGHTS_FILE = "model.weights.h5"
# Contents of a checkpoint other than the model: training state, and TensorFlow's own records.
_BOOKKEEPING = re.compile(
    r"(^|/)(_?optimizer(_weights)?|optimizer_experimental|seed_generator|keras_api|save_counter|_CHECKPOINTABLE_OBJECT_GRAPH"
    r"|\.OPTIMIZER_SLOT|global_step|Adam(_\d)?|_CHECKPOINTABLE\w*)(/|:|$)"
)
_MAX_STATISTICS = 65_536  # elements of a mean that are read; a Normalization has one for each feature


def is_bookkeeping(name: str) -> bool:
    """Whether an array is training's state or TensorFlow's record, and not a weight of the model."""
    return bool(_BOOKKEEPING.search(name))


def summary(arrays: Sequence[StoredArray]) -> dict[str, Any]:
    """Counts of the model's own arrays: how many, their elements, their bytes, elements by dtype."""
    dtypes: collections.Counter[str] = collections.Counter()
    for array in arrays:
        dtypes[array.dtype] += array.elements
    return {
        "arrays": len(arrays),
        "elements": sum(array.elements for array in arrays),
        "bytes": sum(array.elements * array.item_bytes for array in arrays),
        "dtypes": dict(sorted(dtypes.items())),
    }


def arrays(path: str, kind: Kind) -> list[StoredArray]:
    """The model's own arrays in a checkpoint of a kind that holds them by name; training's state is left out."""
    if kind is Kind.TF_CHECKPOINT:
        from liteferry.commands.inspect import bundle_index

        every = bundle_index.arrays(f"{tf_checkpoint_files.prefix_of(path)}.index")
    else:
        with _weights(path, kind) as file:
            every = list(_datasets(file))
    return [array for array in every if not is_bookkeeping(array.name)]


@contextlib.contextmanager
def _weights(path: str, kind: Kind) -> Iterator[Any]:
    """The open HDF5 file with the weights; an empty mapping where an archive has none."""
    import h5py

    if kind is not Kind.KERAS:
        with h5py.File(path, "r") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        if _WEIGHTS_FILE not in archive.namelist():
            yield {}
            return
        with archive.open(_WEIGHTS_FILE) as stream, h5py.File(stream, "r") as file:
            yield file


def _datasets(file: Any) -> Iterator[StoredArray]:
    import h5py

    found: list[StoredArray] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            shape = tuple(int(size) for size in item.shape or ())
            found.append(StoredArray(name=name, shape=shape, dtype=str(item.dtype), item_bytes=item.dtype.itemsize))

    if file:
        file.visititems(visit)  # the file was found to be free of links and endless groups
    return iter(found)


def normalization_statistics(path: str, facts: CheckpointFacts) -> Mapping[str, Statistics]:
    """Layer name -> (mean, variance) of adapted Normalization layers, whose statistics are weights.

    Both libraries store them as the layer's first two arrays: H5 files under the layer's name, archives under the class's name
    with a counter, in the order of the layers. Returns nothing for a file whose counts do not agree.
    """
    names = [_name(node) for node in serialized_objects(facts.config) if _class_of(node) == "Normalization"]
    if not names or facts.kind not in (Kind.KERAS, Kind.H5_MODEL):
        return {}
    with _weights(path, facts.kind) as file:
        groups = _groups_by_class(file) if facts.kind is Kind.KERAS else _groups_by_name(file, names)
        if len(groups) != len(names):
            return {}
        pairs = {name: _mean_and_variance(group) for name, group in zip(names, groups, strict=True)}
    return {name: pair for name, pair in pairs.items() if pair is not None}


def _class_of(node: Mapping[str, Any]) -> str:
    return str(node.get("class_name")).split(">")[-1]


def _name(node: Mapping[str, Any]) -> str:
    inner = node.get("config")
    return str(inner.get("name")) if isinstance(inner, dict) else ""


def _groups_by_class(file: Any) -> list[Any]:
    """Groups called `normalization`, `normalization_1`, ... that hold `vars`, provided that one folder holds them all: otherwise
    their order is not known.
    """
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if re.fullmatch(r"normalization(_\d+)?", os.path.basename(name)) and isinstance(item, h5py.Group) and "vars" in item:
            found[name] = item["vars"]

    if file:
        file.visititems(visit)
    if len({os.path.dirname(name) for name in found}) > 1:
        return []
    return [found[name] for name in sorted(found, key=lambda name: int("0" + re.sub(r".*?(\d*)$", r"\1", name)))]


def _groups_by_name(file: Any, names: Sequence[str]) -> list[Any]:
    holder = file.get("model_weights", {})
    return [holder[name] for name in names if name in holder]


def _mean_and_variance(group: Any) -> Statistics | None:
    arrays: list[Any] = []
    named: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if hasattr(item, "shape") and item.shape is not None and item.dtype.kind == "f":
            arrays.append(item)
            named[os.path.basename(name).split(":")[0]] = item

    group.visititems(visit)
    mean, variance = named.get("mean", named.get("0")), named.get("variance", named.get("1"))
    if mean is None or variance is None or mean.shape != variance.shape or mean.size > _MAX_STATISTICS:
        return None
    return mean[()].ravel().tolist(), variance[()].ravel().tolist()
