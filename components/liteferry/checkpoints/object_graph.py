"""TensorFlow's object checkpoints: which variable of a model an array belongs to, by the objects that hold it and by its name.

Such a checkpoint follows attributes: `encoder/kernel`. What Keras puts into Functional and Sequential models has no attribute,
only a number (`layer_with_weights-3`, `_operations/3`), which changes where a builder makes branches in another order. The
checkpoint also keeps every variable's own name; where a number stands in the path, that name decides.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liteferry.checkpoints.weight_names import LayerNames, Slot, match

KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VARIABLE = "VARIABLE_VALUE"
_NUMBERED = re.compile(r"^(?:.*/)?(?:layer(?:_with_weights)?-\d+|(?:_operations|_layers|layers)/\d+)(?=/)")
# Training's state and TensorFlow's own records, at any depth of a path.
_BOOKKEEPING = re.compile(
    r"(^|/)(optimizer|_optimizer|\.OPTIMIZER_SLOT|save_counter|global_step|step|epoch|iterations|keras_api|metrics|_metrics|"
    r"_?compile_metrics|_?compile_loss|_?loss_tracker|_?seed_generators?|_random_generator|learning_rate)(/|$)"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredVariable:
    """One array: its key in the checkpoint, the path of objects to it, the variable's own name, its shape."""

    key: str
    path: str
    full_name: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
    """A place in a checkpoint that a model may be: the root, or one of the objects that it holds.

    Attributes:
      name: of the object; "" for the root.
      found: the arrays that objects of the model answer to, with the TensorFlow variable.
      left: arrays below this place that nothing of the model answers to.
      missing: variables of the model that no array is for, by name.
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
    """Every place of a checkpoint held against a model.

    Args:
      reader: a checkpoint reader.
      root: the object that tracks the model's variables.
      variables: the model's TensorFlow variables by name.
      not_models: names of objects that are training's.
    """
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(KEY))
    shapes = reader.get_variable_to_shape_map()
    starts = [("", 0)] + [(one.local_name, one.node_id) for one in graph.nodes[0].children if one.local_name not in not_models]
    return [_held_against(name, node, graph, shapes, root, variables) for name, node in starts]


def _held_against(
    name: str, start: int, graph: Any, shapes: Mapping[str, Any], root: Any, variables: Mapping[str, Any]
) -> Holder:
    stored = dict(_below(graph, start, shapes))
    ours = {id(variable): own for own, variable in variables.items()}
    found: dict[int, tuple[StoredVariable, Any]] = {}
    for node, live in _alike(graph, start, root):
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


def _below(graph: Any, start: int, shapes: Mapping[str, Any]) -> Iterator[tuple[int, StoredVariable]]:
    """The model's arrays below a node, each once, with the first path to it."""
    pending, seen = [(start, "")], {start}
    while pending:
        number, path = pending.pop(0)
        node = graph.nodes[number]
        for attribute in node.attributes:
            is_model_s = attribute.name == _VARIABLE and attribute.checkpoint_key in shapes
            if is_model_s and not _BOOKKEEPING.search(path) and not _BOOKKEEPING.search(attribute.checkpoint_key):
                shape = tuple(shapes[attribute.checkpoint_key])
                yield (
                    number,
                    StoredVariable(key=attribute.checkpoint_key, path=path, full_name=attribute.full_name, shape=shape),
                )
        for child in node.children:
            if child.node_id not in seen:
                seen.add(child.node_id)
                pending.append((child.node_id, os.path.join(path, child.local_name)))


def _alike(graph: Any, start: int, root: Any) -> Iterator[tuple[int, Any]]:
    """Nodes of the checkpoint with the live objects that lie at the same paths."""
    import tensorflow as tf

    pending = [(start, root)]
    seen = {(start, id(root)): root}  # with the objects: what TensorFlow wraps around a list would be gone, and its id another's
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
    """Key of every array of a holder that fits -> the variable that its name says, and what was decided without a name.

    Raises:
      NoMatchError: where numbers and names disagree, and names do not say which is whose.
    """
    theirs = _slots(holder.found, [stored.full_name for stored, _ in holder.found])
    ours = _slots(holder.found, [_name(live) for _, live in holder.found])
    if theirs == ours or not all(stored.full_name for stored, _ in holder.found):
        return {stored.key: live for stored, live in holder.found}, ()
    matching = match(theirs, ours, names)
    pairs = {holder.found[at][0].key: holder.found[number][1] for number, at in enumerate(matching.places)}
    return pairs, matching.notes


def _name(live: Any) -> str:
    return str(live.name).split(":")[0]


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
    """The path to the innermost layer that has a number and no attribute; "" where attributes lead all the way."""
    found = _NUMBERED.search(path)
    return found[0] if found else ""


def full_names(variables: Sequence[StoredVariable]) -> list[Slot]:
    """Arrays under the variables' own names, for messages and for models that hold them in other objects."""
    return [Slot(name=variable.full_name or variable.path, shape=variable.shape) for variable in variables]
