"""What the sandboxes of the evaluation run: the reference where the user's code is allowed, the candidates in a process that has
neither Keras nor the user's code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from liteferry.errors import ModelError, Reason, Stage
from liteferry.evaluation import kernel_noise, latency, predictions, worst_inputs
from liteferry.evaluation.accumulator import Comparison
from liteferry.evaluation.results import SAVED_MODEL, EvaluationTask, own_signature
from liteferry.exporting import reference
from liteferry.exporting.throughput import Pace
from liteferry.loading.call_groups import Calls, fixed_batch
from liteferry.parity import noise
from liteferry.parity.rows_seen import RowsSeen
from liteferry.plan import bound_rows
from liteferry.samples.labels import labels_of
from liteferry.samples.slice_columns import columns_of_slices
from liteferry.sandbox import Reporter, memory
from liteferry.tflite import runners

if TYPE_CHECKING:
    from liteferry.samples.binding import Binding
    from liteferry.samples.sample_set import Batch


def run_reference(task: EvaluationTask, reporter: Reporter) -> None:
    """In a sandbox with the user's code: loads the checkpoint and writes its answers for one shard."""
    from liteferry import checkpoints
    from liteferry.exporting.export import sample_columns
    from liteferry.loading import loaders, tracing

    reporter.stage(Stage.LOAD, subject=task.plan.model_id)
    facts = checkpoints.examine(task.plan.checkpoint_path, links=task.plan.load.links)
    model = loaders.load(task.plan.checkpoint_path, facts, task.plan.load, sample_columns=sample_columns(task.plan))
    traced = tracing.trace(model)
    traced = dataclasses.replace(traced, calls=dataclasses.replace(traced.calls, per_call=task.per_call))
    reporter.stage(Stage.REFERENCE, subject=task.plan.model_id)
    binding = bound_rows.bind(task.plan, model.signature, traced.renamed)
    reference.write(traced, task.plan, binding, shard_index=task.shard_index)


def run_candidates_in_turn(tasks: Sequence[EvaluationTask], reporter: Reporter) -> None:
    """`run_candidates` for one model after the other."""
    saved_models = runners.SavedModels()
    latencies: dict[str, Any] = {}
    for task in tasks:
        memory.restart_peak()
        inputs, variants = _compare_candidates(task, reporter, saved_models)
        _measure_costs(task, reporter, inputs, variants, latencies)
        reporter.result({"model_id": task.plan.model_id, "peak_memory_bytes": memory.peak_bytes()})
    for task in tasks:
        _measure_kernels(task, reporter)


def run_candidates(task: EvaluationTask, reporter: Reporter) -> None:
    """In a sandbox without Keras and without the user's code: every candidate on every row of one shard, batch by batch."""
    inputs, variants = _compare_candidates(task, reporter, runners.SavedModels())
    _measure_costs(task, reporter, inputs, variants, {})
    _measure_kernels(task, reporter)


def run_costs(task: EvaluationTask, reporter: Reporter) -> None:
    """In such a sandbox: latency and memory of variants that are known to run, on the first batch."""
    reporter.stage(Stage.EVALUATE, subject=task.plan.model_id)
    batch = _first_batch(task)
    _measure_costs(task, reporter, batch.inputs if batch else {}, list(task.candidates), {})


def run_kernels(task: EvaluationTask, reporter: Reporter) -> None:
    """In such a sandbox: the noise floor of a float32 file that is known to run."""
    reporter.stage(Stage.EVALUATE, subject=task.plan.model_id)
    _measure_kernels(task, reporter)


def _measure_kernels(task: EvaluationTask, reporter: Reporter) -> None:
    """Hands over {model_id, noise} of the float32 file, null where it cannot be run: its own result says why. Last, when all
    results are out: should other kernels crash, nothing is lost but this.
    """
    path = task.candidates.get(noise.FLOAT32)
    if path is None or task.shard_index != 0:
        return
    batch, measured = _first_batch(task), None
    if batch is not None:
        expected = reference.read(task.plan, 0, shard_index=0)
        with contextlib.suppress(ModelError):
            measured = kernel_noise.of_float32_file(path, batch.inputs, expected, per_call=task.per_call)
    reporter.result({"model_id": task.plan.model_id, "noise": measured})


def _first_batch(task: EvaluationTask) -> Batch | None:
    return next(iter(bound_rows.batches(task.plan, _binding(task), shard_index=task.shard_index)), None)


def _binding(task: EvaluationTask) -> Binding:
    return bound_rows.bind(task.plan, own_signature(task.signature, task.renamed_inputs), task.renamed_inputs)


