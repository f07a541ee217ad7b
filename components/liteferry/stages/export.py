"""ModelPlan -> (ModelPlan, ExportedModel): load, export and convert, each model in a sandbox."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from liteferry.errors import Reason, Stage
from liteferry.export import export_isolated
from liteferry.plan import ModelPlan
from liteferry.stages.pooled import Future, PooledDoFn
from liteferry.types import ExportedModel
from liteferry.workers import WorkPool

_AFTER_WHAT_IS_HALF_DONE = 1


@dataclasses.dataclass
class ExportModels(beam.PTransform):
    """`processes`: how many sandboxes run at once in one worker process."""

    processes: int

    def expand(self, plans: Any) -> Any:
        return plans | "Export" >> beam.ParDo(_Export(self.processes))


class _Export(PooledDoFn):
    stage = Stage.EXPORT

    def start(self, element: ModelPlan, pool: WorkPool) -> Sequence[Future]:
        big_first = -(element.size_bytes or 0)
        return [pool.submit(export_isolated, element, priority=(_AFTER_WHAT_IS_HALF_DONE, big_first))]

    def finish(self, element: ModelPlan, results: list[Any]) -> tuple[ModelPlan, ExportedModel]:
        return element, results[0]

    def recover(self, element: ModelPlan, reason: Reason) -> tuple[ModelPlan, ExportedModel]:
        return element, ExportedModel(reason=reason)
