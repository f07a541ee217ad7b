"""job -> ModelPlan for every checkpoint its patterns name, with digests, split into what is to do and what is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from liteferry import progress
from liteferry.config import Job
from liteferry.plan import ModelPlan, fingerprint, plan_models
from liteferry.publish import finished_report, numbered
from liteferry.report.facts import for_fleet

TO_DO = "to_do"
DONE = "done"


@dataclasses.dataclass
class DiscoverCheckpoints(beam.PTransform):
    """Root transform: a job -> ModelPlan, one for each checkpoint found, dealt out evenly."""

    job: Job
    out: str

    def expand(self, root: Any) -> Any:
        return (
            root
            | "Job" >> beam.Create([self.job])
            | "Find" >> beam.FlatMap(plan_models, self.out)
            | "Spread" >> beam.Reshuffle()
            | "Fingerprint" >> beam.Map(fingerprint)
        )


@dataclasses.dataclass
class SplitFinished(beam.PTransform):
    """ModelPlan -> `to_do`: ModelPlan; `done`: the report an earlier run left for the same checkpoint and recipe."""

    force: bool

    def expand(self, plans: Any) -> Any:
        return plans | "Look" >> beam.FlatMap(_look, self.force).with_outputs(DONE, main=TO_DO)


def _look(plan: ModelPlan, force: bool) -> Iterator[Any]:
    report = None if force else finished_report(plan)
    if report is None:
        yield numbered(plan)
    else:
        progress.report_finished(plan.out, report, is_new=False)
        yield beam.pvalue.TaggedOutput(DONE, for_fleet(report))
