"""The units of work of the evaluation. The reference runs in a sandbox with the user's code; the candidates run in a sandbox
without Keras and without the user's code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from liteferry import sandbox
from liteferry.errors import ModelError, Reason, Stage
from liteferry.evaluation import kernel_noise, latency, predictions, worst_inputs
from liteferry.evaluation.accumulator import StatsAccumulator
from liteferry.evaluation.messages import (
    CandidateMeasured,
    CostMeasured,
    Message,
    NoiseMeasured,
    PeakMeasured,
    RowsInspected,
    TwinMeasured,
)
from liteferry.evaluation.results import SAVED_MODEL, EvaluationTask, own_signature
from liteferry.evaluation.targets import names
from liteferry.exporting import reference, traces
from liteferry.exporting.throughput import Throughput
from liteferry.json_records import tagged
from liteferry.loading.call_groups import Calls, fixed_batch
from liteferry.parity import noise
from liteferry.parity.rows_seen import RowsSeen
from liteferry.plan import bound_rows
from liteferry.samples.labels import labels_of
from liteferry.samples.slice_columns import columns_of_slices
from liteferry.sandbox import Flavor, Reporter, memory
from liteferry.sandbox.units import Unit
from liteferry.tflite import micro, runners

if TYPE_CHECKING:
    import numpy as np

    from liteferry.samples.binding import Binding
    from liteferry.samples.sample_set import Batch


sandbox.preload(__name__, "liteferry.samples.formats.parquet", flavors=(Flavor.KERAS, Flavor.CLEAN))


def run_reference(task: EvaluationTask, reporter: Reporter) -> None:
    """Runs in a sandbox with the user's code. Loads the checkpoint and writes its answers for one shard."""
    from liteferry import checkpoints
    from liteferry.exporting.one_model import sample_columns
    from liteferry.loading import float_twin, loaders, tracing

    reporter.stage(Stage.LOAD, subject=task.plan.model_id)
    plan = task.plan
    facts = checkpoints.examine(
        plan.checkpoint_path, links=plan.load.links, has_builder=plan.load.builder is not None, found_at=plan.uri
    )
    model = loaders.load(plan.checkpoint_path, facts, plan.load, sample_columns=sample_columns(plan))
    trace = traces.Trace(model, tracing.trace(model), leader=plan.model_id)
    if plan.tflite_signatures:
        traces.add_signatures(plan, trace)
        traces.add_together(plan, trace)
    traced = dataclasses.replace(trace.proven, calls=dataclasses.replace(trace.proven.calls, per_call=task.per_call))
    reporter.stage(Stage.REFERENCE, subject=task.plan.model_id)
    binding = bound_rows.bind(task.plan, traces.bound_signature(trace), traced.renamed)
    reference.write(traced, task.plan, binding, shard_index=task.shard_index)
    twin = float_twin.of(model, rounds_inputs=task.twin_rounds_inputs) if task.has_twin else None
    if twin is not None:
        of_twin = dataclasses.replace(tracing.trace(twin.model), calls=traced.calls)
        reference.write_twin(of_twin, task.plan, binding, shard_index=task.shard_index)


def run_candidates_in_turn(first: EvaluationTask, reporter: Reporter) -> None:
    """`run_candidates` for one model after the other, for as long as there is a next one."""
    saved_models = runners.SavedModels(first.plan.load.modules)
    latencies: dict[str, Any] = {}
    task: EvaluationTask | None = first
    while task is not None:
        memory.restart_peak()
        inputs, variants = _compare_candidates(task, reporter, saved_models)
        _measure_costs(task, reporter, inputs, variants, latencies)
        _hand_over(reporter, PeakMeasured(model_id=task.plan.model_id, peak_memory_bytes=memory.peak_bytes()))
        _measure_kernels(task, reporter)
        task = reporter.wait()


def run_candidates(task: EvaluationTask, reporter: Reporter) -> None:
    """Runs in a sandbox without Keras and without the user's code. Runs every candidate on every row of one shard, batch by
    batch.
    """
    inputs, variants = _compare_candidates(task, reporter, runners.SavedModels(task.plan.load.modules))
    _measure_costs(task, reporter, inputs, variants, {})
    _measure_kernels(task, reporter)


