"""The verdict on one candidate (the SavedModel or a variant): one function over the candidate's stored statistics.

A run, `liteferry verify`, `liteferry compare` and the search for the first diverging tensor all call `verdict`. A `Case` holds
everything that the verdict depends on. `case_of_run` makes one from a run's measurements, `case_of_report` from the report of
an earlier run, so that a report can be judged again without its model. `RULES_VERSION` is the number of these rules. A model
that was blessed under older rules is judged again, or exported again if `case_of_report` finds that its report lacks
statistics.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from liteferry import lenient
from liteferry.errors import Reason, ReasonCode, Stage
from liteferry.evaluation.targets import names
from liteferry.evaluation.tfma.results import judge_metrics
from liteferry.json_records import decode
from liteferry.parity import claims, noise
from liteferry.parity.gate_limits import METRICS, SAVED_MODEL, resolve_gates
from liteferry.parity.gates import GateResult, Gates, Stored, Verdict, judge
from liteferry.version import RULES_VERSION

if TYPE_CHECKING:
    from liteferry.evaluation.results import Evaluation
    from liteferry.plan.model_plan import ModelPlan
    from liteferry.types import ExportedModel

__all__ = ["RULES_VERSION", "Case", "LackingError", "case_of_report", "case_of_run", "verdict"]


class LackingError(Exception):
    """A stored report lacks something that today's rules need; the message says what."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """All facts about one candidate that its verdict depends on.

    Attributes:
      like: the variant whose default gates count.
      statistics: output -> `OutputStats.stored`; empty where it was never compared.
      row_count: rows of the samples, all of which have to be compared; 0 where they are not counted.
      gates: the job's, by variant. noise, kinds: as `resolve_gates` takes them.
      held: what the file holds (`held_quantized.read`); None if its name makes no claim.
      earlier: why it came to no comparison, or why nothing of the model may be blessed whatever it would show.
      metric_gates, metric_reason: limits of task metrics, judged where those were computed.
      twin: of a file that was made of a float32 twin: output -> how far that is from the checkpoint; None of any other.
      twin_max_rel: how far it may be.
    """

    candidate: str
    like: str
    expected_outputs: tuple[str, ...]
    statistics: Mapping[str, Stored] = dataclasses.field(default_factory=dict)
    row_count: int = 0
    gates: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    noise: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)
    held: Mapping[str, Any] | None = None
    earlier: Reason | None = None
    metric_gates: tuple[GateResult, ...] = ()
    metric_reason: Reason | None = None
    twin: Mapping[str, Stored] | None = None
    twin_max_rel: float | None = None


def verdict(case: Case) -> Verdict:
    """Gate closed by default: judged on statistics only when nothing went wrong before; blessed when every rule and gate is met,
    the file is what its name says, and the limits of task metrics hold.
    """
    short = case.earlier or _never_compared(case) or _rows_missing(case)
    if short is not None:
        return Verdict(gates=(), is_blessed=False, reason=short)
    gates = resolve_gates(case.candidate, case.gates, like=case.like, noise=case.noise, kinds=case.kinds)
    judged = judge(case.statistics, gates=gates, expected_outputs=case.expected_outputs)
    reason = judged.reason or _twin_is_another(case)
    if case.candidate == SAVED_MODEL and reason is not None and reason.code is ReasonCode.PARITY_OUT_OF_TOLERANCE:
        reason = dataclasses.replace(reason, code=ReasonCode.EXPORT_MISMATCH)
    if case.held is not None:
        reason = reason or claims.unmet(case.candidate, case.held)
    reason = reason or case.metric_reason
    return Verdict(gates=(*judged.gates, *case.metric_gates), is_blessed=reason is None, reason=reason)


def _twin_is_another(case: Case) -> Reason | None:
    """A file that equals its twin proves nothing about the checkpoint if the twin differs from the checkpoint."""
    if case.twin_max_rel is None or case.twin is None:
        return None
    defaults = {"max_rel": case.twin_max_rel, **_TWIN_GATES}
    gates = Gates(variant="twin", defaults=defaults, kinds=case.kinds)
    judged = judge(case.twin, gates=gates, expected_outputs=case.expected_outputs)
    if judged.reason is None:
        return None
    missed = [gate for gate in judged.gates if not gate.is_within]
    told = [f"output {gate.output!r}: {gate.metric} {gate.observed} (limit {gate.limit:g})" for gate in missed]
    words = "; ".join(told[:3]) or judged.reason.message
    message = (
        f"{case.candidate} was made of a float32 twin of the checkpoint, and that is too far from it: {words}. "
        "conversion.twin_max_rel is the limit; LiteRT cannot compute in the checkpoint's own format"
    )
    return dataclasses.replace(judged.reason, message=message)


# Half precision is coarse: single answers flip where two entries are equally large. But a twin must not compute another function.
_TWIN_GATES = {"exact_agreement": 0.99, "row_agreement": 0.99}


def _never_compared(case: Case) -> Reason | None:
    if case.statistics:
        return None
    message = f"{case.candidate} was never compared with the checkpoint"
    return Reason(code=ReasonCode.SAMPLES_EMPTY, stage=Stage.JUDGE, message=message)


def _rows_missing(case: Case) -> Reason | None:
    """Requires every row of every shard, since a lost shard would otherwise go unnoticed."""
    seen = min((stats["example_count"] for stats in case.statistics.values()), default=0)
    if case.row_count == 0 or seen == case.row_count:
        return None
    message = f"{case.candidate}: {seen:,} of {case.row_count:,} sample rows were compared; run the same command again"
    return Reason(code=ReasonCode.INTERNAL, stage=Stage.JUDGE, message=message)


def case_of_run(name: str, plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> Case:
    """The case of one candidate of a run."""
    variant, result, saved = exported.variants.get(name), evaluation.candidates.get(name), exported.saved_model
    opinion = exported.second_opinion
    earlier = (
        exported.reason
        or (opinion.reason() if opinion is not None else None)
        or (variant.reason if variant is not None else None)
        or exported.samples_problem
        or evaluation.reason
        or (result.reason if result is not None else None)
    )
    metric_gates, metric_reason = judge_metrics(name, plan.metrics, evaluation.metrics)
    return Case(
        candidate=name,
        like=plan.gates_like(name),
        expected_outputs=saved.proven.output_names() if saved is not None else (),
        statistics={} if result is None else {output: stats.stored() for output, stats in result.stats.items()},
        row_count=plan.samples.sample_set.row_count if plan.samples.sample_set else 0,
        gates=plan.gates,
        noise=noise.limits_from(name, evaluation.noise),
        kinds=output_kinds(plan, evaluation),
        held=variant.held if variant is not None and claims.is_claim(name, plan.recipes) else None,
        earlier=earlier,
        metric_gates=metric_gates,
        metric_reason=metric_reason,
        **_twin_of_run(name, plan, exported, evaluation),
    )


def of_target(name: str, target: str, plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> Case:
    """The case of a variant that was run as on a target: its own gates, on what it answered there."""
    there = dataclasses.replace(
        evaluation, candidates={name: result} if (result := evaluation.candidates.get(names.on(name, target))) else {}
    )
    return dataclasses.replace(case_of_run(name, plan, exported, there), metric_gates=(), metric_reason=None)


def _twin_of_run(name: str, plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> dict[str, Any]:
    if exported.twin is None or name == SAVED_MODEL:
        return {}
    stored = {output: stats.stored() for output, stats in evaluation.twin.items()}
    return {"twin": stored, "twin_max_rel": plan.twin_max_rel or exported.twin.max_rel_limit}


def output_kinds(plan: ModelPlan, evaluation: Evaluation) -> dict[str, str]:
    """output -> `regression` or `classes`: the job's setting, else as seen in the rows."""
    return {**evaluation.rows_seen.kinds(), **plan.output_kinds}


