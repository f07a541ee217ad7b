"""Finds the result of an earlier run: whether it is still valid, and which version number the next SavedModel gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from liteferry import storage
from liteferry.errors import ReasonCode, StorageError
from liteferry.output import held_back, model_folder, publish_to_store
from liteferry.plan.model_plan import ModelPlan
from liteferry.report import rejudge
from liteferry.report.environment import upgrades
from liteferry.report.model_report import fleet_entry
from liteferry.version import REPORT_SCHEMA_VERSION

# These reasons describe the machine at that time, not the model: the next run tries the model again.
_TRANSIENT = {code.value for code in ReasonCode if code.is_transient}
# These depend on the limits: the next run tries again if the job raises them.
_LIMITED = {
    ReasonCode.TIMEOUT.value: "seconds",
    ReasonCode.OUT_OF_MEMORY.value: "memory_bytes",
    ReasonCode.OUT_OF_DISK.value: "disk_bytes",
}


def finished(plan: ModelPlan, folder: model_folder.ModelFolder) -> dict[str, Any] | None:
    """The fleet table's entry for an earlier run's report on exactly this work, from the model's folder or from its held-back
    attempt; None if there is work to do.
    """
    report = finished_report(plan, folder)
    if report is not None:
        held_back.forget(plan)
        return fleet_entry(report)
    kept = held_back.blessed_report(folder)
    attempt = held_back.finished_attempt(plan, kept)
    is_same = bool(attempt) and _is_of_same(plan, attempt) and not rejudge.is_outdated(attempt) and not rejudge.is_outdated(kept)
    return held_back.told(attempt, kept) if is_same else None


def numbered(plan: ModelPlan, folder: model_folder.ModelFolder | None = None) -> ModelPlan:
    """The plan with the version number of its SavedModel: the last run's number if nothing has changed, else the next one. A
    server that watches the folder sees a new number for every new function, and no number is used for two functions.

    Args:
      folder: the listing of the model's final path, if it was read already.

    Raises:
      StorageError: the store does not answer.
    """
    folder = folder or model_folder.scan(plan.model_directory())
    half: Mapping[str, Any] = {}
    if storage.is_remote(plan.out):
        half = publish_to_store.unfinished(plan.model_directory()) if publish_to_store.is_unfinished(folder) else {}
    plan = dataclasses.replace(plan, marker_before=folder.marker())
    report = half or folder.raw_report()
    before = report.get("version")
    if not isinstance(before, int) or before < 1:
        return dataclasses.replace(plan, version=max(folder.versions(), default=0) + 1)
    is_same = plan.export_digest is not None and report.get("export_digest") == plan.export_digest
    is_unused = not half and report.get("saved_model") is None
    return dataclasses.replace(plan, version=before if is_same or is_unused else before + 1)


def finished_report(plan: ModelPlan, folder: model_folder.ModelFolder | None = None) -> dict[str, Any] | None:
    """The report that an earlier run left for exactly this checkpoint and recipe, judged by today's rules; or None when there is
    work to do.

    Args:
      folder: as in `numbered`.

    Raises:
      StorageError: OUT is a store that does not answer.
    """
    report = _report_of_same(plan, folder)
    return None if report is None or rejudge.is_outdated(report) else report


def report_of_same_work(plan: ModelPlan, folder: model_folder.ModelFolder) -> dict[str, Any] | None:
    """The report that an earlier run left for the same work under other gates or another policy, or None."""
    return _report_of_other_recipe(plan, folder, "work_digest")


def report_of_other_metadata(plan: ModelPlan, folder: model_folder.ModelFolder) -> dict[str, Any] | None:
    """The report that an earlier run left for the same settings but `metadata`, or None."""
    return _report_of_other_recipe(plan, folder, "unlabelled_digest")


def _report_of_other_recipe(plan: ModelPlan, folder: model_folder.ModelFolder, part: str) -> dict[str, Any] | None:
    """`part`: the key of the digest, of a part of the recipe, that must be the same."""
    try:
        other = dataclasses.replace(plan, recipe_digest=str(folder.complete_report().get("recipe_digest")))
    except StorageError:
        if storage.is_remote(plan.out):
            raise
        return None
    report = finished_report(other, folder)
    is_same = report is not None and bool(getattr(plan, part)) and report.get(part) == getattr(plan, part)
    return report if is_same else None


def outdated_report(plan: ModelPlan, folder: model_folder.ModelFolder) -> dict[str, Any] | None:
    """The report that an earlier run left for the same work, if older rules judged it; or None."""
    report = _report_of_same(plan, folder)
    return report if report is not None and rejudge.is_outdated(report) else None


def _report_of_same(plan: ModelPlan, folder: model_folder.ModelFolder | None) -> dict[str, Any] | None:
    try:
        report = (folder or model_folder.scan(plan.model_directory())).complete_report()
        return report if _is_of_same(plan, report) and _vouches_for_its_artifacts(report) else None
    except StorageError:
        if storage.is_remote(plan.out):
            raise
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # no usable report (missing, or edited by hand): export the model again


def _is_of_same(plan: ModelPlan, report: Mapping[str, Any]) -> bool:
    """Whether a report is about this checkpoint and recipe, was made by the installed versions of the libraries, and has no
    reason to be tried again.
    """
    try:
        return bool(
            report
            and plan.digest is not None
            and report["schema_version"] == REPORT_SCHEMA_VERSION
            and report["model_id"] == plan.model_id
            and report["checkpoint"]["uri"] == plain_text(plan.uri)
            and report["checkpoint"]["digest"] == plan.digest
            and report["recipe_digest"] == plan.recipe_digest
            and not upgrades(report)
            and _still_stands(report, plan)
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _vouches_for_its_artifacts(report: Mapping[str, Any]) -> bool:
    """Whether the report holds the digest of every artifact: of the file, or of all files in the folder."""
    files = report["files"]
    return all(path in files or any(name.startswith(f"{path}/") for name in files) for path in artifact_paths(report))


def _still_stands(report: Mapping[str, Any], plan: ModelPlan) -> bool:
    reasons = [report["reason"], *(variant["reason"] for variant in report["variants"].values())]
    codes = {reason["code"] for reason in reasons if reason}
    if codes & _TRANSIENT:
        return False
    now = {name: getattr(plan.limits, name) for name in _LIMITED.values()}
    return all(now[name] <= report["limits"][name] for code, name in _LIMITED.items() if code in codes)


def artifact_paths(report: Mapping[str, Any]) -> set[str]:
    """Paths of the artifacts that the report names, relative to the model's folder."""
    parts = [report["saved_model"], *report["variants"].values()]
    return {part["path"] for part in parts if part is not None and part["path"] is not None}


def plain_text(value: Any) -> Any:
    """A report whose text is valid UTF-8: file names may contain bytes that are not, and runners and tables reject them."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {plain_text(key): plain_text(item) for key, item in value.items()}
    return [plain_text(item) for item in value] if isinstance(value, (list, tuple)) else value
