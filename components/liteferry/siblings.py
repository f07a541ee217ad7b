"""Siblings: checkpoints that differ in their weights alone. Built and traced once; the others only bring their weights.

What could go wrong is weights that were not loaded, or not all: reference, SavedModel and variants would then agree on the
wrong numbers.
So every variable that computes is found again, to the last bit, among the arrays of the sibling's own file before it is used.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import io
import json
import math
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from liteferry import sandbox
from liteferry.checkpoints.archives import read_member
from liteferry.checkpoints.detect import CheckpointFacts, Kind, look
from liteferry.json_text import parse

if TYPE_CHECKING:
    from liteferry.plan import ModelPlan

_VARIABLE_KEY = re.compile(r"^graph_variables/(\d+)/\.ATTRIBUTES/VARIABLE_VALUE$")
_OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_SHAREABLE = (Kind.KERAS, Kind.H5_MODEL)
# Layers that keep more than variables: tables, vocabularies. A weights file alone does not restore them.
_STATEFUL = ("Lookup", "TextVectorization", "Hashing", "IntegerLookup", "Lambda")


_MOST_IN_A_CHUNK = 16
_MAX_CONFIG_BYTES = 64 * 2**20
_HDF5 = b"\x89HDF\r\n\x1a\n"
_LOOK_LIMITS = sandbox.Limits(seconds=60, memory_bytes=4 * 10**9)


def chunks(plans: Sequence[ModelPlan], *, processes: int) -> list[tuple[ModelPlan, ...]]:
    """Siblings in groups that are exported one after the other in one process.

    Building and tracing the first of a group takes as long as three others, so groups are as large as `processes`, all that work
    at once on all workers, leave them: every process gets as many groups as the others, of the same size.
    """
    ordered = sorted(plans, key=lambda plan: plan.model_id)
    size = chunk_size(len(ordered), processes=processes)
    return [tuple(ordered[start : start + size]) for start in range(0, len(ordered), size)]


def chunk_size(count: int, *, processes: int) -> int:
    """How many of `count` siblings go into one group; the last one may have fewer."""
    rounds = max(1, math.ceil(count / (_MOST_IN_A_CHUNK * processes)))
    return max(1, math.ceil(count / (rounds * processes)))


def share_key(facts: CheckpointFacts, *, recipe_digest: str) -> str | None:
    """What two checkpoints must have in common to share one trace, or None for one that shares with nobody.

    Names count, since they end in the artifacts; compile settings do not, since inference has no use for them.
    """
    if facts.kind not in _SHAREABLE:
        return None
    text = json.dumps(_architecture(facts.config, {}), sort_keys=True)
    if any(f'"class_name": "{name}' in text or f'{name}"' in text for name in _STATEFUL):
        return None
    parts = [recipe_digest, facts.kind.value, str(facts.keras_version), str(facts.weights_layout), text]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def share_key_of(path: str, *, recipe_digest: str) -> str | None:
    """`share_key` of a .keras archive or of an HDF5 file with its architecture; None for anything else, and for what cannot be
    read, which its own process will report.

    This runs outside any sandbox: of an archive only the two JSON members are read. HDF5 is parsed by native code, in a sandbox.
    """
    try:
        if os.path.isfile(path) and _starts_as_hdf5(path):
            return _share_key_isolated(path, recipe_digest)
        with zipfile.ZipFile(path) as archive:
            config, metadata = (
                parse(read_member(path, archive, name, most_bytes=_MAX_CONFIG_BYTES)) for name in ("config.json", "metadata.json")
            )
        facts = CheckpointFacts(kind=Kind.KERAS, keras_version=metadata.get("keras_version"), config=config)
        return share_key(facts, recipe_digest=recipe_digest)
    except Exception:  # noqa: BLE001  # whatever a stranger's bytes bring a reader to: this one shares with nobody
        return None


def _starts_as_hdf5(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(len(_HDF5)) == _HDF5


def _share_key_isolated(path: str, recipe_digest: str) -> str | None:
    outcome = sandbox.run(
        "liteferry.siblings:tell_share_key", (path, recipe_digest), flavor=sandbox.Flavor.KERAS, limits=_LOOK_LIMITS
    )
    key = outcome.results[0]["share_key"] if outcome.results else None
    return str(key) if key else None


def tell_share_key(request: tuple[str, str], reporter: Any) -> None:
    """In a sandbox: hands over {share_key} of an HDF5 file with its architecture.

    None for weights alone: two calls of a builder may make models that differ in more than weights.
    """
    path, recipe_digest = request
    facts = look(path)
    reporter.result({"share_key": share_key(facts, recipe_digest=recipe_digest) if facts.kind is Kind.H5_MODEL else None})


def _architecture(node: Any, seen_ids: dict[int, int]) -> Any:
    """A config without training settings, and with Keras's memory addresses numbered in the order they appear in."""
    if isinstance(node, dict):
        result = {}
        for key, value in node.items():
            if key == "shared_object_id":
                result[key] = seen_ids.setdefault(value, len(seen_ids))
            elif key not in ("compile_config", "training_config"):
                result[key] = _architecture(value, seen_ids)
        return result
    return [_architecture(item, seen_ids) for item in node] if isinstance(node, list) else node


