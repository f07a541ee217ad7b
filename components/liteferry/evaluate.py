"""Three-way parity of one exported model: reference against SavedModel and every variant, over all rows, each in a sandbox.

`evaluate_isolated` is called by the stage; what runs in the sandboxes is in `liteferry.evaluation_units`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry import noise, reference
from liteferry.at_hand import AtHand, Needs, at_hand, storage_reason
from liteferry.errors import Reason, ReasonCode, Stage
from liteferry.evaluation_units import SAVED_MODEL, EvaluationTask
from liteferry.export import reason_of
from liteferry.local_cache import NoRoomError
from liteferry.metric_gates import MetricsResult
from liteferry.noise import Noise
from liteferry.parity import OutputStats
from liteferry.plan import ModelPlan
from liteferry.records import decode
from liteferry.sandbox import Flavor
from liteferry.slicing import Columns, Slices, merge_outputs
from liteferry.types import DivergingTensor, ExportedModel

_UNIT = "liteferry.evaluation_units:run_candidates"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CandidateResult:
    """What is known of one candidate after all rows: statistics per output, or why it could not be run. `slices`: the same for
    slices, by the columns that cut them. `rows_per_s`: its speed on the first shard. `latency_ms`, `activation_bytes`: see
    `latency.measure` and `latency.least_arena_bytes`.
    """

    stats: Mapping[str, OutputStats]
    slices: Mapping[Columns, Slices] = dataclasses.field(default_factory=dict)
    reason: Reason | None = None
    rows_per_s: float | None = None
    latency_ms: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    activation_bytes: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results by candidate ("saved_model" or a variant). `reason` is set when the reference itself could not be run: then
    there are none. `metrics`: task metrics, once they are computed. `diverging`: variant -> where it begins to differ, of those
    that failed, which took `localise_seconds`. `noise`: the noise floor, by "reference" and "float32".
    """

    candidates: Mapping[str, CandidateResult]
    metrics: MetricsResult | None = None
    diverging: Mapping[str, tuple[DivergingTensor, ...]] = dataclasses.field(default_factory=dict)
    localise_seconds: float = 0.0
    reason: Reason | None = None
    checkpoint_rows_per_s: float | None = None
    noise: Mapping[str, Noise | None] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    peak_memory_bytes: int = 0


def candidates_of(plan: ModelPlan, exported: ExportedModel) -> dict[str, str]:
    """Everything that was written and has to be held against the checkpoint: name -> path in staging."""
    paths = {}
    if exported.saved_model is not None:
        paths[SAVED_MODEL] = os.path.join(plan.staging_directory(), exported.saved_model.path)
    for name, variant in exported.variants.items():
        if variant.path is not None and variant.reason is None:
            paths[name] = os.path.join(plan.staging_directory(), variant.path)
    return paths


def shard_tasks(plan: ModelPlan, exported: ExportedModel) -> list[EvaluationTask]:
    """The units of evaluation of one model; none when there is nothing to compare or nothing to compare on."""
    if (
        exported.saved_model is None
        or exported.samples_problem is not None
        or plan.samples.sample_set is None
        or exported.reason is not None
    ):
        return []
    return [
        EvaluationTask(
            plan=plan,
            signature=exported.saved_model.signature,
            renamed_inputs=exported.saved_model.renamed_inputs,
            shard_index=index,
            candidates=candidates_of(plan, exported),
        )
        for index in range(len(plan.samples.sample_set.shards))
    ]


def split_by_shards(family: Sequence[tuple[ModelPlan, ExportedModel]]) -> tuple[list[EvaluationTask], list[EvaluationTask]]:
    """The family's units of evaluation: those whose reference the export has run, which go together, and all others."""
    together: list[EvaluationTask] = []
    apart: list[EvaluationTask] = []
    for plan, exported in family:
        (together if exported.referenced else apart).extend(shard_tasks(plan, exported))
    return together, apart


def evaluate_siblings_isolated(tasks: Sequence[EvaluationTask]) -> list[Evaluation]:
    """Models of one family whose references are on disk, one after the other in one clean process: the graph of their SavedModels
    is loaded once. A model that such a process leaves unfinished gets its own.
    """
    if len(tasks) == 1:
        return [evaluate_isolated(tasks[0], referenced=True)]
    shards = {task.plan.model_id: task.shard_index for task in tasks}
    try:
        with at_hand([task.plan for task in tasks], lambda plan: Needs(shards=(shards[plan.model_id],))) as here:
            if not here.problems:
                tasks = [dataclasses.replace(task, plan=plan) for task, plan in zip(tasks, here.plans, strict=True)]
                return _evaluate_siblings(tasks, here)
    except NoRoomError:
        pass
    return [evaluate_isolated(task, referenced=True) for task in tasks]


def _evaluate_siblings(tasks: Sequence[EvaluationTask], here: AtHand) -> list[Evaluation]:
    outcome = here.run(
        "liteferry.evaluation_units:run_candidates_in_turn",
        tuple(tasks),
        flavor=Flavor.CLEAN,
        limits=tasks[0].plan.limits,
        writable=[folder for task in tasks for folder in reference.work_directories(task.plan)],
    )
    evaluations = []
    not_timed_s = max(0.0, outcome.seconds - _seconds(outcome.results))  # of the process: each model's share
    for task in tasks:
        messages = tuple(message for message in outcome.results if message["model_id"] == task.plan.model_id)
        results = _results(messages)
        if results.keys() == task.candidates.keys():
            own_peaks = [peak for message in messages if (peak := message.get("peak_memory_bytes"))]
            evaluations.append(
                Evaluation(
                    candidates=results,
                    checkpoint_rows_per_s=reference.rows_per_s(task.plan, shard_index=task.shard_index),
                    noise=_noise(task, messages),
                    seconds=_seconds(messages) + not_timed_s / len(tasks),
                    peak_memory_bytes=max(own_peaks, default=outcome.peak_memory_bytes),
                )
            )
        else:
            evaluations.append(_evaluate_one(task, here, referenced=True))
    return evaluations


