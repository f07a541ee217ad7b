"""Handles a run whose models are all done already: it needs neither Beam nor a sandbox with TensorFlow."""

from __future__ import annotations

import uuid
from typing import Any

from liteferry import storage
from liteferry.errors import LiteFerryError
from liteferry.output import fleet_files
from liteferry.output.begin import find_finished, report_of_other
from liteferry.pipeline.run_request import RunRequest, about_run, fits_only
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models


def write_if_finished(request: RunRequest) -> bool:
    """Writes the fleet's files and returns True if every model has a valid report from an earlier run. Returns False otherwise,
    and also if the stages would meet an error or would have to read from a store: then the pipeline must run.

    Checks one model after another and stops at the first one with work to do. The pipeline keeps the work done until then, for
    example a new verdict by new gates.
    """
    if request.force or storage.is_remote(request.out):
        return False
    entries, about = [], about_run(request)
    try:
        for plan in plan_models(request.job, request.out):
            entry = None if storage.is_remote(plan.uri) else _entry(plan, request.only)
            if entry is None:
                return False
            entries.append(entry)
        fleet_files.write(filter(None, entries), request.out, uuid.uuid4().hex, about)
    except (LiteFerryError, OSError):
        return False
    return True


def _entry(plan: ModelPlan, only: str | None) -> dict[str, Any] | None:
    """The fleet table's entry for a model; {} if the run leaves the model out and it has no report, None if there is work to
    do.
    """
    if not fits_only(plan.model_id, only):
        return report_of_other(plan)[1]
    return find_finished(fingerprint(plan), force=False)[1]
