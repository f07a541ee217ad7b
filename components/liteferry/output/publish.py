"""A finished model -> its folder under OUT/models: whole, report and marker inside, by one rename, or as `store_publish` does it
on an object store. Also: is it there already?
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import threading
import zlib
from collections.abc import Mapping
from typing import Any

from liteferry import storage
from liteferry.errors import Reason, ReasonCode, Stage, StorageError, reason_for
from liteferry.evaluation import results
from liteferry.evaluation.results import Evaluation
from liteferry.evaluation.verdict import LackingError
from liteferry.output import manifest, model_folder, progress, publish_to_store
from liteferry.plan import bound_rows
from liteferry.plan.fingerprints import read_remembered
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from liteferry.report import rejudge
from liteferry.report.model_report import build, fleet_entry
from liteferry.storage.layout import PAGE, REPORT
from liteferry.types import ExportedModel
from liteferry.version import REPORT_SCHEMA_VERSION

# These say something of the machine at that hour, not of the model: the same command tries again.
_TRANSIENT = {code.value for code in ReasonCode if code.is_transient}
# These depend on the limits: they are tried again when the job allows more.
_LIMITED = {
    ReasonCode.TIMEOUT.value: "seconds",
    ReasonCode.OUT_OF_MEMORY.value: "memory_bytes",
    ReasonCode.OUT_OF_DISK.value: "disk_bytes",
}
# One of these for each work folder, by its name.
_LOCKS = tuple(threading.Lock() for _ in range(64))
# One checkpoint at a time is looked into, as where no digest is remembered: HDF5 takes a sandbox.
_READING = threading.Lock()


def publish(plan: ModelPlan, report: Mapping[str, Any]) -> Mapping[str, Any]:
    """Writes the report, with the digest of every file it vouches for, and its page into the staging directory, the marker last,
    and puts the directory in place.

    Returns:
      The report that stands: this one, or, on a store, that of another run which has put the same result there meanwhile.

    Raises:
      StorageError: when the output cannot be written, or the staging directory has lost what the report is about.
    """
    from liteferry.report.pages.render import render_model

    staging = plan.staging_directory()
    _refuse_lost(staging, report)
    _remove_unreported(staging, report)
    report = {**report, "files": manifest.files_of(staging)}
    text = json.dumps(report, indent=2, allow_nan=False).encode()
    storage.write_bytes(storage.join(staging, REPORT), text)
    storage.write_bytes(storage.join(staging, PAGE), render_model(report).encode())
    storage.write_bytes(storage.join(staging, model_folder.marker_of(report)), model_folder.vouch_for(text))
    if storage.is_remote(plan.out):
        intent = {"version": plan.version, "export_digest": plan.export_digest}
        others = publish_to_store.put_in_place(
            staging, plan.model_directory(), intent=intent, settled=lambda: _put_there_meanwhile(plan)
        )
        report = others or report
        storage.remove_tree(staging)
    else:
        storage.publish_directory(staging, plan.model_directory())
    storage.remove_tree(bound_rows.directory(plan))
    return report


def _put_there_meanwhile(plan: ModelPlan) -> dict[str, Any] | None:
    """The report of the same work that was not there yet when this plan was made."""
    folder = model_folder.scan(plan.model_directory())
    return None if folder.marker() == plan.marker_before else finished_report(plan, folder)


def _refuse_lost(staging: str, report: Mapping[str, Any]) -> None:
    """Somebody may have removed the output, or a part of it, after its artifacts were judged."""
    lost = sorted(path for path in _artifacts(report) if not storage.exists(storage.join(staging, path)))
    if lost:
        raise StorageError(f"{staging}: {', '.join(lost)} has been removed while the run went on")


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


def report_of_other(plan: ModelPlan) -> tuple[ModelPlan, dict[str, Any]]:
    """What the fleet's table needs of the report that a model has, whatever run made it; nothing where it has none. For models
    that a run leaves out.
    """
    try:
        report = model_folder.scan(plan.model_directory()).complete_report()
        return plan, fleet_entry(report) if report else {}
    except (StorageError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return plan, {}


def find_finished(plan: ModelPlan, *, force: bool) -> tuple[ModelPlan, dict[str, Any] | None]:
    """The plan, ready to be worked on, and None; or the plan and what the fleet's table needs of a report that ends the matter:
    that of an earlier run, unless `force`, or that nobody can tell what is there. Never raises.
    """
    is_new = True
    try:
        folder = model_folder.scan(plan.model_directory())
        report = None if force else finished_report(plan, folder)
        if report is None and plan.is_remembered:  # what is exported is known by its bytes
            with _READING:
                plan = read_remembered(plan)
            report = None if force else finished_report(plan, folder)
        older = None if report is not None or force else _outdated_report(plan, folder)
        if older is not None:
            plan = dataclasses.replace(plan, judged_before=rejudge.before(older))
            report = _judged_again(plan, older)
        is_new = report is None or older is not None
        if report is None:
            return numbered(plan, folder), None
        if publish_to_store.is_unfinished(folder):
            publish_to_store.clear(plan.model_directory())
        storage.remove_unfinished(plan.model_directory())  # of a `liteferry report` that was killed
        told = fleet_entry(report)
    except StorageError as error:  # to write there now might replace what is good
        told = failed_fleet_entry(plan, reason_for(error, Stage.PUBLISH))
    with contextlib.suppress(StorageError):
        progress.report_finished(plan.out, told, is_new=is_new)
    return plan, told


def _judged_again(plan: ModelPlan, older: Mapping[str, Any]) -> dict[str, Any] | None:
    """What older rules judged, judged by today's and put in its place; None where that takes the model itself."""
    try:
        report = rejudge.judged_again(older)
    except (LackingError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):  # or somebody's hand was in it
        return None
    (plan,) = begin_attempt([dataclasses.replace(plan, version=older["version"])])
    staging = plan.staging_directory()
    storage.remove_tree(staging)
    storage.download(plan.model_directory(), staging)
    for name in model_folder.MARKERS:
        storage.remove_tree(storage.join(staging, name))
    return dict(publish(plan, report))