def _compare_candidates(
    task: EvaluationTask, reporter: Reporter, saved_models: runners.SavedModels
) -> tuple[Mapping[str, Any], list[str]]:
    """Every candidate on every row of one shard, batch by batch.

    Hands over {model_id, rows_seen}, and {model_id, candidate, stats: {output: OutputStats}, slices: [[columns, Slices]], reason,
    worst_rows: [shown],
    rows_per_s, seconds} for each candidate, in the end. Returns the first batch, and the variants that ran.
    """
    started = time.monotonic()
    reporter.stage(Stage.EVALUATE, subject=task.plan.model_id)
    reasons: dict[str, Reason] = {}
    ready: dict[str, Any] = {}
    for name, path in task.candidates.items():
        try:
            if name == SAVED_MODEL:
                ready[name] = saved_models.runner(path, per_call=task.per_call)
            else:
                ready[name] = runners.LiteRTRunner(path, per_call=task.per_call)
        except ModelError as error:
            reasons[name] = error.reason
    slices, _ = columns_of_slices(task.plan.samples.spec, task.plan.samples.sample_set)
    calls = Calls(batch=fixed_batch(task.signature.inputs), per_call=task.per_call)
    comparisons = {name: Comparison(slices, calls=calls) for name in task.candidates}
    paces = {name: Pace() for name in task.candidates}
    first_inputs: dict[str, Any] = {}
    seen = RowsSeen()
    kept = predictions.Keeper(task.plan, shard_index=task.shard_index, calls=calls)
    binding = _binding(task)
    for number, batch in enumerate(bound_rows.batches(task.plan, binding, shard_index=task.shard_index)):
        expected = reference.read(task.plan, number, shard_index=task.shard_index)
        kept.start(batch, expected)
        seen += RowsSeen.of(batch.inputs, expected, labels_of(task.plan.samples.spec, batch.extras, batch.label, expected))
        for name, runner in ready.items():
            if name in reasons:
                continue
            try:
                observed = paces[name].run(runner.run, batch.inputs)
                comparisons[name].add(
                    expected,
                    observed,
                    ids=batch.ids,
                    first_row=batch.first_row,
                    rows=batch.rows,
                    columns=batch.extras if slices else None,
                )
                kept.keep(name, observed)
            except ModelError as error:
                reasons[name] = error.reason
        first_inputs = first_inputs or dict(batch.inputs)
    kept.flush()
    reporter.result({"model_id": task.plan.model_id, "rows_seen": seen.to_json()})
    statistics = {name: comparisons[name].finish() for name in task.candidates}
    worst = {name: worst_inputs.of_artifact(stats) for name, stats in statistics.items()}
    named = {row: row_id for rows in worst.values() for row, row_id in rows.items()}
    shown = worst_inputs.shown(task.plan, binding, named, shard_index=task.shard_index)
    for name in task.candidates:
        plain = {output: stats.to_json() for output, stats in statistics[name].items()}
        reason = dataclasses.asdict(reasons[name]) if name in reasons else None
        seconds, started = time.monotonic() - started, time.monotonic()
        reporter.result(
            {
                "model_id": task.plan.model_id,
                "candidate": name,
                "stats": plain,
                "slices": [[columns, found.to_json()] for columns, found in comparisons[name].finish_slices().items()],
                "reason": reason,
                "worst_rows": [shown[row] for row in worst[name] if row in shown],
                "rows_per_s": paces[name].rows_per_s(),
                "seconds": seconds,
            }
        )
    return first_inputs, [name for name in task.candidates if name != SAVED_MODEL and name not in reasons]


def _measure_costs(
    task: EvaluationTask, reporter: Reporter, inputs: Mapping[str, Any], variants: Sequence[str], known: dict[str, Any]
) -> None:
    """Hands over {model_id, cost_of, cost, seconds} for each variant. Siblings run the same operators on other numbers, and the
    first one's latency is that of all: it goes into `known` and is taken from there.
    """
    if not task.plan.latency or task.shard_index != 0 or not inputs:
        return
    for name in variants:
        started = time.monotonic()
        with open(task.candidates[name], "rb") as file:
            content = file.read()
        if name not in known:
            measured = latency.measure(content, inputs)
            known[name] = {**measured, "measured_on": task.plan.model_id} if measured else {}
        cost = {"latency_ms": known[name], "activation_bytes": latency.least_arena_bytes(content)}
        seconds = time.monotonic() - started
        reporter.result({"model_id": task.plan.model_id, "cost_of": name, "cost": cost, "seconds": seconds})
