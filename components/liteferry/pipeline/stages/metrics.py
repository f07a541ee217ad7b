"""(ModelPlan, ExportedModel, Evaluation) -> the same with task metrics in the Evaluation, and with the place where failed
variants begin to differ. Each model runs in a sandbox; most models need none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from liteferry.errors import Reason, Stage
from liteferry.evaluation.compute_metrics import compute_isolated, metrics_tasks
from liteferry.evaluation.divergence import Localised, localise_isolated, tasks_of
from liteferry.evaluation.results import Evaluation
from liteferry.evaluation.tfma.results import MetricsResult
from liteferry.pipeline.stages.pooled import Future, PooledDoFn
from liteferry.plan.model_plan import ModelPlan
from liteferry.sandbox.pool import WorkPool
from liteferry.types import ExportedModel

_FIRST = 0

Evaluated = tuple[ModelPlan, ExportedModel, Evaluation]


@dataclasses.dataclass
class ComputeMetrics(beam.PTransform):
    """Computes task metrics on this worker, whose disk holds the artifacts' answers."""

    processes: int | None

    def expand(self, evaluated: Any) -> Any:
        return evaluated | "Metrics" >> beam.ParDo(_Metrics(self.processes))


class _Metrics(PooledDoFn):
    stage = Stage.EVALUATE

    def start(self, element: Evaluated, pool: WorkPool) -> Sequence[Future]:
        priority = (_FIRST, -(element[0].size_bytes or 0))
        calls = [pool.submit(compute_isolated, task, priority=priority) for task in metrics_tasks(*element)]
        return calls + [pool.submit(localise_isolated, task, priority=priority) for task in tasks_of(*element)]

    def finish(self, element: Evaluated, results: list[Any]) -> list[Evaluated]:
        plan, exported, evaluation = element
        metrics = results[0] if metrics_tasks(*element) else None
        localised = results[-1] if tasks_of(*element) else Localised()
        told = dataclasses.replace(localised.told_in(evaluation), metrics=metrics)
        return [(plan, exported, told)]

    def recover(self, element: Evaluated, reason: Reason) -> list[Evaluated]:
        plan, exported, evaluation = element
        return [(plan, exported, dataclasses.replace(evaluation, metrics=MetricsResult(reason=reason)))]
