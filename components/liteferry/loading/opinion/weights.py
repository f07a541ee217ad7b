"""Weights into a builder's model, for the second opinion: the library's own reader, or by the names in the file where that reader
goes by position and positions are known to differ. The table is in docs/checkpoints.md.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.checkpoints.detection import BY_PATH, CheckpointFacts, Kind

Pairs = dict[str, tuple[Any, np.ndarray]]

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_NOT_MODELS = ("optimizer", "metrics", "seed_generator")
_BY_NAME = "the library's reader goes by position, but the file has another order (keras#12865): loaded by name"


def load(path: str, model: Any, library: Any, facts: CheckpointFacts, *, by_position: bool) -> tuple[str, ...]:
    """Fills a Keras model from HDF5 or a `.keras` archive. Returns the corrections that were made."""
    if facts.weights_layout == BY_PATH:
        return set_state_tree(path, model, facts) + finalised(model, library, facts)
    found = None if by_position else _pairs(path, model, library, facts)
    try:
        model.load_weights(path)
    except Exception:
        if not found:
            raise  # positions do not fit, and names do not decide either
    return _assigned(found) + finalised(model, library, facts)


def set_state_tree(path: str, model: Any, facts: CheckpointFacts) -> tuple[str, ...]:
    """Fills a model of Keras 3 as its reader of Orbax folders does, which leaves out variables whose path it does not find.
    Returns the correction, if one was made.

    Raises:
      ValueError: variables are left, and the counts in their names do not tell which arrays are theirs.
    """
    with _open(path, facts) as file:
        tree = _tree(file)
    model.set_state_tree(tree)
    stored = {"/".join(keys): value for part in tree.values() for keys, value in _leaves(part)}
    left = {weight.path: weight for weight in model.weights if weight.path not in stored}
    if not left:
        return ()
    inner = {layer.name for layer in [model, *model._flatten_layers()] if getattr(layer, "layers", None)}
    spare = stored.keys() - {weight.path for weight in model.weights}
    theirs, ours = (sorted((*_counted(path, inner), path) for path in paths) for paths in (spare, left))
    if [name for name, _, _ in theirs] != [name for name, _, _ in ours]:
        told = ", ".join(path for *_, path in theirs[:5]) or "no others"
        raise ValueError(f"variables {', '.join(list(left)[:5])} are not in the file, which has {told}")
    for (_, _, own), (_, _, other) in zip(ours, theirs, strict=True):
        left[own].assign(stored[other])
    return (
        "Keras leaves out variables whose paths were counted or nested differently: loaded by their layers' names and numbers",
    )


def _leaves(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, item in tree.items():
        yield from _leaves(item, (*above, name)) if isinstance(item, dict) else [((*above, name), item)]


def _counted(path: str, inner: Collection[str]) -> tuple[str, list[int]]:
    """A path without the names of inner models and without counts, and the counts."""
    *scopes, own = path.split("/")
    parts = [*(scope for scope in scopes[:-1] if scope not in inner), *scopes[-1:], own]
    found = [re.search(r"_(\d+)$", part) for part in parts]
    return "/".join(re.sub(r"_\d+$", "", part) for part in parts), [int(number[1]) if number else 0 for number in found]


def _tree(group: Any) -> dict[str, Any]:
    return {name: _tree(item) if hasattr(item, "keys") else np.asarray(item) for name, item in group.items()}


def by_name_where_it_differs(path: str, model: Any, library: Any, facts: CheckpointFacts) -> tuple[str, ...]:
    """For a whole model in HDF5, filled by its library: moves arrays that the library put into another layer's variables to where
    their names say. Returns the correction, if any was made.
    """
    return _assigned(_pairs(path, model, library, facts))


def _pairs(path: str, model: Any, library: Any, facts: CheckpointFacts) -> Pairs | None:
    with _open(path, facts) as file:
        is_legacy = facts.weights_layout == "legacy" or facts.kind is Kind.H5_MODEL
        return _by_legacy_names(file, model, library) if is_legacy else _by_layer_names(file, model)


def _assigned(found: Pairs | None) -> tuple[str, ...]:
    """Puts each array that is not there already into its variable."""
    wrong = [(variable, value) for variable, value in (found or {}).values() if not np.array_equal(_values(variable), value)]
    for variable, value in wrong:
        variable.assign(value)
    return (_BY_NAME,) if wrong else ()


def _values(variable: Any) -> np.ndarray:
    return np.asarray(variable.numpy() if hasattr(variable, "numpy") else variable)


def finalised(model: Any, library: Any, facts: CheckpointFacts) -> tuple[str, ...]:
    """Recomputes state that follows from variables, where the library's reader does not: Keras 3 after HDF5, both after
    TensorFlow's checkpoints, tf_keras for its own layers in an archive. Returns what was done beyond the library.
    """
    layers = [layer for layer in model._flatten_layers() if layer is not model]
    knows_protocol = (facts.kind is Kind.KERAS and facts.weights_layout != BY_PATH) or facts.weights_layout == "keras_v3"
    said: tuple[str, ...] = () if knows_protocol else _through_themselves(layers)
    left_out = [layer for layer in layers if hasattr(layer, "finalize_state") and _is_left_out(layer, library, knows_protocol)]
    for layer in left_out:
        layer.finalize_state()
    if library.__name__ == "keras" and left_out:
        said += (f"finalize_state() of {', '.join(layer.name for layer in left_out)}, which Keras 3 leaves out (keras#20163)",)
    return said


def _is_left_out(layer: Any, library: Any, knows_protocol: bool) -> bool:
    is_librarys = type(layer).__module__.startswith(f"{library.__name__}.")
    if is_librarys:  # the boundaries of Keras 3's Discretization stand in its config, and its summary is not saved
        return not (library.__name__ == "keras" and type(layer).__name__ == "Discretization")
    return not knows_protocol


def _through_themselves(layers: Sequence[Any]) -> tuple[str, ...]:
    """The user's layers that load their own variables: only archives and the new layout of HDF5 call them."""
    called = []
    for layer in layers:
        own = getattr(type(layer), "load_own_variables", None)
        if own is None or str(own.__module__).startswith(("keras.", "tf_keras.")):
            continue
        store: dict[str, Any] = {}
        layer.save_own_variables(store)
        layer.load_own_variables({key: np.asarray(value) for key, value in store.items()})
        called.append(layer.name)
    return (f"load_own_variables() of {', '.join(called)}, which this kind of file does not call",) if called else ()