def run_costs(task: EvaluationTask, reporter: Reporter) -> None:
    """Runs in the same kind of sandbox. Measures latency and memory of variants that are known to run, on the first batch."""
    reporter.stage(Stage.EVALUATE, subject=task.plan.model_id)
    batch = _first_batch(task)
    _measure_costs(task, reporter, batch.inputs if batch else {}, list(task.candidates), {})


def run_kernels(task: EvaluationTask, reporter: Reporter) -> None:
    """Runs in the same kind of sandbox. Measures the noise floor of a float32 file that is known to run."""
    reporter.stage(Stage.EVALUATE, subject=task.plan.model_id)
    _measure_kernels(task, reporter)


def _measure_kernels(task: EvaluationTask, reporter: Reporter) -> None:
    """Hands over NoiseMeasured. Called last, after all results were handed over: if the other kernels crash, only this
    measurement is lost.
    """
    path = task.candidates.get(noise.FLOAT32)
    if path is None or task.shard_index != 0:
        return
    batch, measured = _first_batch(task), None
    if batch is not None:
        expected = (reference.read_twin if task.has_twin else reference.read)(task.plan, 0, shard_index=0)
        with contextlib.suppress(ModelError):
            measured = kernel_noise.of_float32_file(path, batch.inputs, expected, per_call=task.per_call)
    _hand_over(reporter, NoiseMeasured(model_id=task.plan.model_id, noise=measured))


def _hand_over(reporter: Reporter, message: Message) -> None:
    reporter.result(tagged(message))


def _first_batch(task: EvaluationTask) -> Batch | None:
    return next(iter(bound_rows.batches(task.plan, _binding(task), shard_index=task.shard_index)), None)


def _binding(task: EvaluationTask) -> Binding:
    return bound_rows.bind(task.plan, own_signature(task.signature, task.renamed_inputs), task.renamed_inputs)


def _compare_candidates(
    task: EvaluationTask, reporter: Reporter, saved_models: runners.SavedModels
) -> tuple[Mapping[str, Any], list[str]]:
    """Runs every candidate on every row of one shard, batch by batch. Hands over RowsInspected, and at the end CandidateMeasured
    for each candidate. Returns the inputs of the first batch, and the names of the variants that ran.
    """
    started = time.monotonic()
    reporter.stage(Stage.EVALUATE, subject=task.plan.model_id)
    calls = Calls(batch=fixed_batch(task.signature.inputs), per_call=task.per_call)
    contenders = _contenders(task, saved_models, calls)
    twin = StatsAccumulator(calls=calls)
    first_inputs: dict[str, Any] = {}
    seen = RowsSeen()
    kept = predictions.Keeper(task.plan, shard_index=task.shard_index, calls=calls)
    binding = _binding(task)
    for number, batch in enumerate(bound_rows.batches(task.plan, binding, shard_index=task.shard_index)):
        expected = reference.read(task.plan, number, shard_index=task.shard_index)
        of_files = expected
        if task.has_twin:
            of_files = reference.read_twin(task.plan, number, shard_index=task.shard_index)
            twin.add(expected, of_files, ids=batch.ids, rows=batch.row_numbers())
        kept.start(batch, expected)
        labels = labels_of(task.plan.samples.spec, batch.extras, batch.label, expected)
        seen += RowsSeen.of(batch.inputs, expected, labels, filled=batch.filled)
        for contender in contenders:
            contender.answer(batch, expected if contender.name == SAVED_MODEL else of_files, kept)
        first_inputs = first_inputs or dict(batch.inputs)
    kept.flush()
    _hand_over(reporter, RowsInspected(model_id=task.plan.model_id, rows_seen=seen.to_json()))
    if task.has_twin:
        of_twin = {output: stats.to_json() for output, stats in twin.finish().items()}
        _hand_over(reporter, TwinMeasured(model_id=task.plan.model_id, stats=of_twin))
    worst = [worst_inputs.worst_rows_of(contender.comparison.finish()) for contender in contenders]
    named = {row: row_id for rows in worst for row, row_id in rows.items()}
    shown = worst_inputs.shown(task.plan, binding, named, shard_index=task.shard_index)
    for contender, rows in zip(contenders, worst, strict=True):
        seconds, started = time.monotonic() - started, time.monotonic()
        worst_rows = [shown[row] for row in rows if row in shown]
        _hand_over(reporter, contender.measured(task.plan.model_id, worst_rows=worst_rows, seconds=seconds))
    return first_inputs, [
        one.name for one in contenders if one.name != SAVED_MODEL and one.reason is None and not names.is_on_a_target(one.name)
    ]