def _seconds(messages: Sequence[Mapping[str, Any]]) -> float:
    return float(sum(message.get("seconds", 0.0) for message in messages))


def evaluate_isolated(task: EvaluationTask, *, referenced: bool) -> Evaluation:
    """One shard: the reference where it is not on disk yet, then all candidates in one clean process.

    When that process crashes, every candidate without a result gets one of its own, so that the guilty one is known and the
    others are heard.
    """
    needs = Needs(checkpoint=not referenced, code=not referenced, shards=(task.shard_index,))
    try:
        with at_hand([task.plan], lambda _: needs) as here:
            for reason in here.problems.values():
                return Evaluation(candidates={}, reason=reason)
            return _evaluate_one(dataclasses.replace(task, plan=here.plans[0]), here, referenced=referenced)
    except NoRoomError as error:
        return Evaluation(candidates={}, reason=storage_reason(error, Stage.SAMPLES))


def _evaluate_one(task: EvaluationTask, here: AtHand, *, referenced: bool) -> Evaluation:
    seconds, peak = 0.0, 0
    if not referenced:
        outcome = here.run(
            "liteferry.evaluation_units:run_reference",
            task,
            flavor=Flavor.KERAS,
            limits=task.plan.limits,
            writable=reference.work_directories(task.plan),
            network=task.plan.load.may_use_network,
        )
        seconds, peak = outcome.seconds, outcome.peak_memory_bytes
        if outcome.error is not None:
            return Evaluation(candidates={}, reason=reason_of(outcome.error), seconds=seconds, peak_memory_bytes=peak)
    writable = reference.work_directories(task.plan)
    together = here.run(_UNIT, task, flavor=Flavor.CLEAN, limits=task.plan.limits, writable=writable)
    results = _results(together.results)
    seconds, peak = seconds + together.seconds, max(peak, together.peak_memory_bytes)
    for name in task.candidates.keys() - results.keys():
        alone = dataclasses.replace(task, candidates={name: task.candidates[name]})
        outcome = here.run(_UNIT, alone, flavor=Flavor.CLEAN, limits=task.plan.limits, writable=writable)
        lost = Reason(code=ReasonCode.INTERNAL, stage=Stage.EVALUATE, message="the evaluating process ended without an answer")
        results[name] = _results(outcome.results).get(name) or CandidateResult(stats={}, reason=reason_of(outcome.error) or lost)
        seconds, peak = seconds + outcome.seconds, max(peak, outcome.peak_memory_bytes)
    return Evaluation(
        candidates=results,
        checkpoint_rows_per_s=reference.rows_per_s(task.plan, shard_index=task.shard_index),
        noise=_noise(task, together.results),
        seconds=seconds,
        peak_memory_bytes=peak,
    )


def _results(messages: tuple[Any, ...]) -> dict[str, CandidateResult]:
    costs = {message["cost_of"]: message["cost"] for message in messages if "cost_of" in message}
    return {
        message["candidate"]: CandidateResult(
            stats={name: OutputStats.from_json(stats) for name, stats in message["stats"].items()},
            slices={tuple(columns): Slices.from_json(found) for columns, found in message["slices"]},
            reason=decode(Reason, message["reason"]) if message["reason"] else None,
            rows_per_s=message.get("rows_per_s"),
            **costs.get(message["candidate"], {}),
        )
        for message in messages
        if "candidate" in message
    }


def _noise(task: EvaluationTask, messages: tuple[Any, ...]) -> dict[str, Noise | None]:
    if task.shard_index != 0:
        return {}
    of_float32 = next((message["noise"] for message in messages if "noise" in message), None)
    return {noise.REFERENCE: reference.batch_noise(task.plan), noise.FLOAT32: of_float32}


def merge(parts: list[Evaluation]) -> Evaluation:
    """The shards of one model together. Sums are exact, so the order does not matter; a candidate that failed anywhere has
    failed.
    """
    merged: dict[str, CandidateResult] = {}
    for part in parts:
        for name, result in part.candidates.items():
            before = merged.get(name)
            if before is None:
                merged[name] = result
                continue
            merged[name] = dataclasses.replace(
                before,
                stats=merge_outputs(before.stats, result.stats),
                slices={columns: found + result.slices.get(columns, Slices()) for columns, found in before.slices.items()},
                reason=before.reason or result.reason,
            )
    return Evaluation(
        candidates=merged,
        reason=next((part.reason for part in parts if part.reason is not None), None),
        checkpoint_rows_per_s=parts[0].checkpoint_rows_per_s if parts else None,
        noise={name: measured for part in parts for name, measured in part.noise.items() if measured is not None},
        seconds=sum(part.seconds for part in parts),
        peak_memory_bytes=max((part.peak_memory_bytes for part in parts), default=0),
    )
