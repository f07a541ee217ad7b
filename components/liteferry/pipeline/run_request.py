"""The request for one run of a job."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from liteferry.config.job import Job


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRequest:
    """One run of a job, as the command line, the TFX component and the demo ask for it.

    `out`: the output folder, a path or a URI. `processes`: sandboxes at once per worker process, by default one for each core.
    `force`: export models again that are done already. `share_siblings`: whether checkpoints of one architecture share a trace.
    `beam_flags`: Beam's own options as flags.
    """

    job: Job
    out: str
    processes: int | None = None
    force: bool = False
    share_siblings: bool = True
    beam_flags: Sequence[str] = ()