@dataclasses.dataclass(kw_only=True)
class _Contender:
    """One candidate while it runs. After its first error (`reason`) it gets no more rows; its earlier answers count."""

    name: str
    comparison: StatsAccumulator
    pace: Throughput
    runner: Any = None
    reason: Reason | None = None

    def answer(self, batch: Batch, expected: Mapping[str, np.ndarray], kept: predictions.Keeper) -> None:
        """Runs the candidate on one batch and compares its answers with the reference's, `expected`."""
        if self.reason is not None:
            return
        try:
            observed = self.pace.run(self.runner.run, batch.inputs)
            self.comparison.add(expected, observed, ids=batch.ids, rows=batch.row_numbers(), columns=batch.extras)
            if not names.is_on_a_target(self.name):
                kept.keep(self.name, observed)
        except ModelError as error:
            self.reason = error.reason

    def measured(self, model_id: str, *, worst_rows: Sequence[dict[str, Any]], seconds: float) -> CandidateMeasured:
        """The measurements, after all rows were run."""
        return CandidateMeasured(
            model_id=model_id,
            candidate=self.name,
            stats={output: stats.to_json() for output, stats in self.comparison.finish().items()},
            slices=[(columns, found.to_json()) for columns, found in self.comparison.finish_slices().items()],
            reason=self.reason,
            worst_rows=worst_rows,
            rows_per_s=self.pace.rows_per_s(),
            seconds=seconds,
            arena_bytes=getattr(self.runner, "arena_bytes", None),
        )


def _contenders(task: EvaluationTask, saved_models: runners.SavedModels, calls: Calls) -> list[_Contender]:
    slices, _ = columns_of_slices(task.plan.samples.spec, task.plan.samples.sample_set)
    contenders = []
    for name, path in task.candidates.items():
        contender = _Contender(name=name, comparison=StatsAccumulator(slices, calls=calls), pace=Throughput())
        try:
            if names.is_on_a_target(name):
                contender.runner = micro.MicroRunner(_content_of(path), per_call=task.per_call)
            elif name == SAVED_MODEL:
                contender.runner = saved_models.runner(path, per_call=task.per_call)
            else:
                contender.runner = runners.LiteRTRunner(path, per_call=task.per_call)
        except ModelError as error:
            contender.reason = error.reason
        contenders.append(contender)
    return contenders


def _content_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _measure_costs(
    task: EvaluationTask, reporter: Reporter, inputs: Mapping[str, Any], variants: Sequence[str], known: dict[str, Any]
) -> None:
    """Hands over CostMeasured for each variant. Siblings run the same operators on other numbers, so the latency of the first one
    counts for all: it is stored in `known` and taken from there.
    """
    if not task.plan.latency or task.shard_index != 0 or not inputs:
        return
    for name in variants:
        started = time.monotonic()
        content = _content_of(task.candidates[name])
        if name not in known:
            measured = latency.measure(content, inputs)
            known[name] = {**measured, "measured_on": task.plan.model_id} if measured else {}
        cost = CostMeasured(
            model_id=task.plan.model_id,
            candidate=name,
            latency_ms=known[name],
            activation_bytes=latency.least_arena_bytes(content),
            seconds=time.monotonic() - started,
        )
        _hand_over(reporter, cost)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Units:
    """The units that an evaluation runs in sandboxes. A test passes units that die."""

    reference: Unit = run_reference
    candidates: Unit = run_candidates
    candidates_in_turn: Unit = run_candidates_in_turn
    costs: Unit = run_costs
    kernels: Unit = run_kernels
