"""TensorFlow's object checkpoints: which variable of a model an array belongs to, by the objects that hold it and by its name.

Such a checkpoint follows attributes: `encoder/kernel`. Layers in Functional and Sequential models have no attribute, only a
number (`layer_with_weights-3`, `_operations/3`), which changes when a builder makes branches in another order. The checkpoint
also stores every variable's own name; where the path contains a number, that name decides.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from liteferry.loading.weights.names import LayerNames, Slot, match

KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VARIABLE = "VARIABLE_VALUE"
_NUMBERED = re.compile(r"^(?:.*/)?(?:layer(?:_with_weights)?-\d+|(?:_operations|_layers|layers)/\d+)(?=/)")
# Names of objects with training state or TensorFlow's own records, at any depth. They are not searched: a Keras 3 optimizer
# refers to every variable that it trains, by a shorter path than the model.
_NAMES = """
optimizer _optimizer save_counter global_step keras_api metrics _metrics compile_metrics _compile_metrics compile_loss
_compile_loss loss_tracker _loss_tracker seed_generator _seed_generator seed_generators _seed_generators _random_generator
"""
_BOOKKEEPING = frozenset(_NAMES.split())


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredVariable:
    """One array: its key in the checkpoint, the path of objects to it, the variable's own name, its shape."""

    key: str
    path: str
    full_name: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
    """A place in a checkpoint that may be the model: the root, or one of the objects below it.

    Attributes:
      name: of the object; "" for the root.
      found: the arrays that match objects of the model, with the variable.
      left: arrays below this place that match nothing in the model.
      missing: names of variables of the model without an array.
    """

    name: str
    found: tuple[tuple[StoredVariable, Any], ...]
    left: tuple[StoredVariable, ...]
    missing: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether every array below is used and every variable filled."""
        return not self.left and not self.missing and bool(self.found)


def holders(reader: Any, root: Any, variables: Mapping[str, Any], *, not_models: set[str]) -> list[Holder]:
    """Every place of a checkpoint, compared with the model.

    Args:
      reader: a checkpoint reader.
      root: the object that tracks the model's variables.
      variables: the model's variables by name, as its objects hold them.
      not_models: names of objects that belong to training.
    """
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(KEY))
    shapes = reader.get_variable_to_shape_map()
    starts = [("", 0)] + [(one.local_name, one.node_id) for one in graph.nodes[0].children if one.local_name not in not_models]
    held = []
    between_calls = _kept_between_calls(root)
    for name, node in starts:
        alike = list(_alike(graph, node, root))
        left_out = {number for number, live in alike if _is_metric(live) or id(live) in between_calls}
        stored = dict(_below(graph, node, shapes, not_models=not_models, left_out=left_out))
        held.append(_held_against(name, stored, alike, variables))
    return held


def _is_metric(live: Any) -> bool:
    return any(base.__name__ == "Metric" for base in type(live).__mro__)


def _kept_between_calls(root: Any) -> set[int]:
    """The ids of what stateful recurrent layers remember: every call begins at zeros, so their stored values do not matter."""
    import tensorflow as tf

    layers = root._flatten_layers() if hasattr(root, "_flatten_layers") else ()
    states = [tf.nest.flatten(getattr(layer, "states", None)) for layer in layers if getattr(layer, "stateful", False)]
    every = [state for of_layer in states for state in of_layer if state is not None]
    return {id(state) for state in every} | {id(getattr(state, "_value", state)) for state in every}


def _held_against(
    name: str, stored: Mapping[int, StoredVariable], alike: Sequence[tuple[int, Any]], variables: Mapping[str, Any]
) -> Holder:
    ours = {id(variable): own for own, variable in variables.items()}
    found: dict[int, tuple[StoredVariable, Any]] = {}
    for node, live in alike:
        if node in stored and id(live) in ours and node not in found and _could_hold(live, stored[node].shape):
            found[node] = (stored[node], live)
    filled = {id(live) for _, live in found.values()}
    return Holder(
        name=name,
        found=tuple(found.values()),
        left=tuple(variable for node, variable in stored.items() if node not in found),
        missing=tuple(own for own, variable in variables.items() if id(variable) not in filled),
    )


def _could_hold(variable: Any, shape: tuple[int, ...]) -> bool:
    open_shape = tuple(variable.shape)
    fits = all(size in (None, stored) for size, stored in zip(open_shape, shape, strict=False))
    return len(open_shape) == len(shape) and fits


def _below(
    graph: Any, start: int, shapes: Mapping[str, Any], *, not_models: Collection[str], left_out: Collection[int]
) -> Iterator[tuple[int, StoredVariable]]:
    """The model's arrays below a node, each once, with the first path to it.

    `not_models` are names directly below the node that belong to training; `left_out` are nodes that are never the model's.
    """
    pending, seen = [(start, "")], {start}
    while pending:
        number, path = pending.pop(0)
        node = graph.nodes[number]
        for attribute in node.attributes:
            if attribute.name == _VARIABLE and attribute.checkpoint_key in shapes:
                key = attribute.checkpoint_key
                yield number, StoredVariable(key=key, path=path, full_name=attribute.full_name, shape=tuple(shapes[key]))
        for child in node.children:
            is_training_s = child.local_name in _BOOKKEEPING or (not path and child.local_name in not_models)
            if child.node_id not in seen and child.node_id not in left_out and not is_training_s:
                seen.add(child.node_id)
                pending.append((child.node_id, os.path.join(path, child.local_name)))


def _alike(graph: Any, start: int, root: Any) -> Iterator[tuple[int, Any]]:
    """Nodes of the checkpoint with the live objects that lie at the same paths."""
    import tensorflow as tf

    pending = [(start, root)]
    seen = {(start, id(root)): root}  # keep the objects alive: TensorFlow's wrapper of a list would be freed, and its id reused
    while pending:
        number, live = pending.pop(0)
        yield number, live
        children = tf.train.TrackableView.children(live)
        for child in graph.nodes[number].children:
            inner = children.get(child.local_name)
            if inner is not None and (child.node_id, id(inner)) not in seen:
                seen[(child.node_id, id(inner))] = inner
                pending.append((child.node_id, inner))


def by_name(holder: Holder, names: LayerNames) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Key of every array of a holder that fits -> the variable that its name gives, and notes about arrays matched without a
    name.

    Raises:
      NoMatchError: where numbers and names disagree, and names alone do not decide.
    """
    theirs = _slots(holder.found, [stored.full_name for stored, _ in holder.found])
    ours = _slots(holder.found, [_name(live) for _, live in holder.found])
    if theirs == ours or not all(stored.full_name for stored, _ in holder.found):
        return {stored.key: live for stored, live in holder.found}, ()
    matching = match(theirs, ours, names)
    pairs = {holder.found[at][0].key: holder.found[number][1] for number, at in enumerate(matching.places)}
    return pairs, matching.notes


