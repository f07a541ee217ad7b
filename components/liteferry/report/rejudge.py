"""Judges a stored report again by today's rules, from its own statistics, without its model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from liteferry import lenient
from liteferry.config.metric_limits import Bound
from liteferry.errors import ReasonCode, Stage
from liteferry.evaluation.targets import names
from liteferry.evaluation.verdict import LackingError, case_of_report, verdict
from liteferry.parity.gate_limits import METRICS, SAVED_MODEL
from liteferry.parity.gates import Verdict
from liteferry.report import metric_limits, targets
from liteferry.report.recommend import MIN_SAVING, passed_over, worth_naming
from liteferry.types import Status
from liteferry.version import RULES_VERSION

if TYPE_CHECKING:
    from liteferry.plan.model_plan import ModelPlan

FIRST_RULES = 1
"""The rules of 0.1.0, whose reports have no number."""


def rules_of(report: lenient.Report) -> int:
    """The number of the rules that a report was judged by."""
    return lenient.integer(report.get("rules_version")) or FIRST_RULES


def is_outdated(report: lenient.Report) -> bool:
    """Whether older rules than today's have judged the report. A report of a later LiteFerry is not outdated."""
    return rules_of(report) < RULES_VERSION


@dataclasses.dataclass(frozen=True, kw_only=True)
class Terms:
    """The job's current settings for verdicts, which replace those stored in a report: `gates`, as the job file has them,
    `kinds` (output -> `regression` or `classes`, of those that the job names), `require`, the variants that a model needs, and
    `metric_limits`, those of its task metrics.
    """

    gates: Mapping[str, Mapping[str, Any]]
    kinds: Mapping[str, str]
    require: tuple[str, ...]
    metric_limits: tuple[Bound, ...] = ()


def terms_of(plan: ModelPlan) -> Terms:
    """The terms of a plan."""
    limits = plan.metrics.bounds() if plan.metrics else ()
    return Terms(gates=plan.gates, kinds=plan.output_kinds, require=plan.require, metric_limits=limits)


def terms_for(plan: ModelPlan, report: lenient.Report) -> Terms:
    """The terms of a plan for an earlier report: variants that the report never had are not required."""
    there = lenient.mapping(report.get("variants"))
    return dataclasses.replace(terms_of(plan), require=tuple(name for name in plan.require if name in there))


def judged_again(report: lenient.Report, terms: Terms | None = None, *, is_verdict_alone: bool = False) -> dict[str, Any]:
    """The report with the verdicts of today's rules; measurements are unchanged.

    Args:
      terms: of the job today; by default what the report was judged by.
      is_verdict_alone: whether the caller needs only the verdict. If so, the report may lack results that a run computes
        besides it, such as the first diverging tensor of a newly failing variant.

    Raises:
      LackingError: the report lacks something that these rules need, or its work ended before any statistics: the model must be
        exported again.
    """
    if terms is not None and not is_outdated(report):
        return _under_other_terms(terms, report, is_verdict_alone=is_verdict_alone)
    report = report if terms is None else _under(terms, report)
    saved = lenient.mapping(report.get("saved_model"))
    variants = {name: lenient.mapping(part) for name, part in lenient.mapping(report.get("variants")).items()}
    for reason in (report.get("reason"), saved.get("reason"), *(part.get("reason") for part in variants.values())):
        if lenient.mapping(reason).get("stage") not in (None, Stage.JUDGE.value):
            raise LackingError("the reason why it is not blessed came before any verdict")
    if not saved:
        raise LackingError("it holds no statistics")
    verdicts = {name: verdict(case_of_report(name, report)) for name in (SAVED_MODEL, *variants)}
    new_variants = {name: {**part, **_facts(verdicts[name])} for name, part in variants.items()}
    return {**_with_verdicts(report, verdicts, new_variants), "rules_version": RULES_VERSION, "judged_before": before(report)}


def _under_other_terms(terms: Terms, report: lenient.Report, *, is_verdict_alone: bool) -> dict[str, Any]:
    """Same rules, other limits. A reason that ended a model's or a variant's work before it was judged is kept."""
    old, report = report, _under(terms, report)
    if not lenient.mapping(report.get("saved_model")):
        return report
    variants = {name: lenient.mapping(part) for name, part in lenient.mapping(report.get("variants")).items()}
    verdicts = {name: verdict(case_of_report(name, report)) for name in (SAVED_MODEL, *variants)}
    new_variants = {name: _variant(part, verdicts[name]) for name, part in variants.items()}
    if not is_verdict_alone:
        _refuse_what_takes_the_model(old, report, new_variants)
    return _with_verdicts(report, verdicts, new_variants)


