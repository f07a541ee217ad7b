"""A plan before its work begins: is it done already, does it take a new verdict alone, or is there work to do?"""

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
from liteferry.output.finished import finished, numbered, outdated_report, report_of_same_work
from liteferry.output.publish import failed_fleet_entry, publish, take_artifacts
from liteferry.plan.fingerprints import read_remembered
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from liteferry.report import rejudge
from liteferry.report.model_report import fleet_entry

# One checkpoint at a time is looked into, as where no digest is remembered: HDF5 takes a sandbox.
_READING = threading.Lock()


def report_of_other(plan: ModelPlan) -> tuple[ModelPlan, dict[str, Any]]:
    """What the fleet's table needs of the report that a model has, whatever run made it; nothing where it has none. For models
    that a run leaves out.
    """
    try:
        own, attempt = held_back.reports_of(plan.out, plan.model_id)
        return plan, held_back.told(attempt, own) if attempt else fleet_entry(own) if own else {}
    except (StorageError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return plan, {}


def find_finished(plan: ModelPlan, *, force: bool) -> tuple[ModelPlan, dict[str, Any] | None]:
    """The plan, ready to be worked on, and None; or the plan and what the fleet's table needs of a report that ends the matter:
    that of an earlier run, unless `force`, or that nobody can tell what is there. Never raises.
    """
    is_new = True
    try:
        folder = model_folder.scan(plan.model_directory())
        told = None if force else finished(plan, folder)
        if told is None and plan.is_remembered:  # what is exported is known by its bytes
            with _READING:
                plan = read_remembered(plan)
            told = None if force else finished(plan, folder)
        older = None if told is not None or force else outdated_report(plan, folder)
        if older is not None:
            plan = dataclasses.replace(plan, judged_before=rejudge.before(older))
            told = _judged_again(plan, older)
        other = None if told is not None or older is not None or force else report_of_same_work(plan, folder)
        if other is not None:
            told = _judged_again(plan, other, rejudge.Terms(gates=plan.gates, kinds=plan.output_kinds, require=plan.require))
        is_new = told is None or older is not None or other is not None
        if told is None:
            return numbered(plan, folder), None
        if publish_to_store.is_unfinished(folder):
            publish_to_store.clear(plan.model_directory())
        storage.remove_unfinished(plan.model_directory())  # of a `liteferry report` that was killed
    except StorageError as error:  # to write there now might replace what is good
        told = failed_fleet_entry(plan, reason_for(error, Stage.PUBLISH))
    with contextlib.suppress(StorageError):
        progress.report_finished(plan.out, told, is_new=is_new)
    return plan, told


def _judged_again(plan: ModelPlan, older: Mapping[str, Any], terms: rejudge.Terms | None = None) -> dict[str, Any] | None:
    """What older rules or other gates judged, judged by today's and put in its place; None where that takes the model itself."""
    try:
        report = {**rejudge.judged_again(older, terms), "recipe_digest": plan.recipe_digest}
    except (LackingError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):  # or somebody's hand was in it
        return None
    (plan,) = begin_attempt([dataclasses.replace(plan, version=older["version"])])
    staging = plan.staging_directory()
    storage.remove_tree(staging)
    os.makedirs(staging)
    take_artifacts(plan, report["files"])
    return dict(publish(plan, report))
