"""Records of task metrics: the message of a sandbox, its part of the report, and whether the limits are met.

Closed by default: a metric with a limit that has no value, because labels are missing, because it is NaN or because the process
that computed it died, does not meet its limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.config.metric_limits import MAX_DROP, MAX_RELATIVE_DROP, MIN_VALUE
from liteferry.config.metrics_config import MetricsPlan
from liteferry.errors import Reason, ReasonCode, Stage
from liteferry.parity.gates import GateResult

OVERALL = "Overall"  # TFMA's name of the slice that holds all rows
REFERENCE = "reference"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricValue:
    """One number of one model. `change`: from the reference's value, None for the reference. `low`, `high`: 95 % interval."""

    slice: str
    metric: str
    value: float | None
    change: float | None = None
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricGate:
    """One limit in one slice. `observed`: the value, or for drops how much worse than the reference; None without a value."""

    slice: str
    metric: str
    output: str
    kind: str
    limit: float
    observed: float | None
    is_within: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelMetrics:
    """All numbers and limits of the reference or of one artifact."""

    values: tuple[MetricValue, ...] = ()
    gates: tuple[MetricGate, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricsResult:
    """Task metrics of a checkpoint and its artifacts, by name.

    `row_counts`: rows of each slice. `problems`: what could not be computed, a sentence each. `reason`: why nothing was
    computed.
    """

    models: Mapping[str, ModelMetrics] = dataclasses.field(default_factory=dict)
    row_counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    problems: tuple[str, ...] = ()
    reason: Reason | None = None
    seconds: float = 0.0
    peak_memory_bytes: int = 0


def judge_metrics(
    candidate: str, plan: MetricsPlan | None, result: MetricsResult | None
) -> tuple[tuple[GateResult, ...], Reason | None]:
    """The gates of one artifact as the report lists them, and why they are not met; None when they are, or nothing is gated."""
    if plan is None or not plan.is_gated:
        return (), None
    if plan.problem is not None:
        return (), plan.problem
    if result is None or result.reason is not None:
        lost = _missed("the task metrics were never computed, so their limits are not met; run the same command again")
        return (), lost if result is None else result.reason
    found = result.models.get(candidate, ModelMetrics())
    gates = tuple(
        GateResult(
            output=gate.output or "labels",
            metric=words(gate.kind, gate.metric, gate.slice),
            limit=gate.limit,
            observed=gate.observed,
            is_within=gate.is_within,
        )
        for gate in found.gates
    )
    if not found.gates:
        problems = "; ".join(result.problems) or "no reason was given"
        return gates, _missed(f"no task metric with a limit was computed ({problems})")
    return gates, missed(candidate, result)


def missed(candidate: str, result: MetricsResult) -> Reason | None:
    """Why the limits of one artifact are not met; None when they are."""
    failed = [gate for gate in result.models[candidate].gates if not gate.is_within]
    return _missed(_sentence(candidate, failed, result)) if failed else None


def words(kind: str, metric: str, slice_name: str) -> str:
    """The name of a limit among the gates of a report."""
    return f"{kind} of {metric}{_on(slice_name)}"


def _missed(message: str) -> Reason:
    return Reason(code=ReasonCode.METRIC_DROP, stage=Stage.JUDGE, message=message)


def _on(slice_name: str) -> str:
    return "" if slice_name == OVERALL else f" on {slice_name}"


def _sentence(candidate: str, failed: Sequence[MetricGate], result: MetricsResult) -> str:
    """A sentence on the first missed limit, with both values: the overall one if it is missed, else the worst slice's."""
    first = min(failed, key=lambda gate: (gate.observed is not None, gate.slice != OVERALL, -_excess(gate)))
    more = f"; {len(failed) - 1} more limit{'s are' if len(failed) > 2 else ' is'} not met" if len(failed) > 1 else ""
    what = f"{first.metric}{_on(first.slice)}"
    if first.observed is None:
        why = f" ({'; '.join(result.problems)})" if result.problems else ""
        unmet = f"so its limit {first.kind} {first.limit:g} is not met{more}"
        return f"{what} has no value{why}, {unmet}; correct the metric or its labels"
    value = next((one for one in result.models[candidate].values if _names(one, first)), None)
    reference = next((one for one in result.models.get(REFERENCE, ModelMetrics()).values if _names(one, first)), None)
    told = f"{what} is {_number(value)}, the checkpoint's is {_number(reference)}"
    if first.kind in (MAX_DROP, MAX_RELATIVE_DROP):
        worse = f"worse by {first.observed:.6g}{' of it' if first.kind == MAX_RELATIVE_DROP else ''}"
        return f"{told}: {worse}, {first.kind} is {first.limit:g}{more}; drop the variant or raise the limit"
    side = "at least" if first.kind == MIN_VALUE else "at most"
    return f"{told}, the limit is {side} {first.limit:g}{more}; drop the variant or change the limit"


def _names(value: MetricValue, gate: MetricGate) -> bool:
    return (value.slice, value.metric) == (gate.slice, gate.metric)


def _number(value: MetricValue | None) -> str:
    return "unknown" if value is None or value.value is None else f"{value.value:.6g}"


def _excess(gate: MetricGate) -> float:
    """How far a limit is missed."""
    return abs((gate.observed or 0.0) - gate.limit)


def facts_of(candidate: str, result: MetricsResult | None) -> dict[str, Any]:
    """{"metrics": {name: facts}, "metric_slices": {slice: {name: facts}}} of one artifact; empty where nothing was computed."""
    if result is None or candidate not in result.models:
        return {"metrics": {}, "metric_slices": {}}
    found = result.models[candidate]
    references = {(one.slice, one.metric): one.value for one in result.models.get(REFERENCE, ModelMetrics()).values}
    limits: dict[tuple[str, str], list[MetricGate]] = {}
    for gate in found.gates:
        limits.setdefault((gate.slice, gate.metric), []).append(gate)
    slices: dict[str, dict[str, Any]] = {}
    for one in found.values:
        gates = limits.get((one.slice, one.metric), [])
        slices.setdefault(one.slice, {})[one.metric] = {
            "value": one.value,
            "reference": references.get((one.slice, one.metric)),
            "change": one.change,
            **_interval(one),
            "limit": {gate.kind: gate.limit for gate in gates} or None,
            "is_within": all(gate.is_within for gate in gates) if gates else None,
        }
    return {"metrics": slices.pop(OVERALL, {}), "metric_slices": slices}


def reference_facts(plan: MetricsPlan | None, result: MetricsResult | None) -> dict[str, Any] | None:
    """The checkpoint's own values and the facts that apply to all artifacts; None for a job without task metrics."""
    if plan is None:
        return None
    slices: dict[str, dict[str, Any]] = {}
    for one in result.models.get(REFERENCE, ModelMetrics()).values if result else ():
        slices.setdefault(one.slice, {})[one.metric] = {"value": one.value, **_interval(one)}
    reason = plan.problem or (result.reason if result else None)
    return {
        "reference": slices.pop(OVERALL, {}),
        "slices": slices,
        "row_counts": dict(result.row_counts) if result else {},
        "problems": [reason.message] if reason else list(result.problems) if result else [],
        "path": "evaluation" if result and result.models else None,
    }


def _interval(value: MetricValue) -> dict[str, Any]:
    return {} if value.low is None and value.high is None else {"interval": [value.low, value.high]}
