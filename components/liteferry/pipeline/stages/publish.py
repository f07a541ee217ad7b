"""InWork -> the report, judged and published. Every model gets one report, also after errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from liteferry.errors import Reason, Stage
from liteferry.output import progress
from liteferry.output.publish import failed_fleet_entry, judge_and_publish
from liteferry.pipeline.stages.in_work import InWork
from liteferry.pipeline.stages.pooled import Future, WaitingDoFn
from liteferry.sandbox.pool import WorkPool


class JudgeAndPublish(beam.PTransform):
    """Judges every model and publishes its folder with report and marker."""

    def expand(self, evaluated: Any) -> Any:
        return evaluated | "Publish" >> beam.ParDo(_Publish())


class _Publish(WaitingDoFn):
    stage = Stage.PUBLISH

    def start(self, element: InWork, pool: WorkPool) -> Sequence[Future]:
        return [pool.submit(judge_and_publish, element.plan, element.exported, element.compared)]

    def finish(self, element: InWork, results: list[Any]) -> list[dict[str, Any]]:
        return results

    def recover(self, element: InWork, reason: Reason) -> list[dict[str, Any]]:
        return [failed_fleet_entry(element.plan, reason)]

    def ended(self) -> None:
        progress.flush()
