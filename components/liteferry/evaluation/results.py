"""The results of an evaluation by candidate, made from the messages of its sandboxes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from liteferry.errors import Reason
from liteferry.evaluation.messages import CandidateMeasured, CostMeasured, Message, NoiseMeasured, RowsInspected, TwinMeasured
from liteferry.evaluation.tfma.results import MetricsResult
from liteferry.evaluation.worst_inputs import Shown, worst_rows_of
from liteferry.exporting import reference
from liteferry.parity import noise
from liteferry.parity.noise import NoiseFloor
from liteferry.parity.output_stats import OutputStats
from liteferry.parity.rows_seen import RowsSeen
from liteferry.parity.slicing import Columns, Slices, merge_outputs
from liteferry.plan.model_plan import ModelPlan
from liteferry.types import DivergingTensor, Signature, TensorError

SAVED_MODEL = "saved_model"
_MOST_ROWS = 6  # shown in a report


@dataclasses.dataclass(frozen=True, kw_only=True)
class CandidateResult:
    """The result of one candidate after all rows: statistics per output, or why it could not be run. `slices`: statistics of
    slices, by the columns that cut them. `worst_rows`: the rows that could be shown. `rows_per_s`: its speed on the first shard.
    `latency_ms`, `activation_bytes`: see `latency.measure` and `latency.least_arena_bytes`.
    """

    stats: Mapping[str, OutputStats]
    slices: Mapping[Columns, Slices] = dataclasses.field(default_factory=dict)
    reason: Reason | None = None
    worst_rows: Shown = dataclasses.field(default_factory=dict)
    rows_per_s: float | None = None
    latency_ms: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    activation_bytes: int | None = None
    arena_bytes: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results by candidate ("saved_model" or a variant).

    `reason`: why the reference itself could not be run; then there are no results. `metrics`: task metrics, once computed.
    `diverging`: variant -> where it begins to differ, for variants that failed, and `tensor_errors` of all of its inner
    tensors; the search took `localise_seconds`. `noise`: the noise floor, by "reference" and "float32". `rows_seen`: facts
    about the rows, see `RowsSeen`. `warnings`: a sentence for each thing that could not be measured. `twin`: output -> how far
    the float32 twin is from the checkpoint. `looks`: (variant, target) -> the compiler's analysis, see `targets.looks`.
    """

    candidates: Mapping[str, CandidateResult]
    metrics: MetricsResult | None = None
    diverging: Mapping[str, tuple[DivergingTensor, ...]] = dataclasses.field(default_factory=dict)
    tensor_errors: Mapping[str, tuple[TensorError, ...]] = dataclasses.field(default_factory=dict)
    localise_seconds: float = 0.0
    reason: Reason | None = None
    checkpoint_rows_per_s: float | None = None
    noise: Mapping[str, NoiseFloor | None] = dataclasses.field(default_factory=dict)
    rows_seen: RowsSeen = dataclasses.field(default_factory=RowsSeen)
    warnings: tuple[str, ...] = ()
    twin: Mapping[str, OutputStats] = dataclasses.field(default_factory=dict)
    looks: Mapping[tuple[str, str], Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    peak_memory_bytes: int = 0

    def failures(self) -> dict[str, CandidateResult]:
        """The candidates that could not be run."""
        return {name: result for name, result in self.candidates.items() if result.reason is not None}


def merge(parts: list[Evaluation]) -> Evaluation:
    """Merges the shards of one model. Sums are exact, so the order does not matter. A candidate that failed on any shard has
    failed.
    """
    merged: dict[str, CandidateResult] = {}
    for part in parts:
        for name, result in part.candidates.items():
            before = merged.get(name)
            if before is None:
                merged[name] = result
                continue
            stats, shown = merge_outputs(before.stats, result.stats), before.worst_rows | result.worst_rows
            merged[name] = dataclasses.replace(
                before,
                stats=stats,
                worst_rows={row: shown[row] for row in worst_rows_of(stats) if row in shown},
                slices={columns: found + result.slices.get(columns, Slices()) for columns, found in before.slices.items()},
                reason=before.reason or result.reason,
            )
    return Evaluation(
        candidates=merged,
        reason=next((part.reason for part in parts if part.reason is not None), None),
        checkpoint_rows_per_s=parts[0].checkpoint_rows_per_s if parts else None,
        rows_seen=sum((part.rows_seen for part in parts), RowsSeen()),
        noise={name: measured for part in parts for name, measured in part.noise.items() if measured is not None},
        warnings=tuple(sentence for part in parts for sentence in part.warnings),
        looks={key: look for part in parts for key, look in part.looks.items()},
        twin=functools.reduce(merge_outputs, [part.twin for part in parts]) if parts else {},
        seconds=sum(part.seconds for part in parts),
        peak_memory_bytes=max((part.peak_memory_bytes for part in parts), default=0),
    )


def evaluation_of(
    task: EvaluationTask,
    messages: Sequence[Message],
    *,
    seconds: float,
    peak_memory_bytes: int,
    failures: Mapping[str, CandidateResult] = MappingProxyType({}),
) -> Evaluation:
    """The evaluation of one shard of one model from its messages. `failures` replace results of the same candidates."""
    return Evaluation(
        candidates={**results_of(messages), **failures},
        checkpoint_rows_per_s=reference.rows_per_s(task.plan, shard_index=task.shard_index),
        noise=_noise_of(task, messages),
        twin=next((_stats_of(one.stats) for one in messages if isinstance(one, TwinMeasured)), {}),
        rows_seen=next((RowsSeen.from_json(one.rows_seen) for one in messages if isinstance(one, RowsInspected)), RowsSeen()),
        seconds=seconds,
        peak_memory_bytes=peak_memory_bytes,
    )


def results_of(messages: Sequence[Message]) -> dict[str, CandidateResult]:
    """CandidateResult by name. Costs of a candidate that has no result are ignored."""
    costs = {one.candidate: one for one in messages if isinstance(one, CostMeasured)}
    return {one.candidate: _result(one, costs.get(one.candidate)) for one in messages if isinstance(one, CandidateMeasured)}


def _stats_of(plain: Mapping[str, Any]) -> dict[str, OutputStats]:
    return {name: OutputStats.from_json(stats) for name, stats in plain.items()}


def _result(measured: CandidateMeasured, cost: CostMeasured | None) -> CandidateResult:
    return CandidateResult(
        stats=_stats_of(measured.stats),
        arena_bytes=measured.arena_bytes,
        slices={tuple(columns): Slices.from_json(found) for columns, found in measured.slices},
        reason=measured.reason,
        worst_rows={shown["row"]: shown for shown in measured.worst_rows},
        rows_per_s=measured.rows_per_s,
        latency_ms=cost.latency_ms if cost else {},
        activation_bytes=cost.activation_bytes if cost else None,
    )


def _noise_of(task: EvaluationTask, messages: Sequence[Message]) -> dict[str, NoiseFloor | None]:
    if task.shard_index != 0:
        return {}
    measured = next((one.noise for one in messages if isinstance(one, NoiseMeasured)), None)
    return {noise.REFERENCE: reference.batch_noise(task.plan), noise.FLOAT32: measured}


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationTask:
    """One shard of one model. `candidates` maps a name to its path; `signature` is that of the artifacts, with the names they
    carry; `per_call`: outputs that are one answer for a call, see `call_groups`. `has_twin`: variants are compared with the
    answers of a float32 twin, see `float_twin`, and the twin with the checkpoint.
    """

    plan: ModelPlan
    signature: Signature
    renamed_inputs: Mapping[str, str]
    shard_index: int
    candidates: Mapping[str, str]
    per_call: tuple[str, ...] = ()
    has_twin: bool = False
    twin_rounds_inputs: bool = False


def own_signature(signature: Signature, renamed_inputs: Mapping[str, str]) -> Signature:
    """An artifact's signature under the model's own input names, which the job file uses."""
    own = {given: name for name, given in renamed_inputs.items()}
    inputs = tuple(dataclasses.replace(spec, name=own.get(spec.name, spec.name)) for spec in signature.inputs)
    return dataclasses.replace(signature, inputs=inputs)


def worst_inputs_of(evaluation: Evaluation) -> list[dict[str, Any]]:
    """At most six rows in order, two for each artifact; rows that cannot be shown are left out."""
    shown: Shown = {}
    wanted: dict[int, str] = {}
    for result in evaluation.candidates.values():
        wanted |= worst_rows_of(result.stats)
        shown |= result.worst_rows
    return [shown[row] for row in sorted(list(wanted)[:_MOST_ROWS]) if row in shown]