@contextlib.contextmanager
def _open(path: str, facts: CheckpointFacts) -> Iterator[Any]:
    import h5py

    source: Any = path
    if facts.kind is Kind.KERAS:
        with zipfile.ZipFile(path) as archive:
            source = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(source, "r") as file:
        yield file


def _by_legacy_names(file: Any, model: Any, library: Any) -> Pairs | None:
    """Variables and their arrays, matched by name; None if names do not decide."""
    group = file.get("model_weights", file)
    stored: list[tuple[str, np.ndarray]] = []
    for layer in _names(group, "layer_names"):
        stored += [(_plain(name), np.asarray(group[layer][name])) for name in _names(group[layer], "weight_names")]
    variables = [
        (_plain(str(weight.path if library.__name__ == "keras" else weight.name)), weight)
        for layer in model.layers
        for weight in [*layer.trainable_weights, *layer.non_trainable_weights]
    ]
    return _paired(stored, variables)


def _names(group: Any, key: str) -> list[str]:
    """A list of names; HDF5 limits attributes to 64 kB, so Keras cuts long lists into chunks."""
    chunks = (
        [key]
        if key in group.attrs
        else sorted(
            (name for name in group.attrs if re.fullmatch(rf"{key}\d+", name)), key=lambda name: int(name.removeprefix(key))
        )
    )
    return [name.decode() if isinstance(name, bytes) else str(name) for chunk in chunks for name in group.attrs[chunk]]


def _plain(name: str) -> str:
    return name.removesuffix(":0")


