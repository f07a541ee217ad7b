"""A stored report under today's rules: judged again from its own statistics, without its model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from liteferry import lenient
from liteferry.errors import Stage
from liteferry.evaluation.verdict import LackingError, case_of_report, verdict
from liteferry.parity.gate_limits import SAVED_MODEL
from liteferry.parity.gates import Verdict
from liteferry.report.recommend import MIN_SAVING, passed_over, worth_naming
from liteferry.types import Status
from liteferry.version import RULES_VERSION

FIRST_RULES = 1
"""Those of 0.1.0, whose reports hold no number."""


def rules_of(report: lenient.Report) -> int:
    """The number of the rules that a report was judged by."""
    return lenient.integer(report.get("rules_version")) or FIRST_RULES


def is_outdated(report: lenient.Report) -> bool:
    """Whether older rules than today's have judged it. One of a later LiteFerry stands."""
    return rules_of(report) < RULES_VERSION


def judged_again(report: lenient.Report) -> dict[str, Any]:
    """The report with the verdicts that today's rules come to; what was measured stays as it is.

    Raises:
      LackingError: it lacks something that these rules ask for, or what ended its work came before any statistics: the model has
        to be done again.
    """
    saved = lenient.mapping(report.get("saved_model"))
    variants = {name: lenient.mapping(part) for name, part in lenient.mapping(report.get("variants")).items()}
    for reason in (report.get("reason"), saved.get("reason"), *(part.get("reason") for part in variants.values())):
        if lenient.mapping(reason).get("stage") not in (None, Stage.JUDGE.value):
            raise LackingError("what kept it from being blessed was seen before anything was judged")
    if not saved:
        raise LackingError("it holds no statistics")
    verdicts = {name: verdict(case_of_report(name, report)) for name in (SAVED_MODEL, *variants)}
    new_saved = {**saved, **_facts(verdicts[SAVED_MODEL])}
    new_variants = {name: {**part, **_facts(verdicts[name])} for name, part in variants.items()}
    told = lenient.number(lenient.mapping(report.get("judged_by")).get("min_saving"))
    min_saving = MIN_SAVING if told is None else told
    recommended = worth_naming(new_variants, min_saving=min_saving) if verdicts[SAVED_MODEL].is_blessed else None
    reason = _model_reason(report, verdicts)
    return {
        **report,
        "rules_version": RULES_VERSION,
        "status": (Status.BLESSED if reason is None else Status.NOT_BLESSED).value,
        "reason": reason,
        "saved_model": new_saved,
        "variants": new_variants,
        "recommended_variant": recommended,
        "passed_over": passed_over(new_variants, recommended),
        "judged_before": before(report),
    }


def before(report: lenient.Report) -> dict[str, Any]:
    """What the next report on the same bytes says of this one."""
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
            raise LackingError(f"it says nothing of {name}, which it requires")
        if judged.reason is not None:
            message = judged.reason.message
            prefix = "" if name == SAVED_MODEL or message.startswith(name) else f"{name}: "
            return {"code": judged.reason.code.value, "stage": judged.reason.stage.value, "message": prefix + message}
    return None
