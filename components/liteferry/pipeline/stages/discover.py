"""job -> one ModelPlan, with digests, for every checkpoint that its patterns match; split into models to do and models already
done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam

from liteferry.config.job import Job
from liteferry.errors import Reason, Stage
from liteferry.output import progress
from liteferry.output.begin import find_finished, report_of_other
from liteferry.output.publish import failed_fleet_entry
from liteferry.pipeline.run_request import fits_only
from liteferry.pipeline.stages.pooled import Future, WaitingDoFn
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models
from liteferry.sandbox.pool import WorkPool

TO_DO = "to_do"
DONE = "done"


@dataclasses.dataclass
class DiscoverCheckpoints(beam.PTransform):
    """Root transform: a job -> ModelPlan, one for each checkpoint found, spread evenly over the workers."""

    job: Job
    out: str

    def expand(self, root: Any) -> Any:
        return (
            root
            | "Job" >> beam.Create([self.job])
            | "Find" >> beam.FlatMap(plan_models, self.out)
            | "Spread" >> beam.Reshuffle()
            | "Fingerprint" >> beam.Map(_fingerprinted)
        )


def _fingerprinted(plan: ModelPlan) -> ModelPlan:
    """`fingerprint`, which ends no run: a checkpoint whose digest cannot be taken for any reason has none, and its export says
    why. A runner that tries nothing twice would end with the first exception.
    """
    try:
        return fingerprint(plan)
    except Exception:  # noqa: BLE001
        return dataclasses.replace(plan, digest=None, size_bytes=None, is_remembered=False)


@dataclasses.dataclass
class SplitFinished(beam.PTransform):
    """Splits plans. Output `to_do`: ModelPlan; `done`: the earlier run's report for the same checkpoint and recipe."""

    force: bool
    only: str | None = None

    def expand(self, plans: Any) -> Any:
        looked = plans | "Look" >> beam.ParDo(_Look(self.force, self.only))
        return looked | "Deal" >> beam.FlatMap(_dealt).with_outputs(DONE, main=TO_DO)


Looked = tuple[ModelPlan, dict[str, Any] | None]


class _Look(WaitingDoFn):
    stage = Stage.PUBLISH

    def __init__(self, force: bool, only: str | None) -> None:
        super().__init__()
        self._force = force
        self._only = only

    def start(self, element: ModelPlan, pool: WorkPool) -> Sequence[Future]:
        if not fits_only(element.model_id, self._only):
            return [pool.submit(report_of_other, element)]
        return [pool.submit(find_finished, element, force=self._force)]

    def finish(self, element: ModelPlan, results: list[Any]) -> list[Looked]:
        return results

    def recover(self, element: ModelPlan, reason: Reason) -> list[Looked]:
        return [(element, failed_fleet_entry(element, reason))]

    def ended(self) -> None:
        progress.flush()


def _dealt(looked: Looked) -> Iterator[Any]:
    plan, report = looked
    if report == {}:  # left out of this run, and without a report from another
        return
    yield plan if report is None else beam.pvalue.TaggedOutput(DONE, report)
