"""Keeps the last blessed folder of a model whose new checkpoint is not blessed, whole and unchanged.

The new attempt is "held back": its report, page and marker are written to OUT/attempts/<model_id>, without artifacts, and the
report says since when and why. A blessed folder is replaced only by another blessed one, or when its blessing is taken back. A
blessing is taken back when today's rules, or the job's current gates and policy, reject the statistics in the kept report, when
the same checkpoint is refused today (LOAD_UNSAFE), or when a second run of the same export is not blessed.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from liteferry import lenient, storage
from liteferry.errors import ReasonCode, Stage
from liteferry.evaluation.verdict import LackingError
from liteferry.output import model_folder
from liteferry.plan.model_plan import ModelPlan
from liteferry.report import rejudge
from liteferry.report.environment import upgrades
from liteferry.report.fleet import model_summary
from liteferry.report.model_report import fleet_entry
from liteferry.storage import layout
from liteferry.storage.layout import ATTEMPTS, NOT_BLESSED
from liteferry.types import Status
from liteferry.version import RULES_VERSION

# A reason from these stages is about the exported bytes. A crash, a limit or a missing file is not.
_JUDGING = {Stage.REFERENCE.value, Stage.EVALUATE.value, Stage.JUDGE.value}
_OF_THE_HOUR = {code.value for code in ReasonCode if code.is_transient} | {
    ReasonCode.CRASHED.value,
    ReasonCode.TIMEOUT.value,
    ReasonCode.OUT_OF_MEMORY.value,
    ReasonCode.OUT_OF_DISK.value,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """The blessed model that is in place when a report without a blessing arrives. `kept`: its report, if the model stays in
    place; else {}. `takes_back`: the entry that the new report gets if it ends that blessing; else None.
    """

    kept: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    takes_back: Mapping[str, Any] | None = None


def directory(plan: ModelPlan) -> str:
    """The folder for this model's attempt when it is held back."""
    return storage.join(plan.out, ATTEMPTS, plan.model_id)


def standing(plan: ModelPlan, report: lenient.Report) -> Standing:
    """Whether a blessed model stays in place before `report`, which is not blessed. Raises StorageError."""
    kept = blessed_report(model_folder.scan(plan.model_directory()))
    if not kept:
        return Standing()
    why = _taken_back(plan, kept, report)
    if why is None:
        return Standing(kept=kept)
    return Standing(takes_back={**_named(kept), "why": why})


def blessed_report(folder: model_folder.ModelFolder) -> dict[str, Any]:
    """The report of a folder that holds a complete, blessed model; else {}."""
    report = folder.complete_report()
    return report if report.get("status") == Status.BLESSED.value else {}


def _named(report: lenient.Report) -> dict[str, Any]:
    checkpoint = lenient.mapping(report.get("checkpoint"))
    return {
        "checkpoint_uri": checkpoint.get("uri"),
        "checkpoint_digest": checkpoint.get("digest"),
        "version": report.get("version"),
    }


def _taken_back(plan: ModelPlan, kept: lenient.Report, report: lenient.Report) -> str | None:
    """Why the earlier blessing is taken back; None if it stands."""
    why = _under_terms_of_today(plan, kept)
    if why is not None:
        return why
    reason = lenient.mapping(report.get("reason"))
    code = reason.get("code")
    is_same_checkpoint = plan.digest is not None and lenient.mapping(kept.get("checkpoint")).get("digest") == plan.digest
    if is_same_checkpoint and code == ReasonCode.LOAD_UNSAFE.value:
        return "the same checkpoint is refused today"
    is_same_export = plan.export_digest is not None and kept.get("export_digest") == plan.export_digest
    is_judged = reason.get("stage") in _JUDGING and code not in _OF_THE_HOUR
    is_by_the_same = not upgrades(kept, lenient.mapping(report.get("environment")))
    return "the same export was judged once more" if is_same_export and is_judged and is_by_the_same else None


