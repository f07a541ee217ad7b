"""The record of one run's arguments."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence

from liteferry.config.job import Job
from liteferry.report.run_facts import now


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The arguments of one run of a job, from the command line, the TFX component or the demo.

    `out`: the output folder, a path or a URI. `processes`: sandboxes at once per worker process, by default one for each core.
    `force`: export models again even if their results are valid. `share_siblings`: whether checkpoints of one architecture
    share a trace. `beam_flags`: Beam's own options as flags. `only`: a pattern over model ids; models that do not match keep
    their reports. `job_file`: where the job came from, for the fleet's page.
    """

    job: Job
    out: str
    processes: int | None = None
    force: bool = False
    share_siblings: bool = True
    beam_flags: Sequence[str] = ()
    only: str | None = None
    job_file: str | None = None


def about_run(request: RunRequest) -> dict[str, str]:
    """The facts of a run that begins now for the fleet's page, in the form that `report.run_facts` takes."""
    return {"started": now(), **({"job": request.job_file} if request.job_file else {})}


def fits_only(model_id: str, only: str | None) -> bool:
    """Whether a run with `only` works on a model."""
    return only is None or fnmatch.fnmatchcase(model_id, only)