def _name(live: Any) -> str:
    return str(live._shared_name)  # the full name in a checkpoint; a Keras 3 variable's own name is only its last part


def _slots(found: Sequence[tuple[StoredVariable, Any]], full_names: Sequence[str]) -> list[Slot]:
    """Each array under the name of the numbered layer it belongs to, and the attributes below that."""
    units = [(_numbered(stored.path), name) for (stored, _), name in zip(found, full_names, strict=True)]
    scopes: dict[str, list[str]] = {}
    for unit, name in units:
        parts = name.split("/")[:-1]
        known = scopes.get(unit, parts)
        scopes[unit] = [one for one, other in zip(known, parts, strict=False) if one == other] if known != parts else parts
    slots = []
    for (stored, _), (unit, _) in zip(found, units, strict=True):
        scope = "/".join(scopes[unit]) if unit else ""
        below = stored.path[len(unit) :].strip("/")
        slots.append(Slot(name=f"{scope}/{below}" if scope else below, shape=stored.shape))
    return slots


def _numbered(path: str) -> str:
    """The path to the innermost layer that has a number instead of an attribute; "" where attributes lead all the way."""
    found = _NUMBERED.search(path)
    return found[0] if found else ""


def full_names(variables: Sequence[StoredVariable]) -> list[Slot]:
    """Arrays under the variables' own names, for messages and for models that hold them in other objects."""
    return [Slot(name=variable.full_name or variable.path, shape=variable.shape) for variable in variables]


def beside_variables(reader: Any) -> list[Slot]:
    """State stored by objects other than variables, such as the contents of tables."""
    shapes = reader.get_variable_to_shape_map()
    return [Slot(name=key, shape=tuple(shapes[key])) for key in sorted(shapes) if key != KEY and not key.endswith(_VARIABLE)]