def case_of_report(name: str, report: lenient.Report) -> Case:
    """The case of one candidate of a stored report, whatever rules it was judged by.

    Raises:
      LackingError: these rules need something that the report does not hold.
    """
    saved = lenient.mapping(report.get("saved_model"))
    part = saved if name == SAVED_MODEL else lenient.mapping(lenient.mapping(report.get("variants")).get(name))
    terms, judged = report.get("judged_by"), _statistics(name, part)
    earlier = _earlier(report, saved, part, judged)
    if not isinstance(terms, Mapping):
        raise LackingError("it does not say by which limits it was judged")
    if judged and (lenient.integer(report.get("rules_version")) or 1) < _OPINION_SINCE and not saved.get("second_opinion"):
        raise LackingError("it holds no second opinion on the checkpoint's answers")
    recipes = lenient.listing(terms.get("recipes"))
    is_claim = claims.is_claim(name, recipes) and bool(judged)
    if is_claim and not isinstance(part.get("held"), Mapping):
        raise LackingError(f"it does not say what {name} holds")
    first = lenient.mapping(saved.get("signatures")).get(str(saved.get("signature") or "serving_default"))
    signature = lenient.mapping(saved.get("together") or first)
    found = [gate for gate in map(lenient.mapping, lenient.listing(part.get("gates"))) if gate.get("metric") not in METRICS]
    metric_gates = tuple(decode(GateResult, gate) for gate in found)
    floors = lenient.mapping(report.get("noise_floor"))
    return Case(
        candidate=name,
        like="int8" if name in recipes else name,
        expected_outputs=tuple(str(lenient.mapping(spec).get("name")) for spec in lenient.listing(signature.get("outputs"))),
        statistics=judged,
        row_count=lenient.integer(lenient.mapping(report.get("samples")).get("row_count")) or 0,
        gates=lenient.mapping(terms.get("gates")),
        noise=noise.limits_from(name, {source: noise.NoiseFloor.from_json(one) for source, one in floors.items()}),
        kinds={str(output): str(kind) for output, kind in lenient.mapping(terms.get("kinds")).items()},
        held=lenient.mapping(part.get("held")) if is_claim else None,
        earlier=earlier,
        metric_gates=metric_gates,
        metric_reason=_metric_reason(part, metric_gates),
        **_twin_of_report(name, lenient.mapping(report.get("twin"))),
    )


