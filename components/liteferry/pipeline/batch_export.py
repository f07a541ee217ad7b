"""BatchExport: the whole job as one Beam transform; and `run`, which runs it to its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from liteferry.config.job import Job
from liteferry.errors import JobError
from liteferry.pipeline import launched_job
from liteferry.pipeline.launched_job import LaunchedJob
from liteferry.pipeline.run_request import RunRequest, about_run
from liteferry.pipeline.runner_traits import needed_bytes, traits_of, with_local_engine
from liteferry.pipeline.stages.discover import DONE, TO_DO, DiscoverCheckpoints, SplitFinished
from liteferry.pipeline.stages.evaluate import EvaluateParity
from liteferry.pipeline.stages.export import ExportModels
from liteferry.pipeline.stages.fleet import WriteFleet
from liteferry.pipeline.stages.metrics import ComputeMetrics
from liteferry.pipeline.stages.publish import JudgeAndPublish


@dataclasses.dataclass
class BatchExport(beam.PTransform):
    """Runs a job: writes artifacts, reports and the fleet's files to `out`. The output PCollection holds the fleet's facts.

    Nothing is shuffled between export and publishing: a model's report appears as soon as that model is finished, so a run that
    is killed keeps what is done. Only plans and small facts travel between stages.

    `processes`: sandboxes at once in one worker process; None for one for each core of the worker's machine. `worker_bytes`:
    memory that a worker needs, passed to the runner as a hint. `workers`: the number of workers, if known. `only`: a pattern
    over model ids; models that do not match keep their reports. `about`: what the page says of the run, as `report.run_facts`
    takes it.
    """

    job: Job
    out: str
    processes: int | None = None
    force: bool = False
    share_siblings: bool = True
    worker_bytes: int | None = None
    workers: int = 1
    only: str | None = None
    about: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def expand(self, root: Any) -> Any:
        plans = root | "Discover" >> DiscoverCheckpoints(self.job, self.out)
        split = plans | "Split" >> SplitFinished(self.force, self.only)
        fresh = (
            split[TO_DO]
            | "Export" >> self._hinted(ExportModels(self.processes, self.share_siblings, self.workers))
            | "Evaluate" >> self._hinted(EvaluateParity(self.processes))
            | "Metrics" >> self._hinted(ComputeMetrics(self.processes))
            | "Publish" >> self._hinted(JudgeAndPublish())
        )
        return (fresh, split[DONE]) | "AllReports" >> beam.Flatten() | "Fleet" >> WriteFleet(self.out, self.about)

    def _hinted(self, transform: Any) -> Any:
        """The transform with the job's hint. Neighbours get equal hints: a runner fuses only stages with the same hints, and
        these share a worker's disk.
        """
        return transform if self.worker_bytes is None else transform.with_resource_hints(min_ram=self.worker_bytes)


def run(request: RunRequest) -> LaunchedJob | None:
    """Runs a job to its end; its results are the files under `out`. Where the flags say not to wait, submits the job and
    returns what the runner calls it; None where it only wrote a template.

    Raises:
      JobError: options exclude each other, or an option that the runner needs is missing.
      KeyboardInterrupt: somebody asked the launcher to end. What became of a job elsewhere stands in its notes.
    """
    job, processes = request.job, request.processes
    traits = traits_of(request.beam_flags)
    options = PipelineOptions(with_local_engine(request.beam_flags), save_main_session=False)
    launched_job.give_name(options)
    worker_bytes = needed_bytes(job, processes=processes) if traits.is_dataflow else None
    try:
        pipeline = beam.Pipeline(options=options)
    except ValueError as error:
        raise JobError(str(error).splitlines()[1:] or [str(error)], source="Beam's options") from error
    about = about_run(request)
    try:
        with pipeline:
            pipeline | "LiteFerry" >> BatchExport(
                job,
                request.out,
                processes,
                request.force,
                request.share_siblings,
                worker_bytes,
                traits.workers,
                request.only,
                about,
            )
    except KeyboardInterrupt as interrupt:
        if not traits.is_local:
            interrupt.add_note(f"{traits.name}: {launched_job.stop(getattr(pipeline, 'result', None), options)}")
        raise
    if traits.waits or (traits.is_dataflow and not getattr(pipeline.result, "has_job", False)):
        return None
    return launched_job.launched(pipeline.result, options)