def _refuse_what_takes_the_model(old: lenient.Report, report: lenient.Report, variants: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises LackingError if a run would compute more than the verdict: where a newly failing variant begins to differ, or
    which of several ways to convert it is the best under other gates.
    """
    if "auto" in variants or lenient.mapping(old.get("targets")).keys() - {names.CPU}:
        raise LackingError("the choices of `auto` and targets depend on all gates")
    for name, part in lenient.mapping(old.get("variants")).items():
        new = variants[name]
        if _limits(new) != _limits(part) and len(lenient.listing(part.get("attempts"))) > 1:
            raise LackingError(f"{name} was chosen among several ways to make it, under other gates")
        is_of_metrics = lenient.mapping(new.get("reason")).get("code") == ReasonCode.METRIC_DROP.value
        if part.get("status") == Status.BLESSED.value and new["status"] != Status.BLESSED.value and not is_of_metrics:
            raise LackingError(f"{name} fails now, and finding its first diverging tensor needs the model")
    before, now = (lenient.mapping(lenient.mapping(one.get("judged_by")).get("gates")).get(SAVED_MODEL) for one in (old, report))
    if (before or {}) != (now or {}):
        raise LackingError("the second opinion was judged by other gates of the SavedModel")


def _limits(part: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The limits on parity metrics, by which a way to convert is chosen."""
    gates = map(lenient.mapping, lenient.listing(part.get("gates")))
    return [(gate.get("output"), gate.get("metric"), gate.get("limit")) for gate in gates if gate.get("metric") in METRICS]


def _variant(part: Mapping[str, Any], judged: Verdict) -> dict[str, Any]:
    """A variant that was never compared keeps its reason; a variant that passes now has no diverging tensors."""
    if part.get("status") in (Status.FAILED.value, Status.UNVERIFIABLE.value) and not judged.is_blessed:
        return dict(part)
    return {**part, **_facts(judged), **({"diverging": [], "tensor_errors": []} if judged.is_blessed else {})}


def _with_verdicts(
    report: lenient.Report, verdicts: Mapping[str, Verdict], variants: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    told = lenient.number(lenient.mapping(report.get("judged_by")).get("min_saving"))
    min_saving = MIN_SAVING if told is None else told
    recommended = worth_naming(variants, min_saving=min_saving) if verdicts[SAVED_MODEL].is_blessed else None
    reason = _model_reason(report, verdicts)
    on_cpu = targets.of_cpu(variants, min_saving=min_saving if verdicts[SAVED_MODEL].is_blessed else None)
    others = lenient.mapping(report.get("targets"))
    return {
        **report,
        **({"targets": {**others, names.CPU: on_cpu}} if others else {}),
        "status": (Status.BLESSED if reason is None else Status.NOT_BLESSED).value,
        "reason": reason,
        "saved_model": {**lenient.mapping(report.get("saved_model")), **_facts(verdicts[SAVED_MODEL])},
        "variants": dict(variants),
        "recommended_variant": recommended,
        "passed_over": passed_over(variants, recommended),
    }


def _under(terms: Terms, report: lenient.Report) -> dict[str, Any]:
    was = report.get("judged_by")
    if not isinstance(was, Mapping):
        return dict(report)  # the verdict names what is missing
    seen = was.get("kinds_seen", was.get("kinds"))
    judged_by = {**was, "gates": terms.gates, "kinds": {**lenient.mapping(seen), **terms.kinds}}
    return metric_limits.under({**report, "judged_by": judged_by, "required_variants": list(terms.require)}, terms.metric_limits)


def before(report: lenient.Report) -> dict[str, Any]:
    """The entry about this report in the next report on the same bytes."""
    return {"rules": rules_of(report), "status": lenient.model_status(report).value}


def _facts(judged: Verdict) -> dict[str, Any]:
    reason = judged.reason
    return {
        "status": (Status.BLESSED if judged.is_blessed else Status.NOT_BLESSED).value,
        "reason": reason and {"code": reason.code.value, "stage": reason.stage.value, "message": reason.message},
        "gates": [dataclasses.asdict(gate) for gate in judged.gates],
    }


def _model_reason(report: lenient.Report, verdicts: Mapping[str, Verdict]) -> dict[str, str] | None:
    """As `report.facts` has it: the first of the SavedModel and the required variants that is not blessed."""
    for name in (SAVED_MODEL, *map(str, lenient.listing(report.get("required_variants")))):
        judged = verdicts.get(name)
        if judged is None:
            raise LackingError(f"it does not contain {name}, which it requires")
        if judged.reason is not None:
            message = judged.reason.message
            prefix = "" if name == SAVED_MODEL or message.startswith(name) else f"{name}: "
            return {"code": judged.reason.code.value, "stage": judged.reason.stage.value, "message": prefix + message}
    return None
