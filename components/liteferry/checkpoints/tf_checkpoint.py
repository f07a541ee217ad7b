"""TensorFlow's own checkpoints: `tf.train.Checkpoint` and TensorFlow 1's `Saver`, both a prefix with an index and data files.

They hold arrays under names and no function, so a builder gives that. Which variable gets which array is checked array by array.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
# The magic number at the end of an index file, a LevelDB table.
_TABLE_MAGIC = bytes.fromhex("57fb808b247547db")
_NOT_MODELS = {"optimizer", "save_counter", "step", "global_step", "epoch", "keras_api"}


def is_index(path: str) -> bool:
    """Whether a file is the index of a checkpoint."""
    if not path.endswith(".index") or os.path.getsize(path) < len(_TABLE_MAGIC):
        return False
    with open(path, "rb") as file:
        file.seek(-len(_TABLE_MAGIC), os.SEEK_END)
        return file.read() == _TABLE_MAGIC


def latest_prefix(directory: str) -> str | None:
    """The prefix that a folder's `checkpoint` file names. Only its last part counts: the folder may have been moved since."""
    state = os.path.join(directory, "checkpoint")
    if not os.path.isfile(state) or os.path.getsize(state) > 2**20:
        return None
    with open(state, encoding="utf-8", errors="replace") as file:
        named = re.search(r'^model_checkpoint_path:\s*"([^"]*)"', file.read(), re.MULTILINE)
    if named is None:
        return None
    prefix = os.path.join(directory, os.path.basename(named[1].replace("\\\\", "/").replace("\\", "/")))
    return prefix if os.path.isfile(f"{prefix}.index") else None


def prefix_of(path: str) -> str:
    """The prefix behind what the job names: an .index file, or a folder with a `checkpoint` file."""
    if os.path.isdir(path):
        prefix = latest_prefix(path)
        assert prefix is not None, path  # `detect` has seen it
        return prefix
    return path.removesuffix(".index")


def restore(path: str, prefix: str, variables: Mapping[str, Any], *, root: Any | None) -> None:
    """Fills variables from a checkpoint.

    Args:
      path: as the job names it, for errors.
      prefix: of the checkpoint.
      variables: what computes, by name.
      root: the object that tracks them, for checkpoints that follow objects; None for a graph of TensorFlow 1.

    Raises:
      ModelError: LOAD_CORRUPT when it cannot be read, LOAD_FAILED when a variable has no array in it.
    """
    import tensorflow as tf

    try:
        reader = tf.compat.v1.train.NewCheckpointReader(
            prefix
        )  # not load_checkpoint: a prefix may end in a slash, with files `.index`
        shapes = reader.get_variable_to_shape_map()
    except Exception as error:
        raise ModelError(
            ReasonCode.LOAD_CORRUPT,
            Stage.LOAD,
            f"{prefix}: not a whole TensorFlow checkpoint ({error}); copy it with its .data files",
        ) from error
    if not variables:
        raise ModelError(
            ReasonCode.LOAD_FAILED,
            Stage.LOAD,
            f"{path}: the builder's model has no variables yet; call or build it in the builder",
        )
    if _OBJECT_GRAPH in shapes and root is not None:
        _restore_objects(path, prefix, reader, variables, root)
    else:
        names = set(shapes) - {_OBJECT_GRAPH}
        _restore_names(path, reader.get_tensor, names, _without_model_name(variables, names, root))


def _restore_objects(path: str, prefix: str, reader: Any, variables: Mapping[str, Any], root: Any) -> None:
    import tensorflow as tf
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(_OBJECT_GRAPH))
    children = [child.local_name for child in graph.nodes[0].children if child.local_name not in _NOT_MODELS]
    stored = _stored_arrays(reader)
    missing = ""
    for holder in (None, *children):
        checkpoint = tf.train.Checkpoint(root) if holder is None else tf.train.Checkpoint(**{holder: root})
        try:
            checkpoint.read(prefix).assert_existing_objects_matched().expect_partial()
        except Exception as error:  # noqa: BLE001  # TensorFlow raises anything for a holder that is not the right one
            missing = missing or str(error).split("\n")[0]
            continue
        if all(_key(variable.numpy()) in stored for variable in variables.values()):
            return
    names = ", ".join(children[:10]) or "none"
    raise ModelError(
        ReasonCode.LOAD_FAILED,
        Stage.LOAD,
        f"{path}: the builder's model does not fit the checkpoint (objects in it: {names}; first problem: "
        f"{missing or 'arrays differ'}); "
        "build it with the same attributes as when it was saved",
    )


def _stored_arrays(reader: Any) -> set[bytes]:
    keys = (name for name in reader.get_variable_to_shape_map() if name != _OBJECT_GRAPH)
    return {_key(np.asarray(reader.get_tensor(key))) for key in keys}


def _key(array: np.ndarray) -> bytes:
    return repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()


def _restore_names(path: str, read: Callable[[str], Any], names: set[str], variables: Mapping[str, Any]) -> None:
    missing = sorted(name for name in variables if name not in names)
    if missing:
        raise ModelError(
            ReasonCode.LOAD_FAILED,
            Stage.LOAD,
            f"{path}: no array for {len(missing)} of {len(variables)} variables ({_some(missing)}); it holds "
            f"{_some(sorted(names))}. Name layers and scopes in the builder as they were in training",
        )
    for name, variable in variables.items():
        value = read(name)
        if tuple(value.shape) != tuple(variable.shape):
            raise ModelError(
                ReasonCode.LOAD_FAILED,
                Stage.LOAD,
                f"{path}: {name} has the shape {list(value.shape)}, the builder's model wants {list(variable.shape)}",
            )
        variable.assign(value)


def _without_model_name(variables: Mapping[str, Any], names: set[str], root: Any) -> Mapping[str, Any]:
    """Keras 3 puts the model's name before a variable's path, TensorFlow 1's layers never had one: `sequential/hidden/kernel` is
    `hidden/kernel` where the checkpoint knows every variable so, and none under its whole path.
    """
    prefix = f"{getattr(root, 'name', '')}/"
    shorter = {name.removeprefix(prefix): variable for name, variable in variables.items()}
    is_shorter = len(shorter) == len(variables) and shorter.keys() <= names and not variables.keys() & names
    return shorter if is_shorter else variables


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")
