"""Publishes a finished model: moves its folder, with report and marker, to OUT/models by one rename. On an object store,
`publish_to_store` does it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import threading
import zlib
from collections.abc import Collection, Mapping
from typing import Any

from liteferry import storage
from liteferry.errors import Reason, Stage, StorageError, reason_for
from liteferry.evaluation import results
from liteferry.evaluation.results import Evaluation
from liteferry.json_records import in_lines
from liteferry.output import held_back, manifest, model_folder, progress, proofs, publish_to_store
from liteferry.output.finished import artifact_paths, finished, finished_report, plain_text
from liteferry.plan import bound_rows, process_log
from liteferry.plan.model_plan import ModelPlan
from liteferry.report.model_report import build, fleet_entry
from liteferry.storage.layout import BLESSED, PAGE, REPORT, statement_name
from liteferry.types import ExportedModel

# A work folder's name selects its lock.
_LOCKS = tuple(threading.Lock() for _ in range(64))


def publish(plan: ModelPlan, report: Mapping[str, Any]) -> Mapping[str, Any]:
    """Writes the report, with the digest of every file it vouches for, and its page into the staging directory, the marker
    last, and puts the directory in place. If the report is not blessed and a blessed model is published, the published folder
    stays and the report goes to OUT/attempts, see `held_back`.

    Returns:
      The fleet table's entry for the report that is now in place: this one, or, on a store, the report of another run that has
      published the same result meanwhile.

    Raises:
      StorageError: when the output cannot be written, or files that the report lists are missing from the staging directory.
    """
    staging = plan.staging_directory()
    _refuse_lost(staging, report)
    _remove_unreported(staging, report)
    stands = held_back.Standing()
    if model_folder.marker_of(report) != BLESSED:
        if storage.is_remote(plan.out):
            publish_to_store.restore(plan.model_directory())
        stands = held_back.standing(plan, report)
        report = {**report, "takes_back": stands.takes_back}
    told = _hold_back(plan, report, stands.kept) if stands.kept else _put_in_place(plan, report)
    process_log.keep(plan)
    storage.remove_tree(bound_rows.directory(plan))
    return told


def _put_in_place(plan: ModelPlan, report: Mapping[str, Any]) -> Mapping[str, Any]:
    staging = plan.staging_directory()
    if "files" not in report:  # a report that is judged again already lists its files: the judged bytes must not change
        older = _keep_versions(plan, report) if model_folder.marker_of(report) == BLESSED else []
        report = {**report, "kept_versions": older, "files": manifest.files_of(staging)}
    _write_about(staging, report)
    if not storage.is_remote(plan.out):
        storage.publish_directory(staging, plan.model_directory())
        held_back.forget(plan)
        return fleet_entry(report)
    intent = {"version": plan.version, "export_digest": plan.export_digest}
    kept: dict[str, Any] = {}

    def settled() -> dict[str, Any] | None:
        others = _put_there_meanwhile(plan)
        if others is None and model_folder.marker_of(report) != BLESSED:
            kept.update(held_back.standing(plan, report).kept)  # another run has published a blessed one
        return others or kept or None

    others = publish_to_store.put_in_place(staging, plan.model_directory(), intent=intent, settled=settled)
    if kept:
        return _hold_back(plan, report, kept)
    held_back.forget(plan)
    storage.remove_tree(staging)
    return fleet_entry(others or report)


def _keep_versions(plan: ModelPlan, report: Mapping[str, Any]) -> list[int]:
    """Copies the newest earlier blessed SavedModels into the plan's work folder, as many as the job keeps. Returns their
    version numbers.
    """
    before = held_back.blessed_report(model_folder.scan(plan.model_directory())) if plan.keep_versions > 1 else {}
    numbers = {name.split("/")[1] for name in before.get("files", ()) if name.startswith("saved_model/")}
    older = sorted(int(number) for number in numbers if number.isdecimal() and int(number) < int(report["version"]))
    kept = older[-(plan.keep_versions - 1) :] if plan.keep_versions > 1 else []
    names = [name for name in before.get("files", ()) if name.startswith(tuple(f"saved_model/{number}/" for number in kept))]
    if kept:
        take_artifacts(plan, names)
    return kept


def take_artifacts(plan: ModelPlan, names: Collection[str]) -> None:
    """Puts a published model's artifacts into the work folder of its plan, as hard links where the file system supports them.
    Raises StorageError.
    """
    for name in names:
        take_artifact(plan, name, name)


def take_artifact(plan: ModelPlan, name: str, new_name: str) -> None:
    """As `take_artifacts`, for one file, which gets another name."""
    source, target = storage.join(plan.model_directory(), name), os.path.join(plan.staging_directory(), new_name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        if storage.is_remote(source):
            raise OSError
        os.link(storage.require_local(source), target, follow_symlinks=False)
    except OSError:
        storage.download(source, target)


def _write_about(folder: str, report: Mapping[str, Any]) -> None:
    """Writes a report, what is made of it and, last, its marker."""
    from liteferry.report.pages.render import render_model

    text = in_lines(report)
    about = {REPORT: text, PAGE: render_model(report).encode(), **proofs.written_about(report)}
    marker = {model_folder.marker_of(report): model_folder.vouch_for(text)}
    line = proofs.statement_of(report, {**about, **marker})
    vouches = {} if line is None else {statement_name(str(report["model_id"])): line}
    for name, content in {**about, **vouches, **marker}.items():
        storage.write_bytes(storage.join(folder, name), content)


def _hold_back(plan: ModelPlan, report: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the attempt's report to OUT/attempts and removes its artifacts; the blessed model stays."""
    staging = plan.staging_directory()
    attempt = held_back.attempt_report(plan, report, kept)
    storage.remove_tree(staging)
    _write_about(staging, attempt)
    if storage.is_remote(plan.out):
        publish_to_store.put_in_place(staging, held_back.directory(plan), intent={}, settled=lambda: None)
        storage.remove_tree(staging)
    else:
        storage.publish_directory(staging, held_back.directory(plan))
    return held_back.told(attempt, kept)