class Weights:
    """Brings siblings' weights into a model that is traced already.

    Keras walks all of a model for that, which takes longer than reading the file. Once each variable was found equal to one
    array of a sibling's file and to no other, the same places of the next file are read without it.
    """

    def __init__(self) -> None:
        self._places: list[set[str]] | None = None

    def load(self, model: Any, path: str, facts: CheckpointFacts, variables: Sequence[Any]) -> bool:
        """Loads one sibling.

        Args:
          model: the Keras model that was traced. path, facts: the sibling's file.
          variables: the TensorFlow variables that the traced graph reads.

        Returns:
          Whether every one of `variables` now holds an array of that file, bit for bit. False: load the sibling on its own.
        """
        if self._load_directly(path, facts, variables):
            return True
        try:
            model.load_weights(path)
        except Exception:  # noqa: BLE001  # Keras raises anything here; on its own the sibling will say what is wrong with it
            return False
        stored = _stored_arrays(path, facts)
        wanted = collections.Counter(_fingerprint(variable.numpy()) for variable in variables)
        if wanted - collections.Counter(_fingerprint(array) for array in stored.values()):
            return False
        self._learn(stored, variables)
        return True

    def _learn(self, stored: Mapping[str, np.ndarray], variables: Sequence[Any]) -> None:
        by_value: dict[tuple[Any, ...], set[str]] = collections.defaultdict(set)
        for name, array in stored.items():
            by_value[_exact(array)].add(name)
        places = [by_value.get(_exact(variable.numpy()), set()) for variable in variables]
        # Arrays that are equal in one file, zeros say, are told apart by the next.
        self._places = places if self._places is None else [old & new for old, new in zip(self._places, places, strict=True)]

    def _load_directly(self, path: str, facts: CheckpointFacts, variables: Sequence[Any]) -> bool:
        if self._places is None or any(len(names) != 1 for names in self._places):
            return False
        names = [name for (name,) in self._places]
        if len(set(names)) != len(names):
            return False
        try:
            arrays = _read_arrays(path, facts, names)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return False
        if any(
            array.shape != variable.shape or array.dtype != variable.dtype.as_numpy_dtype
            for array, variable in zip(arrays, variables, strict=True)
        ):
            return False
        for array, variable in zip(arrays, variables, strict=True):
            variable.assign(array)
        return all(array.tobytes() == variable.numpy().tobytes() for array, variable in zip(arrays, variables, strict=True))


def _exact(array: np.ndarray) -> tuple[Any, ...]:
    return array.shape, array.dtype.str, hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()


def _fingerprint(array: np.ndarray) -> bytes:
    """Of the values as float32 or as they are; files of Keras 2 may hold float64, scalars may be stored with or without an
    axis.
    """
    plain = np.ascontiguousarray(array if array.dtype.kind != "f" or array.dtype.itemsize <= 4 else array.astype(np.float32))
    return hashlib.sha256(plain.tobytes()).digest()


@contextlib.contextmanager
def _weights_file(path: str, facts: CheckpointFacts) -> Iterator[Any]:
    import h5py

    source: Any = path
    if facts.kind is Kind.KERAS:
        with zipfile.ZipFile(path) as archive:
            source = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(source, "r") as file:
        yield file


def _stored_arrays(path: str, facts: CheckpointFacts) -> dict[str, np.ndarray]:
    """Every array of a file by its place in it."""
    import h5py

    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item)

    with _weights_file(path, facts) as file:
        file.visititems(visit)
    return found


def _read_arrays(path: str, facts: CheckpointFacts, names: Sequence[str]) -> list[np.ndarray]:
    with _weights_file(path, facts) as file:
        return [np.asarray(file[name]) for name in names]


class SavedModelTemplate:
    """A SavedModel that was written in full, for siblings: the same graph, other variables."""

    def __init__(self, directory: str, scratch: str) -> None:
        """Keeps a copy without the variables; `directory` may be moved away afterwards.

        Raises:
          ValueError: when its variables are not only the graph's own, in order.
        """
        import tensorflow as tf

        reader = tf.train.load_checkpoint(os.path.join(directory, "variables", "variables"))
        self._indices: dict[str, int] = {}
        for key in reader.get_variable_to_shape_map():
            match = _VARIABLE_KEY.match(key)
            if match is not None:
                self._indices[key] = int(match[1])
            elif key != _OBJECT_GRAPH_KEY:
                raise ValueError(f"{directory}: holds {key}, which is not one of the graph's variables")
        self._object_graph = reader.get_tensor(_OBJECT_GRAPH_KEY)
        self._copy = scratch
        shutil.copytree(directory, scratch, ignore=shutil.ignore_patterns("variables", "assets.extra"))

    def write(self, directory: str, *, variables: Sequence[Any], metadata: Mapping[str, Any]) -> None:
        """Writes the SavedModel of a sibling: the graph copied, its variables and metadata new."""
        import tensorflow as tf
        from tensorflow.python.saved_model import fingerprinting_utils

        shutil.copytree(self._copy, directory)
        names = sorted(self._indices)
        os.makedirs(os.path.join(directory, "variables"))
        tf.raw_ops.SaveV2(
            prefix=os.path.join(directory, "variables", "variables"),
            tensor_names=[*names, _OBJECT_GRAPH_KEY],
            shape_and_slices=[""] * (len(names) + 1),
            tensors=[*(variables[self._indices[name]] for name in names), tf.constant(self._object_graph)],
        )
        with open(os.path.join(directory, "assets", "metadata.json"), "w", encoding="utf-8") as file:
            json.dump(metadata, file, indent=2, sort_keys=True)
        os.remove(os.path.join(directory, "fingerprint.pb"))
        fingerprinting_utils.write_fingerprint(directory)
