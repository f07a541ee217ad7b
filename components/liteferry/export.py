"""One checkpoint -> SavedModel and TFLite variants, in a sandbox. `export_isolated` is called by the stage, `export_model`
runs in the child.

Every artifact is handed over as soon as it is written: what a crash in a later step costs is that step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from typing import Any

from liteferry import checkpoints, flatbuffer, reference, sandbox, saved_model, storage, tflite, tracing, variants
from liteferry.checkpoints.config_scan import architecture_digest
from liteferry.checkpoints.model import LoadedModel
from liteferry.errors import ModelError, Reason, ReasonCode, SamplesError, Stage
from liteferry.plan import ModelPlan
from liteferry.records import decode
from liteferry.sandbox import Flavor, Outcome, Reporter
from liteferry.tracing import TracedModel
from liteferry.types import Attempt, ExportedModel, SavedModelFacts, TensorSpec, VariantFacts
from liteferry.version import __version__

_WARMUP_ROWS = 4
_FALLBACK_CODES = {
    Stage.LOAD: ReasonCode.LOAD_FAILED,
    Stage.EXPORT: ReasonCode.EXPORT_FAILED,
    Stage.CONVERT: ReasonCode.CONVERT_FAILED,
}


def export_isolated(plan: ModelPlan) -> ExportedModel:
    """Exports one model in a process of its own, into its staging directory. Never raises for what the model does."""
    staging = plan.staging_directory()
    storage.remove_tree(staging)
    storage.remove_tree(reference.directory(plan))
    os.makedirs(staging)
    outcome = sandbox.run("liteferry.export:export_model", plan, flavor=Flavor.KERAS, limits=plan.limits)
    return _assemble(plan, outcome)


def reason_of(outcome: Outcome) -> Reason | None:
    """Why a unit of work ended early, or None. An exception nobody classified gets the code of the stage it was raised in."""
    if outcome.error is None:
        return None
    stage = Stage(outcome.error["stage"])
    code = outcome.error["code"] or _FALLBACK_CODES.get(stage, ReasonCode.INTERNAL).value
    return Reason(code=ReasonCode(code), stage=stage, message=outcome.error["message"])


def _assemble(plan: ModelPlan, outcome: Outcome) -> ExportedModel:
    facts: dict[str, Any] = {}
    made: dict[str, VariantFacts] = {}
    for result in outcome.results:
        facts.update(result.get("facts", {}))
        if "variant" in result:
            variant = decode(VariantFacts, result["variant"])
            made[variant.variant] = variant
    reason = reason_of(outcome)
    exported = decode(ExportedModel, facts)
    if exported.saved_model is not None and reason is not None and reason.stage is Stage.CONVERT:
        # The conversion died, the SavedModel stands: the variants that were not made carry the reason.
        for name in plan.variants:
            made.setdefault(name, VariantFacts(variant=name, attempts=(), reason=reason))
        reason = None
    return dataclasses.replace(
        exported,
        variants={name: made[name] for name in plan.variants if name in made},
        reason=reason,
        timings_s={**exported.timings_s, "export_total": round(outcome.seconds, 3)},
        peak_memory_bytes=outcome.peak_memory_bytes,
    )


class _Clock:
    """Wall seconds per step, as the report's `timings_s` has them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - started, 3)


def export_model(plan: ModelPlan, reporter: Reporter) -> None:
    """The whole way of one checkpoint inside the sandbox: load, trace, prove deterministic, save, run the reference, convert.

    Hands over `facts` (fields of ExportedModel) and one `variant` per variant.

    Raises:
      ModelError: with the reason that ends the work.
    """
    clock = _Clock()
    reporter.stage(Stage.LOAD, subject=plan.model_id)
    with clock.step("load"):
        facts = checkpoints.examine(plan.uri)
        digest = None if facts.config is None else architecture_digest(facts.config)
        reporter.result(
            {"facts": {"kind": facts.kind.value, "keras_version": facts.keras_version, "architecture_digest": digest}}
        )
        model = checkpoints.load(plan.uri, facts, plan.load, sample_columns=sample_columns(plan))
    reporter.stage(Stage.EXPORT, subject=plan.model_id)
    with clock.step("trace"):
        traced = tracing.trace(model)
    binding, samples_problem = _bind(plan, model, traced)
    with clock.step("save"):
        saved = _save(plan, model, traced, binding)
    reporter.result(
        {"facts": {"saved_model": _plain(saved), "samples_problem": _plain(samples_problem), "timings_s": clock.seconds}}
    )
    if saved.deterministic is False:
        raise _nondeterministic(plan, model)
    if binding is not None and reference.is_done_while_exporting(plan):
        reporter.stage(Stage.REFERENCE, subject=plan.model_id)
        with clock.step("reference"):
            reference.write(traced, plan, binding, shard_index=0)
        reporter.result({"facts": {"referenced": True}})
    reporter.stage(Stage.CONVERT, subject=plan.model_id)
    with clock.step("convert"):
        for variant in _make_variants(plan, model, traced):
            reporter.result({"variant": _plain(variant)})
    reporter.result({"facts": {"timings_s": clock.seconds}})


def _plain(record: Any) -> Any:
    return None if record is None else dataclasses.asdict(record)


