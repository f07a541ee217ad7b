"""Writes a checkpoint's SavedModel and collects its facts. `convert` adds the variants."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from liteferry import storage
from liteferry.checkpoints import row_ranges
from liteferry.errors import ModelError
from liteferry.exporting import saved_model, second_opinion, sibling_weights, signatures
from liteferry.loading import float_twin, tracing
from liteferry.loading.model import LoadedModel
from liteferry.loading.tracing import TracedModel
from liteferry.plan import bound_rows, siblings
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.siblings import SavedModelTemplate
from liteferry.samples.binding import Binding
from liteferry.tflite.lowering import Lowered
from liteferry.types import SavedModelFacts, TwinFacts
from liteferry.version import __version__

_WARMUP_ROWS = 4
_FEW_ROWS = 8  # randomness, values fixed during tracing and losses in lowering show on any row


@dataclasses.dataclass
class Trace:
    """The results of the first sibling that the others reuse. `more_signatures`: ConcreteFunctions besides serving_default.
    `leader`: the first one's model_id. `weights`: None where nothing can be shared. `twin`: see `float_twin`; `auto_mix`: the
    mix that `auto` found for the first sibling. `lowered`: how the first sibling was lowered.
    """

    model: LoadedModel
    traced: TracedModel
    leader: str
    more_signatures: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weights: sibling_weights.Weights | None = None
    template: SavedModelTemplate | None = None
    lowered: Lowered | None = None
    twin: Trace | None = None
    auto_mix: Mapping[str, str] | None = None

    @property
    def for_files(self) -> Trace:
        """The model that .tflite files are made from: the float32 twin of a model that computes in another format, else the
        model.
        """
        return self.twin or self


def add_twin(trace: Trace) -> TwinFacts | None:
    """Traces the float32 twin of a model that computes in another format, once for all siblings; None where there is none, or
    where the twin cannot be traced: then the files are made from the model, and their own reasons say why that fails.
    """
    twin = float_twin.of(trace.model)
    if twin is None:
        return None
    if trace.twin is None or twin.holds_weights:
        try:
            traced = tracing.trace(twin.model)
        except ModelError:
            return None
        trace.twin = Trace(twin.model, dataclasses.replace(traced, calls=trace.traced.calls), leader=trace.leader)
    return twin.facts


def add_signatures(plan: ModelPlan, trace: Trace) -> None:
    """Traces the job's signatures besides serving_default."""
    trace.more_signatures = signatures.add(
        trace.model, trace.traced, plan.signatures, serve_examples=plan.serve_examples, scratch=os.path.abspath("signatures")
    )


def save(plan: ModelPlan, trace: Trace, binding: Binding | None, *, keep_for_others: bool) -> SavedModelFacts:
    relative = os.path.join("saved_model", str(plan.version))
    directory = os.path.join(plan.staging_directory(), relative)
    batch = None if binding is None else next(bound_rows.batches(plan, binding, shard_index=0))
    if batch is not None and trace.template is None:
        trace.traced = tracing.on_rows(trace.traced, batch.inputs)
    model, traced, metadata = trace.model, trace.traced, _metadata(plan, trace.model)
    is_sibling_of_another = trace.template is not None
    if trace.template is not None:
        trace.template.write(directory, variables=traced.function.graph.variables, metadata=metadata)
    else:
        saved_model.write(
            traced,
            directory,
            keep=model.keep,
            metadata=metadata,
            beside=saved_model.ServedBeside(
                functions=trace.more_signatures,
                resources=signatures.resources_of(trace.more_signatures) if plan.signatures else (),
                name=model.signature_name,
            ),
        )
        if keep_for_others:
            with contextlib.suppress(ValueError):  # it tracks more than variables, so its siblings are saved in full as well
                trace.template = siblings.SavedModelTemplate(directory, os.path.abspath(f"template-{plan.model_id}"))
    deterministic = None
    input_warnings: tuple[str, ...] = ()
    if binding is not None and batch is not None:
        input_warnings = (*binding.notes, *_unused_warnings(binding), *_range_warnings(model, traced, batch.inputs))
        eager_runs = 1 if is_sibling_of_another else 2
        rows = first_rows(batch)
        answers = tracing.run_eagerly(model, traced, rows)
        own_names = {given: name for name, given in traced.renamed.items()}
        second_opinion.leave(
            plan, {own_names.get(name, name): value for name, value in rows.items()}, answers, calls=traced.calls
        )
        deterministic = tracing.is_deterministic(model, traced, rows, first=answers, eager_runs=eager_runs)
        signatures.check(_of_the_job(trace), traced, rows)
        first = {name: value[:_WARMUP_ROWS] for name, value in batch.inputs.items()}
        saved_model.write_warmup_requests(directory, first, batch=traced.calls.batch or 1, signature_name=model.signature_name)
    return SavedModelFacts(
        path=relative,
        bytes=_lasting_bytes(directory),
        signature=traced.signature,
        more_signatures={name: signatures.describe(function) for name, function in sorted(trace.more_signatures.items())},
        oracle=model.oracle,
        deterministic=deterministic,
        custom_objects=model.custom,
        renamed_inputs=dict(traced.renamed),
        warnings=(*model.warnings, *input_warnings),
        per_call_outputs=traced.calls.per_call,
        signature_name=model.signature_name,
    )


