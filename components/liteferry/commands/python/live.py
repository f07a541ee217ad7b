"""Models in memory: saves them for a run, and compares the export with the answers they gave before they were saved."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from liteferry.config.job import SamplesSpec
from liteferry.errors import JobError, ReasonCode, SamplesError
from liteferry.exporting import reference, second_opinion
from liteferry.parity.gate_limits import resolve_gates
from liteferry.plan import bound_rows
from liteferry.plan.model_plan import ModelPlan
from liteferry.samples.batches import read_batches
from liteferry.samples.binding import bind
from liteferry.samples.opening import open_samples
from liteferry.types import ExportedModel, OpinionStatus, SecondOpinion, Signature, TensorSpec

_BATCH = 64
_SAVED_MODEL = "saved_model"
_MOST_REL = 1e-4

Arrays = Mapping[str, np.ndarray]


def name_of(model: Any) -> str:
    """The model id of a live model's checkpoint."""
    name = getattr(model, "name", None)
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name) if isinstance(name, str) and name else "model"


def save(model: Any, folder: str) -> str:
    """Saves a Keras model as a `.keras` archive, any other `tf.Module` as a SavedModel. Returns its path.

    Raises:
      JobError: the object is something else, or its library cannot save it.
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name_of(model))
    try:
        if hasattr(model, "save") and hasattr(model, "layers"):
            path += ".keras"
            model.save(path)
            return path
        import tensorflow as tf

        if isinstance(model, tf.Module):
            tf.saved_model.save(model, path)
            return path
    except Exception as error:
        raise JobError([f"model: its library cannot save it: {type(error).__name__}: {error}"], source="export") from error
    raise JobError([f"model: {type(model).__name__} is no path, no Keras model and no tf.Module"], source="export")


@dataclasses.dataclass(frozen=True)
class Answers:
    """A live model's answers to all rows: one mapping of outputs for each batch of rows; None if it could not be called."""

    batches: tuple[Arrays, ...] | None
    why_not: str = ""

    def confirm(self, plan: ModelPlan, exported: ExportedModel) -> ExportedModel:
        """Compares the exported model's reference answers with the live model's. If they differ, the model is not blessed."""
        opinion = exported.second_opinion
        if self.batches is None or (opinion is not None and opinion.code is not None):
            return exported
        found = self._held_against(plan)
        if opinion is not None and found.code is None:
            found = dataclasses.replace(found, why=f"also by the library's own loader: {opinion.status.value}")
        return dataclasses.replace(exported, second_opinion=found)

    def _held_against(self, plan: ModelPlan) -> SecondOpinion:
        assert self.batches is not None
        theirs = _joined(list(self.batches))
        ours = _joined(list(_reference(plan)))
        gates = resolve_gates(_SAVED_MODEL, plan.gates)

        def limit(output: str) -> float:
            found = gates.limits_of(output).get("max_rel")
            return found.limit if found is not None else _MOST_REL

        rows = max((len(value) for value in ours.values()), default=0)
        if not ours:
            why = "the run has left no answers to hold against those of the live model"
            return SecondOpinion(status=OpinionStatus.NONE, why=why, code=ReasonCode.EXPORT_MISMATCH)
        asked = second_opinion.Asked(by="the live model, before it was saved", rows=rows)
        return second_opinion.compare(ours, theirs, limits=limit, asked=asked)


def _reference(plan: ModelPlan) -> Iterator[Arrays]:
    sample_set = plan.samples.sample_set
    for index in range(len(sample_set.shards) if sample_set else 0):
        folder, number = bound_rows.shard_directory(plan, index), 0
        while os.path.exists(os.path.join(folder, f"{number:08d}.npz")):
            yield reference.read(plan, number, shard_index=index)
            number += 1


def _joined(batches: list[Arrays]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]} if batches else {}


def answers(model: Any, spec: SamplesSpec) -> Answers:
    """Calls a Keras model with `training=False` on every row."""
    inputs = getattr(model, "inputs", None)
    if not inputs or not hasattr(model, "layers"):
        return Answers(None, "it does not say what its inputs are")
    try:
        specs = tuple(
            TensorSpec(name=_input_name(model, at), shape=tuple(one.shape), dtype=_dtype(one)) for at, one in enumerate(inputs)
        )
        sample_set = open_samples(spec)
        binding = bind(sample_set, spec, Signature(inputs=specs, outputs=()), samples_name="samples")
    except SamplesError as error:
        return Answers(None, error.reason.message)  # the run reports the same error, with its reason code
    names = list(getattr(model, "output_names", None) or [])
    found = [
        _call(model, [batch.inputs[one.name] for one in specs], names)
        for shard in sample_set.shards
        for batch in read_batches(shard, binding, _BATCH)
    ]
    return Answers(tuple(found))


def _input_name(model: Any, at: int) -> str:
    names = getattr(model, "input_names", None)
    return str(names[at]) if names else str(model.inputs[at].name).split(":")[0]


def _dtype(tensor: Any) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype))


def _call(model: Any, values: list[np.ndarray], names: list[str]) -> Arrays:
    import tensorflow as tf

    tensors = [tf.constant(value) for value in values]
    struct = getattr(model, "_inputs_struct", None)
    given = dict(zip(sorted(struct), tensors, strict=True)) if isinstance(struct, dict) else tensors
    outputs = model(given if len(tensors) > 1 or isinstance(struct, dict) else tensors[0], training=False)
    flat = tf.nest.flatten(outputs)
    named = sorted(outputs) if isinstance(outputs, dict) else names if len(names) == len(flat) else []
    return {named[at] if named else f"output_{at}": np.asarray(value) for at, value in enumerate(flat)}
