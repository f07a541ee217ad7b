"""(ModelPlan, ExportedModel) -> (ModelPlan, ExportedModel, Evaluation): three-way parity, each shard of each model in
sandboxes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from liteferry.errors import Reason, Stage
from liteferry.evaluate import Evaluation, evaluate_isolated, merge, shard_tasks
from liteferry.plan import ModelPlan
from liteferry.stages.pooled import Future, PooledDoFn
from liteferry.types import ExportedModel
from liteferry.workers import WorkPool

_FIRST = 0


@dataclasses.dataclass
class EvaluateParity(beam.PTransform):
    """Shards are work for the pool, not for a shuffle: the artifacts are where they were made, and a model's report does not
    wait for others'.
    """

    processes: int

    def expand(self, exported: Any) -> Any:
        return exported | "Evaluate" >> beam.ParDo(_Evaluate(self.processes))


class _Evaluate(PooledDoFn):
    stage = Stage.EVALUATE

    def start(self, element: tuple[ModelPlan, ExportedModel], pool: WorkPool) -> Sequence[Future]:
        plan, exported = element
        return [
            pool.submit(evaluate_isolated, task, referenced=exported.referenced, priority=(_FIRST, -(plan.size_bytes or 0)))
            for task in shard_tasks(plan, exported)
        ]

    def finish(
        self, element: tuple[ModelPlan, ExportedModel], results: list[Any]
    ) -> list[tuple[ModelPlan, ExportedModel, Evaluation]]:
        return [(*element, merge(results))]

    def recover(
        self, element: tuple[ModelPlan, ExportedModel], reason: Reason
    ) -> list[tuple[ModelPlan, ExportedModel, Evaluation]]:
        return [(*element, Evaluation(candidates={}, reason=reason))]
