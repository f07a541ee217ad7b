"""Decides what a plan needs: nothing (an earlier run has done it), a new verdict only, or the whole export."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Mapping
from typing import Any

from liteferry import storage
from liteferry.errors import Stage, StorageError, reason_for
from liteferry.evaluation.verdict import LackingError
from liteferry.output import held_back, model_folder, progress, publish_to_store
from liteferry.output.finished import finished, numbered, outdated_report, report_of_other_metadata, report_of_same_work
from liteferry.output.publish import failed_fleet_entry, publish, take_artifacts
from liteferry.output.relabel import relabelled
from liteferry.plan.fingerprints import read_remembered
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from liteferry.report import rejudge
from liteferry.report.model_report import fleet_entry

# Fingerprints one checkpoint at a time, as the run does when no digest is cached: HDF5 is read in a sandbox.
_READING = threading.Lock()


def report_of_other(plan: ModelPlan) -> tuple[ModelPlan, dict[str, Any]]:
    """For a model that the run leaves out: the fleet table's entry for its report, from any earlier run; {} if it has no
    report.
    """
    try:
        own, attempt = held_back.reports_of(plan.out, plan.model_id)
        return plan, held_back.told(attempt, own) if attempt else fleet_entry(own) if own else {}
    except (StorageError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return plan, {}


def find_finished(plan: ModelPlan, *, force: bool) -> tuple[ModelPlan, dict[str, Any] | None]:
    """(plan, None) if there is work to do; else (plan, the fleet table's entry). The entry comes from the report of an earlier
    run, unless `force` is set, or says that the output cannot be read. Never raises.
    """
    is_new = True
    try:
        folder = model_folder.scan(plan.model_directory())
        told = None if force else finished(plan, folder)
        if told is None and plan.is_remembered:  # an export needs the digest of the checkpoint's bytes
            with _READING:
                plan = read_remembered(plan)
            told = None if force else finished(plan, folder)
        is_new = told is None
        if told is None and not force:
            plan, told = _without_a_run(plan, folder)
        if told is None:
            return numbered(plan, folder), None
        if publish_to_store.is_unfinished(folder):
            publish_to_store.clear(plan.model_directory())
        storage.remove_unfinished(plan.model_directory())  # left by a killed `liteferry report`
    except StorageError as error:  # writing there now could replace a good model
        told = failed_fleet_entry(plan, reason_for(error, Stage.PUBLISH))
    with contextlib.suppress(StorageError):
        progress.report_finished(plan.out, told, is_new=is_new)
    return plan, told


def _without_a_run(plan: ModelPlan, folder: model_folder.ModelFolder) -> tuple[ModelPlan, dict[str, Any] | None]:
    """The fleet table's entry for a report that is published now, made of an earlier one where only rules, gates, the policy or
    metadata have changed since; None where the model has to be worked on.
    """
    older = outdated_report(plan, folder)
    if older is not None:
        plan = dataclasses.replace(plan, judged_before=rejudge.before(older))
        return plan, _judged_again(plan, older)
    other = report_of_same_work(plan, folder)
    if other is not None:
        return plan, _judged_again(plan, other, rejudge.terms_of(plan))
    other = report_of_other_metadata(plan, folder)
    return plan, None if other is None else relabelled(numbered(plan, folder), other)


def _judged_again(plan: ModelPlan, older: Mapping[str, Any], terms: rejudge.Terms | None = None) -> dict[str, Any] | None:
    """Judges an earlier report again by today's rules and gates, and publishes the result; None if that needs a new export."""
    try:
        report = {**rejudge.judged_again(older, terms), "recipe_digest": plan.recipe_digest}
    except (LackingError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):  # edited by hand
        return None
    (plan,) = begin_attempt([dataclasses.replace(plan, version=older["version"])])
    staging = plan.staging_directory()
    storage.remove_tree(staging)
    os.makedirs(staging)
    take_artifacts(plan, report["files"])
    return dict(publish(plan, report))
