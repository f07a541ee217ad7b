"""Handles a run whose models are all done already: it needs neither Beam nor a sandbox with TensorFlow."""

from __future__ import annotations

import uuid

from liteferry import storage
from liteferry.errors import LiteFerryError
from liteferry.output import fleet_files
from liteferry.pipeline.finished_beside import entries_of
from liteferry.pipeline.run_request import RunRequest, about_run
from liteferry.plan.planning import plan_models


def write_if_finished(request: RunRequest) -> bool:
    """Writes the fleet's files and returns True if every model has a valid report from an earlier run. Returns False otherwise,
    and also if the stages would meet an error or would have to read from a store: then the pipeline must run.

    Stops at the first model with work to do. The pipeline keeps the work done until then, for example a new verdict by new
    gates.
    """
    if request.force or storage.is_remote(request.out):
        return False
    run = fleet_files.FleetRun(out=request.out, run_id=uuid.uuid4().hex, about=about_run(request))
    try:
        entries = entries_of(plan_models(request.job, request.out), request.only)
        if entries is None:
            return False
        fleet_files.write_packed([entry for entry in entries if entry is not None], run)
    except (LiteFerryError, OSError):
        return False
    return True
