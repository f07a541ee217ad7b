"""Writes a checkpoint's SavedModel and collects its facts. `convert` adds the variants."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from liteferry import storage
from liteferry.checkpoints import row_ranges
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.exporting import saved_model, second_opinion, signatures
from liteferry.exporting.traces import Trace, first_rows
from liteferry.loading import row_independence, together, tracing
from liteferry.loading.model import LoadedModel
from liteferry.loading.tracing import TracedModel
from liteferry.plan import bound_rows, siblings
from liteferry.plan.model_plan import ModelPlan
from liteferry.samples.binding import Binding
from liteferry.types import SavedModelFacts
from liteferry.version import __version__

_WARMUP_ROWS = 4


def _decide_calls(trace: Trace, inputs: Mapping[str, Any]) -> None:
    trace.traced = tracing.on_rows(trace.traced, _of_the_first(trace, inputs))
    if trace.together is not None:
        trace.together = dataclasses.replace(trace.together, traced=tracing.on_rows(trace.together.traced, inputs))


def _of_the_first(trace: Trace, rows: Mapping[str, Any]) -> dict[str, Any]:
    """The rows that the first signature takes."""
    return {name: rows[name] for name in trace.traced.signature.input_names()}


def save(plan: ModelPlan, trace: Trace, binding: Binding | None, *, keep_for_others: bool) -> SavedModelFacts:
    relative = os.path.join("saved_model", str(plan.version))
    directory = os.path.join(plan.staging_directory(), relative)
    batch = None if binding is None else next(bound_rows.batches(plan, binding, shard_index=0))
    if batch is not None and trace.template is None:
        _decide_calls(trace, batch.inputs)
    model, traced, metadata = trace.model, trace.traced, _metadata(plan, trace)
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
        own_rows = _of_the_first(trace, rows)
        answers = tracing.run_eagerly(model, traced, own_rows)
        _leave_for_a_second_opinion(plan, trace, rows, answers)
        deterministic = tracing.is_deterministic(model, traced, own_rows, first=answers, eager_runs=eager_runs)
        signatures.check(_of_the_job(trace), traced, own_rows)
        _refuse_random(trace, rows)
        if deterministic:
            _refuse_mixed_rows(trace, rows)
        first = {name: value[:_WARMUP_ROWS] for name, value in batch.inputs.items()}
        _write_warmup(directory, trace, first)
    return SavedModelFacts(
        path=relative,
        bytes=_lasting_bytes(directory),
        signature=traced.signature,
        more_signatures={name: tracing.describe_function(one) for name, one in sorted(trace.more_signatures.items())},
        together=None if trace.together is None else trace.together.traced.signature,
        oracle=model.oracle,
        deterministic=deterministic,
        custom_objects=model.custom,
        renamed_inputs=dict(traced.renamed),
        warnings=(*model.warnings, *input_warnings),
        per_call_outputs=trace.proven.calls.per_call,
        signature_name=model.signature_name,
    )


def _leave_for_a_second_opinion(plan: ModelPlan, trace: Trace, rows: Mapping[str, Any], answers: Mapping[str, Any]) -> None:
    """The first signature's rows and answers, and those of the checkpoint's own signatures that are in the files, too: a
    function of the job's has no other loader.
    """
    own_names = {given: name for name, given in trace.traced.renamed.items()}
    names: dict[str, dict[str, str]] = {}
    calls = trace.traced.calls
    if trace.together is not None:
        every = trace.together.names
        names = {name: dict(every[name]) for name in every if name in trace.model.more_signatures}
        kept = [f"{name}." for name in names]
        more = {name: value for name, value in trace.together.traced.run(rows).items() if name not in answers}
        answers = {**answers, **{name: value for name, value in more.items() if name.startswith(tuple(kept))}}
        calls = trace.together.traced.calls
    taken = {*trace.traced.signature.input_names(), *(given for inputs in names.values() for given in inputs.values())}
    second_opinion.leave(
        plan,
        {own_names.get(name, name): value for name, value in rows.items() if name in taken},
        answers,
        calls=calls,
        more={name: {own: own_names.get(given, given) for own, given in inputs.items()} for name, inputs in names.items()},
    )


def _refuse_mixed_rows(trace: Trace, rows: Mapping[str, Any]) -> None:
    """Raises ModelError (EXPORT_BATCH_DEPENDENT) where the answer for a row depends on the rows beside it."""
    functions = [trace.traced.function, *(() if trace.together is None else trace.together.functions.values())]
    found = row_independence.dependence(trace.proven, rows, functions)
    if found is not None:
        raise ModelError(ReasonCode.EXPORT_BATCH_DEPENDENT, Stage.EXPORT, str(found))


def _refuse_random(trace: Trace, rows: Mapping[str, Any]) -> None:
    """Raises ModelError (EXPORT_NONDETERMINISTIC) where two runs of the signatures on the same rows differ."""
    if trace.together is None:
        return
    differing = tracing.differing_outputs(trace.together.traced.run(rows), trace.together.traced.run(rows))
    if differing:
        words = f"two runs on the same rows differ in {', '.join(differing)}: something in them is random at inference"
        raise ModelError(ReasonCode.EXPORT_NONDETERMINISTIC, Stage.EXPORT, f"{together.KEY}: {words}")


def _write_warmup(directory: str, trace: Trace, rows: Mapping[str, Any]) -> None:
    batch = trace.proven.calls.batch or 1
    by_signature = {trace.model.signature_name: _of_the_first(trace, rows)}
    if trace.together is not None:
        by_signature |= {name: together.feed(rows, inputs) for name, inputs in trace.together.names.items()}
    saved_model.write_warmup_requests(directory, by_signature, batch=batch)


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


def _lasting_bytes(directory: str) -> int:
    """Bytes of weights, assets and warm-up rows. The other files hold counters and random ids: their size differs from run
    to run.
    """
    changing = ("saved_model.pb", "fingerprint.pb", os.path.join("variables", "variables.index"))
    return sum(os.path.getsize(os.path.join(directory, name)) for name in storage.files_under(directory) if name not in changing)


def _metadata(plan: ModelPlan, trace: Trace) -> dict[str, Any]:
    model = trace.model
    several = {} if trace.together is None else {together.KEY: trace.together.names}
    proven = {} if model.signature_name == saved_model.SIGNATURE_NAME else {"proven_signature": model.signature_name}
    return {
        **proven,
        **several,
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