def _under_terms_of_today(plan: ModelPlan, kept: lenient.Report) -> str | None:
    older, is_outdated = rejudge.rules_of(kept), rejudge.is_outdated(kept)
    judge = f"rules {RULES_VERSION}, before by rules {older}" if is_outdated else "the gates and the policy of today"
    try:
        again = rejudge.judged_again(kept, rejudge.terms_for(plan, kept), is_verdict_alone=True)
    except LackingError as error:
        return f"rules {older} blessed it, and rules {RULES_VERSION} cannot: {error}" if is_outdated else None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        return f"its report cannot be judged: {type(error).__name__}: {error}"  # the report was edited by hand
    if again["status"] == Status.BLESSED.value:
        return None
    return f"judged again by {judge}: {lenient.mapping(again['reason']).get('message')}"


def attempt_report(plan: ModelPlan, report: lenient.Report, kept: lenient.Report) -> dict[str, Any]:
    """The report of an attempt that is held back: its artifacts are not kept, so all paths are None. `held_back` says why, and
    since when the kept folder has been in place of it.
    """
    before = model_folder.scan(directory(plan)).published_report().get("held_back")
    since = lenient.text(lenient.mapping(before).get("since"))
    saved = lenient.mapping(report.get("saved_model")) or None
    variants = {name: {**lenient.mapping(facts), "path": None} for name, facts in lenient.mapping(report.get("variants")).items()}
    metrics = lenient.mapping(report.get("metrics")) or None
    return {
        **report,
        "saved_model": saved and {**saved, "path": None},
        "variants": variants,
        "metrics": metrics and {**metrics, "path": None},
        "recommended_variant": None,
        "held_back": {"since": since or _now(), "reason": report.get("reason"), "kept": _named(kept)},
        "files": {},
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def told(attempt: lenient.Report, kept: lenient.Report) -> dict[str, Any]:
    """The fleet table's entry for a model whose attempt is held back: the attempt, always with the status `not_blessed`, and
    the kept artifacts that are shipped meanwhile.
    """
    slim = fleet_entry(attempt)
    summary = model_summary(fleet_entry(kept))
    shipped = {key: summary[key] for key in ("recommended_variant", "saved_model", "variants")}
    held = {**lenient.mapping(attempt.get("held_back")), "kept": {**_named(kept), **shipped}}
    return {**slim, "status": Status.NOT_BLESSED.value, "held_back": held}


def finished_attempt(plan: ModelPlan, kept: lenient.Report) -> dict[str, Any]:
    """The report in the attempt's folder, if it was held back for exactly this kept report; else {}."""
    if not kept:
        return {}
    report = model_folder.scan(directory(plan)).complete_report()
    named = lenient.mapping(lenient.mapping(report.get("held_back")).get("kept"))
    return report if named and named == _named(kept) else {}


def forget(plan: ModelPlan) -> None:
    """Removes an attempt once the model's folder holds the latest result. Raises StorageError."""
    if storage.exists(directory(plan)):
        storage.remove_tree(directory(plan))


def reports_of(out: str, model_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the published report of a model, the report of its held-back attempt); {} for either that does not exist."""
    own = model_folder.scan(storage.join(out, layout.MODELS, model_id)).published_report()
    attempt = model_folder.scan(storage.join(out, ATTEMPTS, model_id)).published_report()
    is_held_back = own.get("status") == Status.BLESSED.value and bool(lenient.mapping(attempt.get("held_back")))
    return own, attempt if is_held_back else {}


def problems(out: str, model_id: str) -> list[str]:
    """Checks an attempt's folder; a sentence for each problem. An attempt has a marker and no artifacts, and is never blessed."""
    place = storage.join(out, ATTEMPTS, model_id)
    folder = model_folder.scan(place)
    report = folder.published_report()
    if not report:
        return [f"{ATTEMPTS}/{model_id} has no report with its marker; the next run removes or replaces it"]
    sentences = []
    if model_folder.marker_of(report) != NOT_BLESSED:
        sentences.append(f"{ATTEMPTS}/{model_id} says blessed, but blessed models lie only under models/")
    strays = sorted(folder.sizes.keys() - set(model_folder.BESIDE))
    sentences += [f"{ATTEMPTS}/{model_id}/{name} does not belong there: an attempt has no artifacts" for name in strays]
    kept = blessed_report(model_folder.scan(storage.join(out, layout.MODELS, model_id)))
    if not kept:
        sentences.append(f"{ATTEMPTS}/{model_id} is held back by a blessed model that is not there; run the job again")
    return sentences