def _by_layer_names(file: Any, model: Any) -> Pairs | None:
    """The new layout: a group for each layer, in the order of its class, which has the layer's name as an attribute."""
    stored: list[tuple[str, np.ndarray]] = []

    def visit(place: str, item: Any) -> None:
        is_models = not any(part.strip("_").startswith(_NOT_MODELS) for part in place.split("/"))
        if is_models and place.split("/")[-1] == "vars" and "name" in item.attrs:
            name = item.attrs["name"]
            plain = name.decode() if isinstance(name, bytes) else str(name)
            stored.extend((f"{plain}/{key}", np.asarray(item[key])) for key in sorted(item, key=_number))

    file.visititems(visit)
    variables = [
        (f"{layer.name}/{at}", weight)
        for layer in model._flatten_layers()
        for at, weight in enumerate(
            [*getattr(layer, "_trainable_variables", ()), *getattr(layer, "_non_trainable_variables", ())]
        )
    ]
    return _paired(stored, variables)


def _number(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isdigit() else (-1, key)


def _paired(stored: Sequence[tuple[str, np.ndarray]], variables: Sequence[tuple[str, Any]]) -> Pairs | None:
    names, own = [name for name, _ in stored], [name for name, _ in variables]
    by_name = dict(variables)
    if len(by_name) != len(own) or sorted(names) != sorted(own):
        return None
    if any(tuple(by_name[name].shape) != value.shape for name, value in stored):
        return None
    return {name: (by_name[name], value) for name, value in stored}


def prefix_of(path: str) -> str:
    """The prefix of a TensorFlow checkpoint, named by its index or by its folder."""
    import tensorflow as tf

    if not os.path.isdir(path):
        return path.removesuffix(".index")
    latest = tf.train.latest_checkpoint(path)
    with open(os.path.join(path, "checkpoint"), encoding="utf-8") as file:  # the folder may have been moved since
        named = os.path.basename(re.findall(r'model_checkpoint_path:\s*"([^"]*)"', file.read())[0])
    return latest or os.path.join(path, named)


def restore(path: str, root: Any) -> tuple[str, ...]:
    """Fills what a builder returned from a TensorFlow checkpoint, with TensorFlow's own reader."""
    import tensorflow as tf
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    prefix = prefix_of(path)
    reader = tf.compat.v1.train.NewCheckpointReader(prefix)
    if not reader.has_tensor(_OBJECT_GRAPH):
        return _restore_names(reader, root)
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_OBJECT_GRAPH))
    problem: Exception | None = None
    for holder in ("", *(child.local_name for child in graph.nodes[0].children)):
        try:
            checkpoint = tf.train.Checkpoint(**{holder: root}) if holder else tf.train.Checkpoint(root)
            checkpoint.read(prefix).assert_existing_objects_matched().expect_partial()
            return _assigned(_by_full_names(reader, graph, root))
        except (AssertionError, ValueError, TypeError) as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _by_full_names(reader: Any, graph: Any, root: Any) -> Pairs | None:
    """Variables and their arrays by the names that the object graph gives: its paths count layers in the order they were made."""
    keys = {
        _plain(attribute.full_name): attribute.checkpoint_key
        for node in graph.nodes
        for attribute in node.attributes
        if attribute.name == "VARIABLE_VALUE" and attribute.full_name
    }
    variables = [
        (_plain(str(getattr(weight, "path", weight.name))), weight) for weight in getattr(root, "weights", None) or root.variables
    ]
    if not {name for name, _ in variables} <= keys.keys():
        return None
    return _paired([(name, reader.get_tensor(keys[name])) for name, _ in variables], variables)


def _restore_names(reader: Any, root: Any) -> tuple[str, ...]:
    """A checkpoint of TensorFlow 1 into objects of TensorFlow 2: matched by name, as a user's script would have to do."""
    variables: Mapping[str, Any] = {
        str(getattr(variable, "path", variable.name)).removesuffix(":0"): variable
        for variable in getattr(root, "weights", None) or root.variables
    }
    names = set(reader.get_variable_to_shape_map())
    prefix = f"{getattr(root, 'name', '')}/"
    if not set(variables) <= names:
        variables = {name.removeprefix(prefix): variable for name, variable in variables.items()}
    for name, variable in variables.items():
        variable.assign(reader.get_tensor(name))
    return ("variables of TensorFlow 1's Saver are assigned by name: no loader puts them into a model of TensorFlow 2",)
