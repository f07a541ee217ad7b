"""Judges a stored report by other limits of its task metrics: the values stay, and are compared with the job's current limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry import lenient
from liteferry.config.metric_limits import Bound
from liteferry.errors import ReasonCode
from liteferry.evaluation.tfma.results import (
    OVERALL,
    REFERENCE,
    MetricGate,
    MetricsResult,
    MetricValue,
    ModelMetrics,
    missed,
    words,
)
from liteferry.evaluation.verdict import LackingError
from liteferry.parity.gate_limits import SAVED_MODEL

Part = dict[str, Any]


def under(report: lenient.Report, limits: Sequence[Bound]) -> dict[str, Any]:
    """The report with every gate on a task metric judged by `limits`, which are the job's in the order of its config.

    Raises:
      LackingError: the report does not say by which limits it was judged, the limits are of other metrics, or two equal ones
        have become different.
    """
    judged_by = lenient.mapping(report.get("judged_by"))
    stored = judged_by.get("metric_limits")
    if stored is None and limits:
        raise LackingError("it does not say by which limits its task metrics were judged")
    old = [Bound(**one) for one in map(lenient.mapping, lenient.listing(stored))]
    if tuple(old) == tuple(limits):
        return dict(report)
    if [one.kind for one in old] != [one.kind for one in limits]:
        raise LackingError("its task metrics had limits of other kinds")
    change = _changes(old, limits)
    reference = _reference(report)
    parts = {SAVED_MODEL: report.get(SAVED_MODEL), **lenient.mapping(report.get("variants"))}
    new = {name: _part(name, lenient.mapping(part), change, reference) for name, part in parts.items()}
    return {
        **report,
        "judged_by": {**judged_by, "metric_limits": [dataclasses.asdict(one) for one in limits]},
        SAVED_MODEL: new.pop(SAVED_MODEL) or None,
        "variants": new,
    }


def _changes(old: Sequence[Bound], new: Sequence[Bound]) -> dict[tuple[str, float], Bound]:
    change: dict[tuple[str, float], Bound] = {}
    for before, now in zip(old, new, strict=True):
        if change.setdefault((before.kind, before.shown), now) != now:
            raise LackingError(f"two limits {before.kind} of {before.shown:g} have become different ones")
    return change


def _reference(report: lenient.Report) -> MetricsResult:
    metrics = lenient.mapping(report.get("metrics"))
    slices = {OVERALL: metrics.get("reference"), **lenient.mapping(metrics.get("slices"))}
    problems = tuple(map(str, lenient.listing(metrics.get("problems"))))
    return MetricsResult(models={REFERENCE: ModelMetrics(values=_values(slices))}, problems=problems)


def _values(slices: Mapping[str, Any]) -> tuple[MetricValue, ...]:
    return tuple(
        MetricValue(slice=where, metric=name, value=lenient.number(lenient.mapping(facts).get("value")))
        for where, found in slices.items()
        for name, facts in lenient.mapping(found).items()
    )


def _part(name: str, part: Part, change: Mapping[tuple[str, float], Bound], reference: MetricsResult) -> Part:
    slices = {OVERALL: part.get("metrics"), **lenient.mapping(part.get("metric_slices"))}
    known = {
        words(kind, metric, where): (kind, metric, where)
        for where, found in slices.items()
        for metric in lenient.mapping(found)
        for kind, _ in change
    }
    gates, judged = [], []
    for gate in map(lenient.mapping, lenient.listing(part.get("gates"))):
        kind, of, rest = str(gate.get("metric")).partition(" of ")
        if not of:
            gates.append(gate)
            continue
        bound = change.get((kind, lenient.number(gate.get("limit")) or 0.0))
        if bound is None:
            raise LackingError(f"its limit {kind} of {rest} is none of the job's")
        observed = lenient.number(gate.get("observed"))
        gates.append({**gate, "limit": bound.shown, "is_within": bound.holds(observed)})
        _, metric, where = known.get(str(gate.get("metric")), (kind, rest, OVERALL))
        judged.append(
            MetricGate(
                slice=where,
                metric=metric,
                output=str(gate.get("output")),
                kind=kind,
                limit=bound.shown,
                observed=observed,
                is_within=bound.holds(observed),
            )
        )
    if not judged:
        return part
    told = {where: _facts(where, lenient.mapping(found), judged) for where, found in slices.items()}
    own = ModelMetrics(values=_values(slices), gates=tuple(judged))
    reason = missed(name, dataclasses.replace(reference, models={**reference.models, name: own}))
    before = lenient.mapping(part.get("reason"))
    is_of_metrics = not before or before.get("code") == ReasonCode.METRIC_DROP.value
    plain = reason and {"code": reason.code.value, "stage": reason.stage.value, "message": reason.message}
    return {
        **part,
        "gates": gates,
        "metrics": told.pop(OVERALL),
        "metric_slices": told,
        "reason": plain if is_of_metrics else part.get("reason"),
    }


def _facts(where: str, found: Mapping[str, Any], judged: Sequence[MetricGate]) -> dict[str, Any]:
    facts = {}
    for name, one in found.items():
        gates = [gate for gate in judged if (gate.slice, gate.metric) == (where, name)]
        limit = {gate.kind: gate.limit for gate in gates} or None
        is_within = all(gate.is_within for gate in gates) if gates else None
        facts[name] = {**lenient.mapping(one), "limit": limit, "is_within": is_within}
    return facts
