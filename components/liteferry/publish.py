"""A finished model -> its folder under OUT/models: whole, report and marker inside, by one rename. Also: is it there already?"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from liteferry import progress, reference, storage
from liteferry.errors import ReasonCode, Stage, StorageError, reason_for
from liteferry.evaluate import Evaluation
from liteferry.plan import ModelPlan
from liteferry.report.facts import build, for_fleet
from liteferry.types import ExportedModel, Status
from liteferry.version import REPORT_SCHEMA_VERSION

REPORT = "report.json"
PAGE = "report.html"
BLESSED = "BLESSED"
NOT_BLESSED = "NOT_BLESSED"

# These say something of the machine at that hour, not of the model: the same command tries again.
_TRANSIENT = {ReasonCode.STORAGE_FAILED.value, ReasonCode.INTERNAL.value}
# These depend on the limits: they are tried again when the job allows more.
_LIMITED = {ReasonCode.TIMEOUT.value: "seconds", ReasonCode.OUT_OF_MEMORY.value: "memory_bytes"}


def publish(plan: ModelPlan, report: Mapping[str, Any]) -> None:
    """Writes the report and its page into the staging directory, the marker last, and puts the directory in place.

    Raises:
      StorageError: when the output cannot be written.
    """
    from liteferry.report.pages import render_model

    staging = plan.staging_directory()
    os.makedirs(staging, exist_ok=True)
    storage.write_bytes(storage.join(staging, REPORT), json.dumps(report, indent=2, allow_nan=False).encode())
    storage.write_bytes(storage.join(staging, PAGE), render_model(report).encode())
    marker = BLESSED if report["status"] == Status.BLESSED.value else NOT_BLESSED
    storage.write_bytes(storage.join(staging, marker), b"")
    storage.publish_directory(staging, plan.model_directory())
    storage.remove_tree(reference.directory(plan))


def finished_report(plan: ModelPlan) -> dict[str, Any] | None:
    """The report that an earlier run left for exactly this checkpoint and recipe, or None when there is work to do."""
    directory = plan.model_directory()
    names = storage.list_directory(directory)
    if REPORT not in names or (BLESSED not in names and NOT_BLESSED not in names):
        return None
    try:
        report = json.loads(storage.read_bytes(storage.join(directory, REPORT)))
        same = (
            report["schema_version"] == REPORT_SCHEMA_VERSION
            and report["checkpoint"]["uri"] == plan.uri
            and report["checkpoint"]["digest"] == plan.digest
            and report["recipe_digest"] == plan.recipe_digest
        )
        return report if same and plan.digest is not None and _still_stands(report, plan) else None
    except (StorageError, ValueError, KeyError, TypeError):
        return None  # somebody's hand was here; the work is done again


def _still_stands(report: Mapping[str, Any], plan: ModelPlan) -> bool:
    reasons = [report["reason"], *(variant["reason"] for variant in report["variants"].values())]
    codes = {reason["code"] for reason in reasons if reason}
    if codes & _TRANSIENT:
        return False
    now = {"seconds": plan.limits.seconds, "memory_bytes": plan.limits.memory_bytes}
    return all(now[name] <= report["limits"][name] for code, name in _LIMITED.items() if code in codes)


def judge_and_publish(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> dict[str, Any]:
    """Makes the report and puts the model's folder in place. Returns what the fleet's table needs of it.

    Where the output cannot be written, the returned report says so: the run still counts this model, as failed.
    """
    report = build(plan, exported, evaluation)
    try:
        publish(plan, report)
    except (StorageError, OSError) as error:
        reason = reason_for(error, Stage.PUBLISH)
        report = build(plan, dataclasses.replace(exported, saved_model=None, variants={}, reason=reason), evaluation)
        with contextlib.suppress(StorageError, OSError):
            storage.remove_tree(plan.staging_directory())
            publish(plan, report)
    with contextlib.suppress(StorageError, OSError):
        progress.report_finished(plan.out, report, is_new=True)
    return for_fleet(report)
