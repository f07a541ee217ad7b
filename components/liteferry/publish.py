"""A finished model -> its folder under OUT/models: whole, report and marker inside, by one rename. Also: is it there already?"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from liteferry import manifest, progress, reference, storage, worst_rows
from liteferry.errors import Reason, ReasonCode, Stage, StorageError, reason_for
from liteferry.evaluate import Evaluation
from liteferry.manifest import BLESSED, NOT_BLESSED, PAGE, REPORT
from liteferry.plan import ModelPlan
from liteferry.report.facts import build, for_fleet
from liteferry.types import ExportedModel, Status
from liteferry.version import REPORT_SCHEMA_VERSION

# These say something of the machine at that hour, not of the model: the same command tries again.
_TRANSIENT = {ReasonCode.STORAGE_FAILED.value, ReasonCode.KILLED.value, ReasonCode.INTERNAL.value}
# These depend on the limits: they are tried again when the job allows more.
_LIMITED = {ReasonCode.TIMEOUT.value: "seconds", ReasonCode.OUT_OF_MEMORY.value: "memory_bytes"}


def publish(plan: ModelPlan, report: Mapping[str, Any]) -> None:
    """Writes the report, with the digest of every file it vouches for, and its page into the staging directory, the marker last,
    and puts the directory in place.

    Raises:
      StorageError: when the output cannot be written.
    """
    from liteferry.report.pages import render_model

    staging = plan.staging_directory()
    _refuse_lost(staging, report)
    _remove_unreported(staging, report)
    report = {**report, "files": manifest.of(staging)}
    storage.write_bytes(storage.join(staging, REPORT), json.dumps(report, indent=2, allow_nan=False).encode())
    storage.write_bytes(storage.join(staging, PAGE), render_model(report).encode())
    storage.write_bytes(storage.join(staging, _marker(report)), b"")
    storage.publish_directory(staging, plan.model_directory())
    storage.remove_tree(reference.directory(plan))


def _refuse_lost(staging: str, report: Mapping[str, Any]) -> None:
    """Somebody may have removed the output, or a part of it, after its artifacts were judged."""
    lost = sorted(path for path in _artifacts(report) if not storage.exists(storage.join(staging, path)))
    if lost:
        raise StorageError(f"{staging}: {', '.join(lost)} has been removed while the run went on")


def _marker(report: Mapping[str, Any]) -> str:
    return BLESSED if report["status"] == Status.BLESSED.value else NOT_BLESSED


def _artifacts(report: Mapping[str, Any]) -> set[str]:
    """Paths of what the report vouches for, relative to the model's folder."""
    parts = [report["saved_model"], *report["variants"].values()]
    return {part["path"] for part in parts if part is not None and part["path"] is not None}


def _remove_unreported(staging: str, report: Mapping[str, Any]) -> None:
    """A process that was killed may have left half of an artifact: what no report names does not go to a final path."""
    artifacts = _artifacts(report)
    for folder in ("saved_model", "tflite"):
        inside = {storage.join(folder, name) for name in storage.list_directory(storage.join(staging, folder))}
        for path in inside - artifacts if inside & artifacts else {folder}:
            storage.remove_tree(storage.join(staging, path))


def numbered(plan: ModelPlan) -> ModelPlan:
    """The plan with the number of its SavedModel's folder: that of the last run in this OUT where nothing has changed, else the
    next one. A server that watches the folder sees a new number for every new function, and the same one is never two.
    """
    report = _read_report(plan)
    before = report.get("version")
    if not isinstance(before, int) or before < 1:
        names = storage.list_directory(storage.join(plan.model_directory(), "saved_model"))
        return dataclasses.replace(plan, version=max((int(name) for name in names if name.isdecimal()), default=0) + 1)
    is_same = plan.export_digest is not None and report.get("export_digest") == plan.export_digest
    is_unused = report.get("saved_model") is None
    return dataclasses.replace(plan, version=before if is_same or is_unused else before + 1)


def _read_report(plan: ModelPlan) -> dict[str, Any]:
    """The report at the final path, {} where there is none that can be read."""
    try:
        report = json.loads(storage.read_bytes(storage.join(plan.model_directory(), REPORT)))
    except (StorageError, ValueError, RecursionError):
        return {}
    return report if isinstance(report, dict) else {}


def finished_report(plan: ModelPlan) -> dict[str, Any] | None:
    """The report that an earlier run left for exactly this checkpoint and recipe, or None when there is work to do."""
    directory = plan.model_directory()
    try:
        names = storage.list_directory(directory)
        report = _read_report(plan)
        is_whole = {BLESSED, NOT_BLESSED}.intersection(names) == {_marker(report)} and all(
            storage.exists(storage.join(directory, path)) for path in _artifacts(report)
        )
        is_same = (
            report["schema_version"] == REPORT_SCHEMA_VERSION
            and report["model_id"] == plan.model_id
            and report["checkpoint"]["uri"] == _text(plan.uri)
            and report["checkpoint"]["digest"] == plan.digest
            and report["recipe_digest"] == plan.recipe_digest
        )
        return report if is_whole and is_same and plan.digest is not None and _still_stands(report, plan) else None
    except (StorageError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # none there, or somebody's hand was: the work is done


def _still_stands(report: Mapping[str, Any], plan: ModelPlan) -> bool:
    reasons = [report["reason"], *(variant["reason"] for variant in report["variants"].values())]
    codes = {reason["code"] for reason in reasons if reason}
    if codes & _TRANSIENT:
        return False
    now = {"seconds": plan.limits.seconds, "memory_bytes": plan.limits.memory_bytes}
    return all(now[name] <= report["limits"][name] for code, name in _LIMITED.items() if code in codes)


def judge_and_publish(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> dict[str, Any]:
    """Makes the report and puts the model's folder in place. Returns what the fleet's table needs of it. Never raises.

    Where the report cannot be made or the output not be written, the returned report says so: the run still counts this model,
    as failed.
    """
    is_transient = exported.reason is not None and exported.reason.code.value in _TRANSIENT
    is_gone = not storage.exists(plan.staging_directory())
    if is_gone and not is_transient:
        before = finished_report(plan)  # a runner may bring a model here twice: the first time took the folder away
        if before is not None:
            return for_fleet(before)
    try:
        if is_gone and not is_transient:  # whatever came of it, it came of that
            raise StorageError(f"{plan.staging_directory()}: has been removed while the run went on")
        report = _text(build(plan, exported, evaluation, worst_rows=worst_rows.collect(plan, exported, evaluation)))
        publish(plan, report)
    except Exception as error:  # noqa: BLE001  # what nobody foresaw is one model's report, never the end of the run
        report = _publish_failure(plan, exported, reason_for(error, Stage.PUBLISH))
    with contextlib.suppress(StorageError):
        progress.report_finished(plan.out, report, is_new=True)
    return for_fleet(report)


def _text(value: Any) -> Any:
    """A report whose text UTF-8 can hold: file names may bring bytes that it cannot, which neither runners nor tables take."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_text(key): _text(item) for key, item in value.items()}
    return [_text(item) for item in value] if isinstance(value, (list, tuple)) else value


def _publish_failure(plan: ModelPlan, exported: ExportedModel, reason: Reason) -> dict[str, Any]:
    failed = dataclasses.replace(exported, saved_model=None, variants={}, samples_problem=None, reason=reason)
    report: dict[str, Any] = _text(build(plan, failed, Evaluation(candidates={}, reason=reason)))
    with contextlib.suppress(Exception):  # the report in the fleet's table is then the only one
        storage.remove_tree(plan.staging_directory())
        publish(plan, report)
    return report
