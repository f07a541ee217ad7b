"""For each target of a job: the result of every variant, which one to ship, why, and the trade-off."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from liteferry.errors import ReasonCode
from liteferry.evaluation.results import Evaluation
from liteferry.evaluation.targets import names
from liteferry.evaluation.verdict import of_target, verdict
from liteferry.plan.model_plan import ModelPlan
from liteferry.report import formats
from liteferry.report.recommend import worth_naming
from liteferry.types import ExportedModel, Status

Variants = Mapping[str, Mapping[str, Any]]
_HOW = {names.CPU: "run here", names.MICROCONTROLLER: "run here by tflite-micro", names.GPU: "not run here"}


def facts_of(
    plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation, variants: Variants, *, may_ship: bool
) -> dict[str, Any]:
    """target -> {how, recommended_variant, why, trade_off, variants}.

    Args:
      variants: of the report, judged on the CPU.
      may_ship: whether anything of the model may be recommended.
    """
    run, found = _Run(plan=plan, exported=exported, evaluation=evaluation), {}
    for target in dict.fromkeys((names.CPU, *plan.targets)):
        fates = {name: _fate(run, target, name, facts) for name, facts in variants.items()}
        found[target] = {
            "how": _HOW.get(target, "estimated"),
            **_recommended(target, variants, fates, min_saving=plan.min_saving if may_ship else None),
            "variants": fates,
        }
    return found


# All targets have the same keys, so that they form a table; each target fills in its own.
_NOTHING: Mapping[str, Any] = {
    "arena_bytes": None,
    "parity": None,
    "lacking": [],
    "npu_share": None,
    "sram_bytes": None,
    "cycles": None,
    "inferences_per_s": None,
    "why": None,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    plan: ModelPlan
    exported: ExportedModel
    evaluation: Evaluation


def _fate(run: _Run, target: str, name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    if target == names.CPU:
        return {**_NOTHING, "status": facts["status"], "reason": facts["reason"]}
    if facts["path"] is None:
        return {**_NOTHING, "status": Status.FAILED.value, "reason": facts["reason"]}
    if target == names.MICROCONTROLLER:
        return _on_microcontroller(run, name)
    look = dict(
        run.evaluation.looks.get((name, target)) or {"fits": False, "why": "the process that analyses files gave no result"}
    )
    is_fit = look.pop("fits") and facts["status"] == Status.BLESSED.value
    reason = (
        None
        if is_fit
        else {"code": ReasonCode.TARGET_UNSUPPORTED.value, "stage": "judge", "message": look.get("why") or "it is not blessed"}
    )
    return {**_NOTHING, "status": (Status.BLESSED if is_fit else Status.NOT_BLESSED).value, "reason": reason, **look}


def _on_microcontroller(run: _Run, name: str) -> dict[str, Any]:
    result = run.evaluation.candidates.get(names.on(name, names.MICROCONTROLLER))
    judged = verdict(of_target(name, names.MICROCONTROLLER, run.plan, run.exported, run.evaluation))
    reason = judged.reason
    cannot_run = result is None or result.reason is not None
    status = Status.BLESSED if judged.is_blessed else Status.UNVERIFIABLE if cannot_run else Status.NOT_BLESSED
    return {
        **_NOTHING,
        "status": status.value,
        "reason": None if reason is None else {"code": reason.code.value, "stage": reason.stage.value, "message": reason.message},
        "arena_bytes": None if result is None else result.arena_bytes,
        "parity": {} if result is None else {output: stats.report() for output, stats in result.stats.items()},
    }


def of_cpu(variants: Variants, *, min_saving: float | None) -> dict[str, Any]:
    """The facts for the CPU, which are the variants' own. `min_saving`: None where nothing may be recommended."""
    fates = {name: {**_NOTHING, "status": facts["status"], "reason": facts["reason"]} for name, facts in variants.items()}
    return {"how": _HOW[names.CPU], **_recommended(names.CPU, variants, fates, min_saving=min_saving), "variants": fates}


def _recommended(target: str, variants: Variants, fates: Variants, *, min_saving: float | None) -> dict[str, Any]:
    there = {
        name: {**variants[name], "status": fate["status"], "parity": fate.get("parity") or variants[name]["parity"]}
        for name, fate in fates.items()
    }
    if target.startswith(names.ETHOS):  # only the largest share on the NPU counts: the rest runs on the CPU
        best = max(
            (fate.get("npu_share") or 0.0 for fate in fates.values() if fate["status"] == Status.BLESSED.value), default=0.0
        )
        there = {name: facts for name, facts in there.items() if (fates[name].get("npu_share") or 0.0) == best}
    named = None if min_saving is None else worth_naming(there, min_saving=min_saving)
    if named is None:
        return {"recommended_variant": None, "why": _why_none(fates), "trade_off": None}
    return {"recommended_variant": named, "why": _why(target, fates[named], there), "trade_off": _trade_off(named, there)}


def _why_none(fates: Variants) -> str:
    reasons = [f"{name}: {fate['reason']['code']}" for name, fate in fates.items() if fate["reason"]]
    return f"no variant is blessed for it ({', '.join(reasons)})" if reasons else "the model is not blessed"


def _why(target: str, fate: Mapping[str, Any], there: Variants) -> str:
    blessed = sum(facts["status"] == Status.BLESSED.value for facts in there.values())
    of = f"the smallest that is worth it of {blessed} blessed" if blessed > 1 else "the only one that is blessed"
    more = ""
    if fate.get("arena_bytes"):
        more = f", with {formats.human_bytes(fate['arena_bytes'])} of arena"
    elif fate.get("npu_share") is not None:
        more = f", with {fate['npu_share']:.0%} of its operators on the NPU (estimated)"
    elif target == names.GPU:
        more = ", and all of its operators fit the GPU delegate (not run here)"
    return f"{of} for {target}{more}"


def _decibels(facts: Mapping[str, Any]) -> float:
    """Signal to noise of the worst output; infinite where nothing differs."""
    found = [float(stats["sqnr_db"]) for stats in facts["parity"].values() if stats.get("sqnr_db") is not None]
    return min(found, default=float("inf"))


def _trade_off(named: str, there: Variants) -> str | None:
    """Compares the named variant with the blessed one that agrees best: bytes saved and agreement lost."""
    others = {name: facts for name, facts in there.items() if facts["status"] == Status.BLESSED.value and name != named}
    if not others:
        return None
    best = max(sorted(others), key=lambda name: _decibels(others[name]))
    mine, theirs = _decibels(there[named]), _decibels(others[best])
    size = f"{formats.human_bytes(there[named]['bytes'])} instead of {formats.human_bytes(others[best]['bytes'])} of {best}"
    if theirs <= mine:
        return f"{size}, and no other agrees better"
    decibels = "no noise" if theirs == float("inf") else f"{theirs:.0f} dB"
    return f"{size}, for {mine:.0f} dB of signal to noise instead of {decibels}"