def is_published_meanwhile(plan: ModelPlan) -> bool:
    """Whether this plan's work has been published since the plan was made: by another run, or by this one, if its runner does a
    part of it again. False where that cannot be told: then the work is done again.
    """
    try:
        return _put_there_meanwhile(plan) is not None
    except StorageError:
        return False


def _put_there_meanwhile(plan: ModelPlan) -> dict[str, Any] | None:
    """The report of the same work, if another run published it after this plan was made."""
    folder = model_folder.scan(plan.model_directory())
    return None if folder.marker() == plan.marker_before else finished_report(plan, folder)


def _refuse_lost(staging: str, report: Mapping[str, Any]) -> None:
    """Raises StorageError if an artifact is missing: the output, or a part of it, may have been deleted since the artifacts
    were judged.
    """
    lost = sorted(path for path in artifact_paths(report) if not storage.exists(storage.join(staging, path)))
    if lost:
        raise StorageError(f"{staging}: {', '.join(lost)} has been removed while the run went on")


def _remove_unreported(staging: str, report: Mapping[str, Any]) -> None:
    """Removes files that the report does not name: a killed process may have left half of an artifact."""
    kept = {f"saved_model/{number}" for number in report.get("kept_versions") or ()}  # of a report that is published again
    artifacts = artifact_paths(report) | kept
    for folder in ("saved_model", "tflite"):
        inside = {storage.join(folder, name) for name in storage.list_directory(storage.join(staging, folder))}
        for path in inside - artifacts if inside & artifacts else {folder}:
            storage.remove_tree(storage.join(staging, path))


def judge_and_publish(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> dict[str, Any]:
    """Makes the report, publishes the model's folder and returns the fleet table's entry. Never raises.

    If the report cannot be made or the output cannot be written, the returned entry says so, and the run counts the model as
    failed.
    """
    # A runner may deliver a model twice, and models are published in parallel: the second call waits, then finds the first one's
    # result.
    with _LOCKS[zlib.crc32(os.fsencode(plan.staging_directory())) % len(_LOCKS)]:
        return _judge_and_publish(plan, exported, evaluation)


def _judge_and_publish(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> dict[str, Any]:
    is_transient = exported.reason is not None and exported.reason.code.is_transient
    try:
        if not is_transient and not storage.exists(plan.staging_directory()):
            before = finished(plan, model_folder.scan(plan.model_directory()))
            if before is not None:  # the runner delivered this model twice: the first call has moved the folder
                return before
            raise StorageError(_lost_work(plan))
        report = plain_text(build(plan, exported, evaluation, worst_rows=results.worst_inputs_of(evaluation)))
        told = dict(publish(plan, report))
    except Exception as error:  # noqa: BLE001  # an unexpected error fails one model, never the run
        told = _publish_failure(plan, exported, reason_for(error, Stage.PUBLISH))
    with contextlib.suppress(StorageError):
        progress.report_finished(plan.out, told, is_new=True)
    return told


def _lost_work(plan: ModelPlan) -> str:
    return (
        f"{plan.staging_directory()}: this work folder is not there on {socket.gethostname()}: it has been removed while the run "
        "went on, or the runner has moved the model to another worker between export and publishing, where there is no shuffle. "
        "Nothing is published; run again"
    )


def _publish_failure(plan: ModelPlan, exported: ExportedModel, reason: Reason) -> dict[str, Any]:
    report = _failed(plan, exported, reason)
    with contextlib.suppress(Exception):  # then this entry in the fleet's table is the only report
        storage.remove_tree(plan.staging_directory())
        return dict(publish(plan, report))
    return fleet_entry(report)


def failed_fleet_entry(plan: ModelPlan, reason: Reason) -> dict[str, Any]:
    """The fleet table's entry for a model whose report could not be made."""
    return fleet_entry(_failed(plan, ExportedModel(reason=reason), reason))


def _failed(plan: ModelPlan, exported: ExportedModel, reason: Reason) -> dict[str, Any]:
    failed = dataclasses.replace(exported, saved_model=None, variants={}, samples_problem=None, reason=reason)
    report: dict[str, Any] = plain_text(build(plan, failed, Evaluation(candidates={}, reason=reason)))
    return report
