"""What is known of a model's candidates after the evaluation, and how it is read from what the sandboxes handed over."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from liteferry.parity.output_stats import OutputStats
from liteferry.plan.planning import ModelPlan

if TYPE_CHECKING:
    pass


from collections.abc import Sequence
from typing import TYPE_CHECKING

from liteferry.errors import Reason
from liteferry.exporting import reference
from liteferry.parity import noise
from liteferry.parity.rows_seen import RowsSeen
from liteferry.types import Signature

if TYPE_CHECKING:
    pass


from types import MappingProxyType

from liteferry.evaluation.tfma.results import MetricsResult
from liteferry.evaluation.worst_inputs import Shown, worst_rows_of
from liteferry.json_records import decode
from liteferry.parity.noise import Noise
from liteferry.parity.slicing import Columns, Slices, merge_outputs
from liteferry.types import DivergingTensor

_MOST_ROWS = 6  # shown in a report
Messages = Sequence[Mapping[str, Any]]
"""What a unit of `liteferry.evaluation.measure` handed over, see there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CandidateResult:
    """What is known of one candidate after all rows: statistics per output, or why it could not be run. `slices`: the same for
    slices, by the columns that cut them. `worst_rows`: those that could be shown. `rows_per_s`: its speed on the first shard.
    `latency_ms`, `activation_bytes`: see `latency.measure` and `latency.least_arena_bytes`.
    """

    stats: Mapping[str, OutputStats]
    slices: Mapping[Columns, Slices] = dataclasses.field(default_factory=dict)
    reason: Reason | None = None
    worst_rows: Shown = dataclasses.field(default_factory=dict)
    rows_per_s: float | None = None
    latency_ms: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    activation_bytes: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results by candidate ("saved_model" or a variant). `reason` is set when the reference itself could not be run: then
    there are none. `metrics`: task metrics, once they are computed. `diverging`: variant -> where it begins to differ, of those
    that failed, which took `localise_seconds`. `noise`: the noise floor, by "reference" and "float32". `rows_seen`: what the rows
    show. `warnings`: what could not
    be measured, a sentence each.
    """

    candidates: Mapping[str, CandidateResult]
    metrics: MetricsResult | None = None
    diverging: Mapping[str, tuple[DivergingTensor, ...]] = dataclasses.field(default_factory=dict)
    localise_seconds: float = 0.0
    reason: Reason | None = None
    checkpoint_rows_per_s: float | None = None
    noise: Mapping[str, Noise | None] = dataclasses.field(default_factory=dict)
    rows_seen: RowsSeen = dataclasses.field(default_factory=RowsSeen)
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    peak_memory_bytes: int = 0

    def failures(self) -> dict[str, CandidateResult]:
        """The candidates that could not be run."""
        return {name: result for name, result in self.candidates.items() if result.reason is not None}


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
        seconds=sum(part.seconds for part in parts),
        peak_memory_bytes=max((part.peak_memory_bytes for part in parts), default=0),
    )


def evaluation_of(
    task: EvaluationTask,
    messages: Messages,
    *,
    seconds: float,
    peak_memory_bytes: int,
    failures: Mapping[str, CandidateResult] = MappingProxyType({}),
) -> Evaluation:
    """One shard of one model, of which `messages` tell. `failures` stand, whatever these tell of the same candidates."""
    return Evaluation(
        candidates={**results_of(messages), **failures},
        checkpoint_rows_per_s=reference.rows_per_s(task.plan, shard_index=task.shard_index),
        noise=_noise_of(task, messages),
        rows_seen=next((RowsSeen.from_json(message["rows_seen"]) for message in messages if "rows_seen" in message), RowsSeen()),
        seconds=seconds,
        peak_memory_bytes=peak_memory_bytes,
    )


def results_of(messages: Messages) -> dict[str, CandidateResult]:
    """Results by candidate. Costs without a result are none."""
    costs = {message["cost_of"]: message["cost"] for message in messages if "cost_of" in message}
    return {
        message["candidate"]: CandidateResult(
            stats={name: OutputStats.from_json(stats) for name, stats in message["stats"].items()},
            slices={tuple(columns): Slices.from_json(found) for columns, found in message["slices"]},
            reason=decode(Reason, message["reason"]) if message["reason"] else None,
            worst_rows={shown["row"]: shown for shown in message.get("worst_rows", ())},
            rows_per_s=message.get("rows_per_s"),
            **costs.get(message["candidate"], {}),
        )
        for message in messages
        if "candidate" in message
    }


def _noise_of(task: EvaluationTask, messages: Messages) -> dict[str, Noise | None]:
    if task.shard_index != 0:
        return {}
    of_float32 = next((message["noise"] for message in messages if "noise" in message), None)
    return {noise.REFERENCE: reference.batch_noise(task.plan), noise.FLOAT32: of_float32}


def seconds_of(messages: Messages) -> float:
    """What the messages took, as far as they say so."""
    return float(sum(message.get("seconds", 0.0) for message in messages))


SAVED_MODEL = "saved_model"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationTask:
    """One shard of one model. `candidates` maps a name to its path; `signature` is that of the artifacts, with the names
    they carry; `per_call`: outputs that are one answer for a call, see `call_groups`.
    """

    plan: ModelPlan
    signature: Signature
    renamed_inputs: Mapping[str, str]
    shard_index: int
    candidates: Mapping[str, str]
    per_call: tuple[str, ...] = ()


def own_signature(signature: Signature, renamed_inputs: Mapping[str, str]) -> Signature:
    """An artifact's signature under the model's own input names, which the job file uses."""
    own = {given: name for name, given in renamed_inputs.items()}
    inputs = tuple(dataclasses.replace(spec, name=own.get(spec.name, spec.name)) for spec in signature.inputs)
    return dataclasses.replace(signature, inputs=inputs)


def worst_inputs_of(evaluation: Evaluation) -> list[dict[str, Any]]:
    """At most six rows in their order, two for each artifact, of those that could be shown."""
    shown: Shown = {}
    wanted: dict[int, str] = {}
    for result in evaluation.candidates.values():
        wanted |= worst_rows_of(result.stats)
        shown |= result.worst_rows
    return [shown[row] for row in sorted(list(wanted)[:_MOST_ROWS]) if row in shown]
