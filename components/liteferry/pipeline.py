"""BatchExport: the whole job as one Beam transform, and `run`, which runs it and says what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from liteferry.config import Job
from liteferry.stages.discover import DONE, TO_DO, DiscoverCheckpoints, SplitFinished
from liteferry.stages.evaluate import EvaluateParity
from liteferry.stages.export import ExportModels
from liteferry.stages.fleet import WriteFleet
from liteferry.stages.metrics import ComputeMetrics
from liteferry.stages.publish import JudgeAndPublish
from liteferry.workers import available_cores

# Beam's DirectRunner looks for a downloadable engine first, which fails or hangs without a network; this is the engine it
# bundles.
_LOCAL_ENGINE = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"


@dataclasses.dataclass
class BatchExport(beam.PTransform):
    """job -> artifacts, reports and the fleet's files under `out`; the fleet's facts come out.

    Between export and publishing nothing is shuffled: a model's report appears as soon as that model is finished, so a run
    that is killed keeps what is done. Nothing but plans and small facts travels between stages.
    """

    job: Job
    out: str
    processes: int
    force: bool = False
    share_siblings: bool = True
    workers: int = 1

    def expand(self, root: Any) -> Any:
        plans = root | "Discover" >> DiscoverCheckpoints(self.job, self.out)
        split = plans | "Split" >> SplitFinished(self.force)
        fresh = (
            split[TO_DO]
            | "Export" >> ExportModels(self.processes, self.share_siblings, self.workers)
            | "Evaluate" >> EvaluateParity(self.processes)
            | "Metrics" >> ComputeMetrics(self.processes)
            | "Publish" >> JudgeAndPublish()
        )
        return (fresh, split[DONE]) | "AllReports" >> beam.Flatten() | "Fleet" >> WriteFleet(self.out)


def run(
    job: Job,
    out: str,
    *,
    processes: int | None = None,
    force: bool = False,
    share_siblings: bool = True,
    beam_flags: Sequence[str] = (),
) -> None:
    """Runs a job to its end. Its results are the files under `out`.

    Args:
      processes: sandboxes at once per worker process; by default one for each core.
      beam_flags: Beam's own options as flags.
    """
    options = PipelineOptions(_with_local_engine(beam_flags), save_main_session=False)
    with beam.Pipeline(options=options) as pipeline:
        pipeline | "LiteFerry" >> BatchExport(
            job, out, processes or available_cores(), force, share_siblings, _workers(options.get_all_options())
        )


def _workers(options: Mapping[str, Any]) -> int:
    """How many worker processes there are, or may be, as far as Beam's options tell."""
    names = ["num_workers", "max_num_workers"]
    if options.get("direct_running_mode") == "multi_processing":
        names.append("direct_num_workers")
    return max(1, *(int(options.get(name) or 0) for name in names))


def _with_local_engine(flags: Sequence[str]) -> list[str]:
    runner = PipelineOptions(list(flags)).get_all_options(drop_default=True).get("runner")
    return [*flags, f"--runner={_LOCAL_ENGINE}"] if runner in (None, "DirectRunner") else list(flags)
