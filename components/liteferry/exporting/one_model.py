"""What happens in the sandbox of an export: each checkpoint is loaded, traced, proven deterministic, saved, run and converted.

Every artifact is handed over as soon as it is written, so a crash in a later step costs only that step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

from liteferry import checkpoints, sandbox
from liteferry.checkpoints import scanned_copy
from liteferry.checkpoints.config_scan import architecture_digest
from liteferry.errors import ModelError, Reason, ReasonCode, SamplesError, Stage
from liteferry.exporting import artifacts, convert, reference, sibling_weights, traces
from liteferry.exporting.messages import ModelEnded, ModelLearned, VariantMade
from liteferry.exporting.traces import Trace
from liteferry.exporting.work_folders import make_room
from liteferry.json_records import tagged
from liteferry.loading import loaders, tracing
from liteferry.loading.model import LoadedModel
from liteferry.loading.tracing import TracedModel
from liteferry.plan import bound_rows, siblings
from liteferry.plan.model_plan import ModelPlan
from liteferry.samples.binding import columns_as_inputs
from liteferry.sandbox import Flavor, Reporter, memory
from liteferry.sandbox.child import failure_of
from liteferry.tflite import converter_errors
from liteferry.types import TensorSpec, VariantFacts

sandbox.preload(__name__, flavors=(Flavor.KERAS,))


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


def export_models(plans: Sequence[ModelPlan], reporter: Reporter) -> None:
    """Runs in the sandbox: exports one model, or siblings one after the other. Hands over ModelEnded for each, and waits before
    the next one.
    """
    shared: Trace | None = None
    for number, plan in enumerate(plans):
        if number:
            scanned_copy.release()  # the model is in memory by now, and copies of siblings add up
            reporter.wait()
        if len(plans) > 1:
            memory.restart_peak()
        try:
            shared = _export_sibling(plan, _ModelReporter(plan.model_id, reporter), shared, keep_for_others=len(plans) > 1)
            failure = None
        except Exception as raised:  # any error of the model's code becomes this model's reason; its siblings go on
            if len(plans) == 1:
                raise
            shared = None
            failure = failure_of(raised, reporter.current_stage)
        # For a single model the supervisor's figure is better: it includes descendants.
        own_peak = memory.peak_bytes() if len(plans) > 1 else None
        reporter.result(tagged(ModelEnded(model_id=plan.model_id, failure=failure, peak_memory_bytes=own_peak)))


class _ModelReporter:
    """A reporter for one model."""

    def __init__(self, model_id: str, reporter: Reporter) -> None:
        self._model_id = model_id
        self._reporter = reporter

    def stage(self, stage: Stage) -> None:
        self._reporter.stage(stage, subject=self._model_id)

    def facts(self, **facts: Any) -> None:
        """Fields of ExportedModel."""
        self._reporter.result(tagged(ModelLearned(model_id=self._model_id, facts=facts)))

    def variant(self, variant: VariantFacts) -> None:
        self._reporter.result(tagged(VariantMade(model_id=self._model_id, variant=variant)))


def _export_sibling(plan: ModelPlan, reporter: _ModelReporter, shared: Trace | None, *, keep_for_others: bool) -> Trace:
    """Exports a model with a sibling's trace, where possible. If that fails, the model is loaded on its own, and only that
    result counts.
    """
    if shared is not None and shared.weights is not None:
        try:
            return _export_model(plan, reporter, shared, keep_for_others=keep_for_others)
        except Exception:  # noqa: BLE001  # sharing may have caused the error; loading the model on its own shows its own errors
            make_room([plan])
    return _export_model(plan, reporter, None, keep_for_others=keep_for_others)


def _export_model(plan: ModelPlan, reporter: _ModelReporter, shared: Trace | None, *, keep_for_others: bool) -> Trace:
    """All steps for one checkpoint: load, trace, prove deterministic, save, run the reference, convert.

    Raises:
      ModelError: with the reason that ends the work.
    """
    clock = _Clock()
    reporter.stage(Stage.LOAD)
    facts = checkpoints.examine(
        plan.checkpoint_path, links=plan.load.links, has_builder=plan.load.builder is not None, found_at=plan.uri
    )
    digest = None if facts.config is None else architecture_digest(facts.config)
    reporter.facts(kind=facts.kind.value, keras_version=facts.keras_version, architecture_digest=digest)
    with clock.step("load"):
        if shared is not None and not _bring_weights(shared, plan, facts):
            shared = None
        if shared is not None:
            model = shared.model
        else:
            model = loaders.load(plan.checkpoint_path, facts, plan.load, sample_columns=sample_columns(plan))
    reporter.stage(Stage.EXPORT)
    with clock.step("trace"):
        trace = shared or _traced(model, plan, facts, keep_for_others=keep_for_others)
    reporter.facts(layers=converter_errors.layer_classes(model.keep), shares_trace_of=shared.leader if shared else None)
    binding, samples_problem = _bind(plan, trace)
    with clock.step("save"):
        saved = artifacts.save(plan, trace, binding, keep_for_others=keep_for_others)
    twin = traces.add_twin(plan, trace, binding) if plan.variants else None
    reporter.facts(twin=_plain(twin), saved_model=_plain(saved), samples_problem=_plain(samples_problem), timings_s=clock.seconds)
    if saved.deterministic is False:
        raise _nondeterministic(model, trace.traced)
    if binding is not None and bound_rows.is_done_while_exporting(plan):
        reporter.stage(Stage.REFERENCE)
        with clock.step("reference"):
            reference.write(trace.proven, plan, binding, shard_index=0)
            if twin is not None:
                reference.write_twin(trace.for_files.traced, plan, binding, shard_index=0)
        reporter.facts(referenced=True)
    reporter.stage(Stage.CONVERT)
    with clock.step("convert"):
        for variant in convert.make_variants(plan, trace.for_files, binding):
            reporter.variant(variant)
    reporter.facts(timings_s=clock.seconds)
    return trace


def _traced(model: LoadedModel, plan: ModelPlan, facts: checkpoints.CheckpointFacts, *, keep_for_others: bool) -> Trace:
    trace = Trace(model, tracing.trace(model), leader=plan.model_id)
    traces.add_signatures(plan, trace)
    traces.add_together(plan, trace)
    if keep_for_others and plan.share_key is not None and siblings.captures_variables_alone(trace.traced.function):
        trace.weights = sibling_weights.Weights(facts.path or plan.checkpoint_path, facts)
    return trace


def _bring_weights(shared: Trace, plan: ModelPlan, facts: checkpoints.CheckpointFacts) -> bool:
    assert shared.weights is not None
    return shared.weights.load(
        shared.model.keep, facts.path or plan.checkpoint_path, facts, shared.traced.function.graph.variables
    )


def _plain(record: Any) -> Any:
    return None if record is None else dataclasses.asdict(record)


def sample_columns(plan: ModelPlan) -> tuple[TensorSpec, ...]:
    """The sample columns as inputs, for models that do not name theirs; empty without samples."""
    samples = plan.samples
    if samples.sample_set is None or samples.spec is None:
        return ()
    return columns_as_inputs(samples.sample_set, samples.spec)


def _bind(plan: ModelPlan, trace: Trace) -> tuple[Any, Reason | None]:
    if plan.samples.problem is not None:
        return None, plan.samples.problem
    try:
        return bound_rows.bind(plan, traces.bound_signature(trace), trace.traced.renamed), None
    except SamplesError as error:
        return None, error.reason


def _nondeterministic(model: LoadedModel, traced: TracedModel) -> ModelError:
    assigns = tracing.assigned_variables(traced.function)
    if assigns and not hasattr(model.keep, "_flatten_layers"):  # a Keras model has its random layers' seeds
        return ModelError(
            ReasonCode.EXPORT_NONDETERMINISTIC,
            Stage.EXPORT,
            "two inference runs on the same rows gave different answers: its graph assigns to variables on every call "
            f"({', '.join(assigns[:5])}), so an answer depends on the calls before it. Export a function that only reads, or "
            "give it the state as an input",
        )
    suspects = _random_layers(model.keep)
    named = f"; layers that may do it: {', '.join(suspects)}" if suspects else ""
    return ModelError(
        ReasonCode.EXPORT_NONDETERMINISTIC,
        Stage.EXPORT,
        "two inference runs on the same rows gave different answers: something in the model is random even "
        f"with training=False, an augmentation or a noise layer that ignores `training` most likely{named}. "
        "Make it honour `training`, or leave it out with `strip: [ClassName]` under its `models` entry",
    )


def _random_layers(keep: Any) -> list[str]:
    """The layers that may be random: the user's own, else every layer that owns a random seed."""
    layers = [layer for layer in keep._flatten_layers() if layer is not keep] if hasattr(keep, "_flatten_layers") else []
    custom = [layer for layer in layers if not type(layer).__module__.startswith(("keras.", "tf_keras."))]
    seeded = [layer for layer in layers if getattr(layer, "_seed_generators", None) or getattr(layer, "seed_generator", None)]
    return [f"{layer.name} ({type(layer).__name__})" for layer in custom or seeded]