def numbered(plan: ModelPlan, folder: model_folder.ModelFolder | None = None) -> ModelPlan:
    """The plan with the number of its SavedModel's folder: that of the last run in this OUT where nothing has changed, else the
    next one. A server that watches the folder sees a new number for every new function, and the same one is never two.

    Args:
      folder: what is at the model's final path, if it was looked at already.

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


def _outdated_report(plan: ModelPlan, folder: model_folder.ModelFolder) -> dict[str, Any] | None:
    """The same, where older rules have judged it."""
    report = _report_of_same(plan, folder)
    return report if report is not None and rejudge.is_outdated(report) else None


def _report_of_same(plan: ModelPlan, folder: model_folder.ModelFolder | None) -> dict[str, Any] | None:
    try:
        report = (folder or model_folder.scan(plan.model_directory())).complete_report()
        is_same = (
            bool(report)
            and report["schema_version"] == REPORT_SCHEMA_VERSION
            and report["model_id"] == plan.model_id
            and report["checkpoint"]["uri"] == _text(plan.uri)
            and report["checkpoint"]["digest"] == plan.digest
            and report["recipe_digest"] == plan.recipe_digest
            and _vouches_for_its_artifacts(report)
        )
        return report if is_same and plan.digest is not None and _still_stands(report, plan) else None
    except StorageError:
        if storage.is_remote(plan.out):
            raise
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # none there, or somebody's hand was: the work is done


def _vouches_for_its_artifacts(report: Mapping[str, Any]) -> bool:
    """Whether each artifact is a file, or a folder of files, whose digest the report holds."""
    files = report["files"]
    return all(path in files or any(name.startswith(f"{path}/") for name in files) for path in _artifacts(report))


def _still_stands(report: Mapping[str, Any], plan: ModelPlan) -> bool:
    reasons = [report["reason"], *(variant["reason"] for variant in report["variants"].values())]
    codes = {reason["code"] for reason in reasons if reason}
    if codes & _TRANSIENT:
        return False
    now = {name: getattr(plan.limits, name) for name in _LIMITED.values()}
    return all(now[name] <= report["limits"][name] for code, name in _LIMITED.items() if code in codes)


def judge_and_publish(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> dict[str, Any]:
    """Makes the report and puts the model's folder in place. Returns what the fleet's table needs of it. Never raises.

    Where the report cannot be made or the output not be written, the returned report says so: the run still counts this model,
    as failed.
    """
    # A runner may bring a model here twice, and several are published at once: the second one waits, then finds the first.
    with _LOCKS[zlib.crc32(os.fsencode(plan.staging_directory())) % len(_LOCKS)]:
        return _judge_and_publish(plan, exported, evaluation)


def _judge_and_publish(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> dict[str, Any]:
    is_transient = exported.reason is not None and exported.reason.code.is_transient
    try:
        if not is_transient and not storage.exists(plan.staging_directory()):
            before = finished_report(plan)  # a runner may bring a model here twice: the first time took the folder away
            if before is not None:
                return fleet_entry(before)
            raise StorageError(_lost_work(plan))
        report = _text(build(plan, exported, evaluation, worst_rows=results.worst_inputs_of(evaluation)))
        report = publish(plan, report)
    except Exception as error:  # noqa: BLE001  # what nobody foresaw is one model's report, never the end of the run
        report = _publish_failure(plan, exported, reason_for(error, Stage.PUBLISH))
    with contextlib.suppress(StorageError):
        progress.report_finished(plan.out, report, is_new=True)
    return fleet_entry(report)


def _lost_work(plan: ModelPlan) -> str:
    return (
        f"{plan.staging_directory()}: this work folder is not there on {socket.gethostname()}: it has been removed while the run "
        "went on, or the runner has moved the model to another worker between export and publishing, where there is no shuffle. "
        "Nothing is published; run again"
    )


def _text(value: Any) -> Any:
    """A report whose text UTF-8 can hold: file names may bring bytes that it cannot, which neither runners nor tables take."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_text(key): _text(item) for key, item in value.items()}
    return [_text(item) for item in value] if isinstance(value, (list, tuple)) else value


def _publish_failure(plan: ModelPlan, exported: ExportedModel, reason: Reason) -> Mapping[str, Any]:
    report = _failed(plan, exported, reason)
    with contextlib.suppress(Exception):  # the report in the fleet's table is then the only one
        storage.remove_tree(plan.staging_directory())
        return publish(plan, report)
    return report


def failed_fleet_entry(plan: ModelPlan, reason: Reason) -> dict[str, Any]:
    """What the fleet's table needs of a model of which nothing else can be told."""
    return fleet_entry(_failed(plan, ExportedModel(reason=reason), reason))


def _failed(plan: ModelPlan, exported: ExportedModel, reason: Reason) -> dict[str, Any]:
    failed = dataclasses.replace(exported, saved_model=None, variants={}, samples_problem=None, reason=reason)
    report: dict[str, Any] = _text(build(plan, failed, Evaluation(candidates={}, reason=reason)))
    return report
