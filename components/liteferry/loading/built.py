"""Loads checkpoints that hold only weights: the user's builder makes the model, the file has the weights."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from liteferry.checkpoints import tf_checkpoint_files
from liteferry.checkpoints.detection import BY_PATH, CheckpointFacts, Kind
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import as_found, cudnn_weights, derived_state, keras_model, plain_model, tf_checkpoint, unfilled, user_code
from liteferry.loading.model import LoadedModel, LoadSpec
from liteferry.loading.weights import by_path, legacy, new_layout
from liteferry.types import TensorSpec


def build_and_fill(path: str, facts: CheckpointFacts, spec: LoadSpec, *, sample_columns: Sequence[TensorSpec]) -> LoadedModel:
    """Calls the builder and loads the weights into what it returns.

    Raises:
      ModelError: LOAD_FAILED when the builder raises, or when the weights do not fit.
    """
    assert spec.builder is not None
    built = _build(path, facts, spec)
    if keras_model.is_keras_model(built):
        keras_model.build_from_samples(built, sample_columns)
        notes = _fill_keras(path, facts, spec, built)
        derived_state.restore(path, facts, built)
        return keras_model.wrap(built, sample_columns=sample_columns, warnings=_told(notes))
    if facts.kind is Kind.TF_CHECKPOINT:
        return _fill_plain(path, spec, built, sample_columns)
    keras_model.library_of(built)  # raises if the builder cannot be found
    raise AssertionError("unreachable")


def _build(path: str, facts: CheckpointFacts, spec: LoadSpec) -> Any:
    assert spec.builder is not None
    builder = user_code.resolve(spec.builder, key="builder")
    arguments, place = dict(spec.builder_args), None
    if "checkpoint" in _parameters(builder) and "checkpoint" not in arguments:
        arguments["checkpoint"] = place = as_found.linked(path, facts, spec.reads)
    try:
        return builder(**arguments)
    except Exception as error:
        listed = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        message = f"builder {spec.builder}({listed}) raised {type(error).__name__}: {error}"
        if place is not None:
            message = as_found.original(message, place, facts)
            if isinstance(error, FileNotFoundError):
                message += "; files beside the checkpoint are there for its builder if `reads:` of the job lists them"
        raise ModelError(ReasonCode.LOAD_FAILED, Stage.LOAD, message) from error


def _parameters(builder: Callable[..., Any]) -> Sequence[str]:
    try:
        return list(inspect.signature(builder).parameters)
    except (TypeError, ValueError):  # built-in code has no signature
        return ()


def _told(notes: Sequence[str]) -> tuple[str, ...]:
    """At most one warning: the weights that were matched without a name."""
    if not notes:
        return ()
    more = f" and {len(notes) - 8} more" if len(notes) > 8 else ""
    return (f"weights that were not matched by a name alone: {'; '.join(notes[:8])}{more}",)


def _fill_keras(path: str, facts: CheckpointFacts, spec: LoadSpec, model: Any) -> tuple[str, ...]:
    """Loads the weights into a Keras model; returns notes about weights that were matched without a name."""
    if not model.weights and not keras_model.is_built(model):
        raise ModelError(
            ReasonCode.LOAD_FAILED,
            Stage.LOAD,
            f"{path}: the model of builder {spec.builder} has no variables yet; call or build it in the builder, or give "
            "`samples` that it can be called with",
        )
    if facts.kind is Kind.TF_CHECKPOINT:
        variables = {str(getattr(weight, "path", weight.name)).removesuffix(":0"): weight for weight in model.weights}
        prefix = tf_checkpoint_files.prefix_of(path)
        return tf_checkpoint.restore(path, prefix, variables, root=model, by_position=spec.is_by_position)
    if facts.weights_layout == BY_PATH:
        return by_path.fill(path, path, facts, model)
    is_legacy = facts.kind is Kind.H5_MODEL or facts.weights_layout == "legacy"
    place = path
    if is_legacy and not any(type(layer).__name__ in cudnn_weights.CLASSES for layer in model._flatten_layers()):
        place = cudnn_weights.portable_copy(path) or path
    load = functools.partial(_load_by_position, _named_for_its_layout(place, facts), spec, model)
    if spec.is_by_position:
        unfilled.refuse(path, model, load)
        _refuse_differences(path, place, facts, model)
        return ("all weights by position, as `weights: by_position` says",)
    if is_legacy:
        return legacy.fill(path, place, model, load=load)
    notes: list[str] = []
    unfilled.refuse(path, model, lambda: notes.extend(new_layout.fill(path, place, facts, model, load=load)))
    return tuple(notes)


def _refuse_differences(path: str, place: str, facts: CheckpointFacts, model: Any) -> None:
    """Matching by position must be complete as well: every array used, every variable filled."""
    if facts.kind is Kind.H5_MODEL or facts.weights_layout == "legacy":
        legacy.refuse_left_over(path, place, model)
    else:
        new_layout.refuse_differences(path, facts, place, model)


def _load_by_position(path: str, spec: LoadSpec, model: Any) -> None:
    try:
        model.load_weights(path)
    except Exception as error:
        message = f"the weights in {path} do not fit the model of builder {spec.builder}: {type(error).__name__}: {error}"
        raise ModelError(ReasonCode.LOAD_FAILED, Stage.LOAD, message) from error


def _fill_plain(path: str, spec: LoadSpec, built: Any, sample_columns: Sequence[TensorSpec]) -> LoadedModel:
    """Loads a `tf.Module`, or a function that creates its variables by name as in TensorFlow 1."""
    import tensorflow as tf

    prefix = tf_checkpoint_files.prefix_of(path)
    if isinstance(built, tf.Module) and callable(built):
        model = plain_model.wrap_module(built, sample_columns=sample_columns)
        variables = {variable.name.removesuffix(":0"): variable for variable in built.variables}
        notes = tf_checkpoint.restore(path, prefix, variables, root=built, by_position=spec.is_by_position)
        return dataclasses.replace(model, warnings=_told(notes))
    if inspect.isfunction(built):
        model, variables = plain_model.wrap_graph(built, sample_columns=sample_columns)
        notes = tf_checkpoint.restore(path, prefix, variables, root=None, by_position=spec.is_by_position)
        return dataclasses.replace(model, warnings=_told(notes))
    raise ModelError(
        ReasonCode.LOAD_FAILED,
        Stage.LOAD,
        f"builder {spec.builder} returned {type(built).__module__}.{type(built).__qualname__}; return a keras.Model, a "
        "tf_keras.Model, a tf.Module with __call__, or a function of the inputs that makes its variables with "
        "tf.compat.v1.get_variable",
    )


def _named_for_its_layout(path: str, facts: CheckpointFacts) -> str:
    """A link in the scratch folder with the right file ending: Keras 3 and tf_keras choose the reader by the file's name, which
    may be wrong.
    """
    if facts.kind is Kind.KERAS:
        return path
    ending = ".h5" if facts.weights_layout != "keras_v3" else ".weights.h5"
    stem = os.path.basename(path).removesuffix(".h5").removesuffix(".hdf5").removesuffix(".weights")
    if os.path.basename(path) == stem + ending:
        return path
    link = os.path.join(tempfile.mkdtemp(), stem + ending)  # a folder of its own: siblings in one process may share a name
    os.symlink(os.path.abspath(path), link)
    return link