def _twin_of_report(name: str, twin: Mapping[str, Any]) -> dict[str, Any]:
    if not twin or name == SAVED_MODEL:
        return {}
    stored = _statistics("twin", twin)
    return {"twin": stored, "twin_max_rel": lenient.number(twin.get("max_rel_limit")) or 0.0}


_OPINION_SINCE = 2  # the first rules that require a second opinion; a report under them without one says that none was possible
# The statistics of an output that a verdict reads; a report without one of them was judged by rules that did not use it.
_NEEDED = ("kind", "rank", "compared_count", "columns_judged", "row_agreement", "classes_judged", "class_recall")


def _statistics(name: str, part: Mapping[str, Any]) -> dict[str, Stored]:
    found = lenient.mapping(part.get("fidelity" if name == SAVED_MODEL else "parity"))
    examples = [lenient.mapping(example) for example in lenient.listing(part.get("worst_examples"))]
    statistics: dict[str, Stored] = {}
    for output, stats in found.items():
        missing = [key for key in (*_NEEDED, *METRICS) if key not in lenient.mapping(stats)]
        if missing:
            raise LackingError(f"the statistics of output {output!r} of {name} lack {', '.join(missing[:3])}")
        worst = [example for example in examples if example.get("output") == output]
        statistics[str(output)] = {**lenient.mapping(stats), "worst_examples": worst}
    return statistics


def _earlier(
    report: lenient.Report, saved: Mapping[str, Any], part: Mapping[str, Any], statistics: Mapping[str, Stored]
) -> Reason | None:
    """A reason that does not come from statistics: the model's, the second opinion's, or the candidate's own."""
    opinion = lenient.mapping(saved.get("second_opinion"))
    if opinion.get("code"):
        return decode(Reason, {"code": opinion["code"], "stage": Stage.REFERENCE.value, "message": opinion.get("why") or ""})
    for reason in (part.get("reason"), None if saved else report.get("reason")):
        found = lenient.mapping(reason)
        if found and (not statistics or found.get("stage") != Stage.JUDGE.value):
            return decode(Reason, {key: found.get(key) for key in ("code", "stage", "message")})
    return None


def _metric_reason(part: Mapping[str, Any], gates: Sequence[GateResult]) -> Reason | None:
    """Keeps the stored verdict on task metrics: they were judged when they were computed."""
    found = lenient.mapping(part.get("reason"))
    if found.get("code") == ReasonCode.METRIC_DROP.value:
        return decode(Reason, {key: found.get(key) for key in ("code", "stage", "message")})
    missed = [gate for gate in gates if not gate.is_within]
    if not missed:
        return None
    message = f"the limit {missed[0].metric} is not met: {missed[0].observed} against {missed[0].limit:g}"
    return Reason(code=ReasonCode.METRIC_DROP, stage=Stage.JUDGE, message=message)