def _of_the_job(trace: Trace) -> dict[str, Any]:
    """The signatures that the job asked for. The checkpoint's own are kept and never run: one that trains would change the
    variables that the reference is computed with.
    """
    return {name: function for name, function in trace.more_signatures.items() if name not in trace.model.more_signatures}


def _unused_warnings(binding: Binding) -> tuple[str, ...]:
    if not binding.unused:
        return ()
    names = ", ".join(map(repr, binding.unused))
    return (f"columns of the samples that feed no input and have no other role: {names}",)


def _range_warnings(model: LoadedModel, traced: TracedModel, inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Warnings about rows that were preprocessed twice or not at all, judged by the first batch and the model's own layers."""
    found = []
    may_scale = _may_scale(model.keep)
    for spec in model.signature.inputs:
        value, expected = inputs[traced.renamed.get(spec.name, spec.name)], model.input_ranges.get(spec.name)
        if value.dtype.kind not in "biuf" or not value.size:
            continue
        low, high = float(value.min()), float(value.max())
        warning = row_ranges.warning(spec, expected, low=low, high=high, may_scale=may_scale)
        if warning:
            found.append(warning)
    return tuple(found)


def _may_scale(keep: Any) -> bool:
    """Whether some layer may bring an input to another scale; of what is no Keras model, and of layers of one's own, nobody
    knows.
    """
    if not hasattr(keep, "_flatten_layers"):
        return True
    parts = [part for part in (*keep._flatten_layers(), *getattr(keep, "operations", ())) if part is not keep]
    is_own = any(not type(part).__module__.startswith(("keras.", "tf_keras.")) for part in parts)
    return is_own or any(type(part).__name__ in row_ranges.SCALING for part in parts)


def first_rows(batch: Any) -> dict[str, Any]:
    """A few rows of a batch, by input name."""
    return {name: value[:_FEW_ROWS] for name, value in batch.inputs.items()}


def _lasting_bytes(directory: str) -> int:
    """Bytes of weights, assets and warm-up rows. The other files hold counters and random ids: their size differs from run
    to run.
    """
    changing = ("saved_model.pb", "fingerprint.pb", os.path.join("variables", "variables.index"))
    return sum(os.path.getsize(os.path.join(directory, name)) for name in storage.files_under(directory) if name not in changing)


def _metadata(plan: ModelPlan, model: LoadedModel) -> dict[str, Any]:
    proven = {} if model.signature_name == saved_model.SIGNATURE_NAME else {"proven_signature": model.signature_name}
    return {
        **proven,
        "metadata": dict(plan.metadata),
        "checkpoint": {"uri": plan.uri, "digest": plan.digest, "bytes": plan.size_bytes},
        "oracle": model.oracle,
        "custom_objects": [dataclasses.asdict(custom) for custom in model.custom],
        "warnings": list(model.warnings),
        "stripped": list(model.stripped),
        "training_layers": [dict(layer) for layer in model.training_layers],
        "input_ranges": {name: dataclasses.asdict(expected) for name, expected in model.input_ranges.items()},
        "liteferry": __version__,
    }
