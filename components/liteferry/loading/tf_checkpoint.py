"""TensorFlow's own checkpoints: `tf.train.Checkpoint` and TensorFlow 1's `Saver`, both a prefix with an index and data files.

They hold named arrays but no function, so a builder supplies the function. The match of variables and arrays is checked array by
array.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import layer_names, object_graph
from liteferry.loading.weights.mismatch import mismatch, shape_of
from liteferry.loading.weights.names import LayerNames, NoMatchError, Slot, match

# Training state that is not stored under a variable's name.
_COUNTERS = ("global_step", "beta1_power", "beta2_power", "save_counter", "learning_rate", "iter", "decay")
_NOT_MODELS = {"optimizer", "save_counter", "step", "global_step", "epoch", "keras_api"}


def restore(
    path: str, prefix: str, variables: Mapping[str, Any], *, root: Any | None, by_position: bool = False
) -> tuple[str, ...]:
    """Fills variables from a checkpoint.

    Args:
      path: as the job names it, for errors.
      prefix: of the checkpoint.
      variables: the model's variables by name.
      root: the object that tracks them, for checkpoints that follow objects: a Keras model that is built, or a tf.Module; None
        for a graph of TensorFlow 1.
      by_position: whether whether the order of numbered layers decides instead of the variables' names.

    Returns:
      What was matched without a name, as sentences.

    Raises:
      ModelError: LOAD_CORRUPT when it cannot be read, LOAD_FAILED where variables are yet to be made, WEIGHTS_MISMATCH
        when arrays are left over, variables are not filled, or names do not decide.
    """
    import tensorflow as tf

    try:
        # not load_checkpoint: a prefix may end in a slash, with files `.index`
        reader = tf.compat.v1.train.NewCheckpointReader(prefix)
        shapes = reader.get_variable_to_shape_map()
    except Exception as error:
        raise ModelError(
            ReasonCode.LOAD_CORRUPT,
            Stage.LOAD,
            f"{prefix}: not a whole TensorFlow checkpoint ({error}); copy it with its .data files",
        ) from error
    if not variables and not hasattr(root, "_flatten_layers"):
        raise ModelError(
            ReasonCode.LOAD_FAILED,
            Stage.LOAD,
            f"{path}: the builder's model has no variables yet; call or build it in the builder",
        )
    if object_graph.KEY in shapes and not variables:
        return _nothing_to_restore(path, reader, root)
    if object_graph.KEY in shapes and root is not None:
        return _restore_objects(_Stored(path=path, prefix=prefix, reader=reader), variables, root, by_position=by_position)
    return _restore_names(path, reader, variables, _names_in(root))


def _nothing_to_restore(path: str, reader: Any, root: Any) -> tuple[str, ...]:
    """For a model without variables: raises if the checkpoint has variables or tables of a model."""
    everything = object_graph.holders(reader, root, {}, not_models=_NOT_MODELS)[0]
    left = [*object_graph.full_names(everything.left), *object_graph.beside_variables(reader)]
    if left:
        raise mismatch(path, left, [], "the builder's model has no variables")
    return ()


def _names_in(root: Any) -> LayerNames:
    return layer_names.of(root) if hasattr(root, "_flatten_layers") else LayerNames()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Stored:
    """A checkpoint on disk: `path` as the user names it, `prefix` of its files, and TensorFlow's `reader` of them."""

    path: str
    prefix: str
    reader: Any


def _restore_objects(stored: _Stored, variables: Mapping[str, Any], root: Any, *, by_position: bool) -> tuple[str, ...]:
    import tensorflow as tf

    path, reader = stored.path, stored.reader
    tried = object_graph.holders(reader, root, variables, not_models=_NOT_MODELS)
    fitting = [holder for holder in tried if holder.fits]
    if not fitting:
        return _restore_by_full_names(path, reader, tried, variables, root)
    if len({frozenset(array.key for array, _ in holder.found) for holder in fitting}) > 1:
        named = ", ".join(holder.name or "the checkpoint itself" for holder in fitting)
        raise ModelError(
            ReasonCode.WEIGHTS_MISMATCH,
            Stage.LOAD,
            f"{path}: the builder's model fits several objects of the checkpoint: {named}. Save the one that is wanted alone, "
            "with tf.train.Checkpoint(model=model)",
        )
    holder = fitting[0]
    # TensorFlow restores tables and other state; then the variables are checked against their names.
    checkpoint = tf.train.Checkpoint(**{holder.name: root}) if holder.name else tf.train.Checkpoint(root)
    checkpoint.read(stored.prefix).expect_partial()
    notes = _beside(tried, holder)
    try:
        pairs = {array.key: live for array, live in holder.found}
        if by_position:
            notes = (*notes, "all weights by position, as `weights: by_position` says")
        else:
            pairs, more = object_graph.by_name(holder, _names_in(root))
            notes = (*notes, *more)
    except NoMatchError as error:
        theirs = object_graph.full_names([array for array, _ in holder.found])
        raise mismatch(path, theirs, _model_slots(variables), error.why) from error
    for key, live in pairs.items():
        live.assign(reader.get_tensor(key))
    return notes


def _beside(tried: Sequence[object_graph.Holder], holder: object_graph.Holder) -> tuple[str, ...]:
    """The other contents of a checkpoint, besides the object that is the model."""
    others = [one.name for one in tried if holder.name and one.name not in ("", holder.name) and (one.left or one.found)]
    return (f"only the object {holder.name} of the checkpoint is used, not {', '.join(others)}",) if others else ()


def _restore_by_full_names(
    path: str, reader: Any, tried: Sequence[object_graph.Holder], variables: Mapping[str, Any], root: Any
) -> tuple[str, ...]:
    """For a model that holds its variables in other objects than the checkpoint: restores every variable by its own name, or
    none.
    """
    every = tried[0]
    stored = [*(one for one, _ in every.found), *every.left]
    theirs, ours = object_graph.full_names(stored), _model_slots(variables)
    try:
        matching = match(theirs, ours, _names_in(root))
    except NoMatchError as error:
        raise mismatch(path, theirs, ours, error.why) from error
    for variable, at in zip(variables.values(), matching.places, strict=True):
        variable.assign(reader.get_tensor(stored[at].key))
    return ("all weights by the variables' names, since the checkpoint follows other objects", *matching.notes)


def _model_slots(variables: Mapping[str, Any]) -> list[Slot]:
    return [Slot(name=name, shape=shape_of(variable)) for name, variable in variables.items()]


def _restore_names(path: str, reader: Any, variables: Mapping[str, Any], names: LayerNames) -> tuple[str, ...]:
    shapes = reader.get_variable_to_shape_map()
    kept = [name for name in sorted(shapes) if name != object_graph.KEY and not _is_slot(name, shapes)]
    theirs = [Slot(name=name, shape=tuple(shapes[name])) for name in kept]
    ours = _model_slots(variables)
    try:
        matching = match(theirs, ours, names)
    except NoMatchError as error:
        raise mismatch(path, theirs, ours, error.why) from error
    for variable, at in zip(variables.values(), matching.places, strict=True):
        variable.assign(reader.get_tensor(kept[at]))
    return matching.notes


def _is_slot(name: str, among: Collection[str]) -> bool:
    """Whether an array belongs to training: a counter, an optimizer's power, or a slot of a variable in the checkpoint."""
    scope, _, last = name.rpartition("/")
    return scope in among or last in _COUNTERS or name.split("/")[0] in _NOT_MODELS
