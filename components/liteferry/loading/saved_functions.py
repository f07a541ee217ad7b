"""Saves ConcreteFunctions as a SavedModel that tracks their variables, their tables, and the initializers of the tables."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_DEFAULT = "serving_default"
_NO_SCOPE = r"[^A-Za-z0-9_.\\/>:-]"
_SCOPE = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\\/>:-]*$")  # valid TensorFlow tensor names: a node name and an output number


def write(
    signatures: Mapping[str, Any],
    directory: str,
    *,
    keep: Any,
    resources: Iterable[Any] = (),
    tracked: Mapping[str, Any] | None = None,
) -> None:
    """Saves functions by the names of their signatures.

    Args:
      directory: created by this call.
      keep: the object that loaded the model; searched for tables and other resources that the graphs use.
      resources: tables that they use and that `keep` does not refer to.
      tracked: name -> other objects to track.

    Raises:
      Exception: whatever TensorFlow raises.
    """
    import tensorflow as tf

    module = tf.Module()
    module.graph_variables = list(_variables(signatures))
    owners = {id(owner): owner for owner in _resources(keep, signatures.values())}
    owners.update({id(owner): owner for owner in resources})
    module.resources = list(owners.values())
    for name, value in (tracked or {}).items():
        setattr(module, name, value)
    with _scope_names(module.graph_variables):
        tf.saved_model.save(module, directory, signatures=dict(signatures))


def read_metadata(directory: str) -> dict[str, Any]:
    """`assets/metadata.json` of a SavedModel that LiteFerry wrote; empty where there is none that can be read."""
    try:
        with open(os.path.join(directory, "assets", "metadata.json"), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def proven_signature(metadata: Mapping[str, Any]) -> str:
    """The signature that the metadata of a SavedModel says is the proven one."""
    found = metadata.get("proven_signature", _DEFAULT)
    return found if isinstance(found, str) else _DEFAULT


@contextlib.contextmanager
def _scope_names(variables: Iterable[Any]) -> Iterator[None]:
    """Replaces names that TensorFlow cannot save while the context lasts: layer names may contain blanks or letters of any
    language.
    """
    named = [
        (variable, name) for variable in variables if (name := getattr(variable, "_handle_name", "")) and not _SCOPE.match(name)
    ]
    try:
        for variable, name in named:
            variable._handle_name = f"x{re.sub(_NO_SCOPE, '_', name)}"
        yield
    finally:
        for variable, name in named:
            variable._handle_name = name


def _variables(signatures: Mapping[str, Any]) -> Iterator[Any]:
    """The variables the signatures read, serving_default's first and in its graph's order."""
    seen: set[int] = set()
    for function in signatures.values():
        for variable in function.graph.variables:
            if id(variable) not in seen:
                seen.add(id(variable))
                yield variable


def _resources(keep: Any, functions: Iterable[Any]) -> Iterator[Any]:
    """Lookup tables and similar resources. A graph refers to them but does not own them, so their owner must be tracked for
    them to be saved.
    """
    captured = {id(tensor) for function in functions for tensor in function.captured_inputs}
    for owner in _owners(keep):
        # A TensorFlow 1 model holds its tables in the graph, and nothing captures their initializers. The initializers' files
        # must be tracked too, or their paths on this machine would become constants in the export.
        if type(owner).__name__ == "_Initializer":
            yield owner
            yield from owner._asset_paths
        elif id(owner.resource_handle) in captured:
            yield owner


def _owners(keep: Any) -> Iterator[Any]:
    """Every resource below a Keras model, or below whatever else loaded the model."""
    from tensorflow.python.checkpoint.trackable_view import TrackableView
    from tensorflow.python.trackable.resource import CapturableResource

    if hasattr(keep, "_flatten_layers"):
        objects = [value for layer in keep._flatten_layers() for value in list(vars(layer).values())]
    else:
        root = keep[0] if isinstance(keep, tuple) else keep
        objects = TrackableView(root).descendants() if hasattr(root, "_trackable_children") else []
    for value in objects:
        if isinstance(value, CapturableResource):
            yield value