def sample_columns(plan: ModelPlan) -> tuple[TensorSpec, ...]:
    """The sample columns as inputs: those the job maps, under the input's name, else all but label and id."""
    samples = plan.samples
    if samples.sample_set is None or samples.spec is None:
        return ()
    columns = samples.sample_set.columns
    others = {samples.spec.label, samples.spec.id}
    mapping = dict(samples.spec.inputs) or {name: name for name in columns if name not in others}
    narrowed = {"float64": "float32"}  # NumPy's default, nobody's input
    return tuple(
        TensorSpec(
            name=name, shape=(None, *columns[column].shape), dtype=narrowed.get(columns[column].dtype, columns[column].dtype)
        )
        for name, column in mapping.items()
        if column in columns
    )


def _bind(plan: ModelPlan, model: LoadedModel, traced: TracedModel) -> tuple[Any, Reason | None]:
    if plan.samples.problem is not None:
        return None, plan.samples.problem
    try:
        return reference.bind(plan, model.signature, traced.renamed), None
    except SamplesError as error:
        return None, error.reason


def _save(plan: ModelPlan, model: LoadedModel, traced: TracedModel, binding: Any) -> SavedModelFacts:
    relative = os.path.join("saved_model", "1")
    directory = os.path.join(plan.staging_directory(), relative)
    saved_model.write(traced, directory, keep=model.keep, metadata=_metadata(plan, model))
    deterministic = None
    if binding is not None:
        batch = next(reference.batches(plan, binding, shard_index=0))
        deterministic = not tracing.differing_outputs(traced.run(batch.inputs), traced.run(batch.inputs))
        saved_model.write_warmup_requests(directory, {name: value[:_WARMUP_ROWS] for name, value in batch.inputs.items()})
    return SavedModelFacts(
        path=relative,
        bytes=storage.size_bytes(directory),
        signature=traced.signature,
        oracle=model.oracle,
        deterministic=deterministic,
        custom_objects=model.custom,
        renamed_inputs=dict(traced.renamed),
        warnings=model.warnings,
    )


def _metadata(plan: ModelPlan, model: LoadedModel) -> dict[str, Any]:
    return {
        "metadata": dict(plan.metadata),
        "checkpoint": {"uri": plan.uri, "digest": plan.digest, "bytes": plan.size_bytes},
        "oracle": model.oracle,
        "custom_objects": [dataclasses.asdict(custom) for custom in model.custom],
        "liteferry": __version__,
    }


def _nondeterministic(plan: ModelPlan, model: LoadedModel) -> ModelError:
    suspects = _random_layers(model.keep)
    named = f"; layers that may do it: {', '.join(suspects)}" if suspects else ""
    return ModelError(
        ReasonCode.EXPORT_NONDETERMINISTIC,
        Stage.EXPORT,
        "two inference runs on the same rows gave different answers: something in the model is random even "
        f"with training=False, an augmentation or a noise layer that ignores `training` most likely{named}. "
        "Make it honour `training`, or remove it from the model",
    )


def _random_layers(keep: Any) -> list[str]:
    """Who may have done it: the user's own layers, else every layer that owns a random seed."""
    layers = [layer for layer in keep._flatten_layers() if layer is not keep] if hasattr(keep, "_flatten_layers") else []
    custom = [layer for layer in layers if not type(layer).__module__.startswith(("keras.", "tf_keras."))]
    seeded = [layer for layer in layers if getattr(layer, "_seed_generators", None) or getattr(layer, "seed_generator", None)]
    return [f"{layer.name} ({type(layer).__name__})" for layer in custom or seeded]


def _make_variants(plan: ModelPlan, model: LoadedModel, traced: TracedModel) -> Iterator[VariantFacts]:
    content, batch, attempts = _lower(model, traced)
    if content is None:
        for name in plan.variants:
            yield VariantFacts(variant=name, attempts=attempts, reason=attempts[-1].error)
        return
    for name in plan.variants:
        try:
            yield _write_variant(plan, name, variants.make(name, content), batch, attempts)
        except ModelError as error:
            yield VariantFacts(variant=name, attempts=attempts, reason=error.reason)


def _lower(model: LoadedModel, traced: TracedModel) -> tuple[bytes | None, int | None, tuple[Attempt, ...]]:
    """The ladder: the batch as the model has it first; where that does not convert, fixed at 1. Returns flatbuffer, batch,
    what was tried.
    """
    first_dims = {spec.shape[0] for spec in traced.signature.inputs if spec.shape}
    own_batch = None if None in first_dims or len(first_dims) != 1 else first_dims.pop()
    rungs: list[tuple[str, int | None]] = [
        ("dynamic batch" if own_batch is None else f"the model's own batch of {own_batch}", own_batch)
    ]
    if own_batch is None:
        rungs.append(("batch fixed at 1", 1))
    attempts: list[Attempt] = []
    for lowering, batch in rungs:
        try:
            content = tflite.convert(traced if batch == own_batch else tracing.trace(model, batch=batch))
            return content, batch, (*attempts, Attempt(lowering=lowering))
        except ModelError as error:
            attempts.append(Attempt(lowering=lowering, error=error.reason))
    return None, None, tuple(attempts)


def _write_variant(plan: ModelPlan, name: str, content: bytes, batch: int | None, attempts: tuple[Attempt, ...]) -> VariantFacts:
    relative = os.path.join("tflite", f"{name}.tflite")
    storage.write_bytes(os.path.join(plan.staging_directory(), relative), content)
    return VariantFacts(
        variant=name,
        attempts=attempts,
        path=relative,
        bytes=len(content),
        batch=batch,
        ops=flatbuffer.count_operators(content),
        contract=flatbuffer.read_contract(content),
    )
