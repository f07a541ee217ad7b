"""InWork -> InWork with task metrics in its evaluation, and with the place where failed variants begin to differ. Each model
runs in a sandbox; most models need none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from liteferry.errors import Reason, Stage
from liteferry.evaluation.compute_metrics import MetricsTask, compute_isolated, metrics_tasks
from liteferry.evaluation.divergence import LocalisationTask, Localised, localise_isolated, tasks_of
from liteferry.evaluation.tfma.results import MetricsResult
from liteferry.pipeline.stages.in_work import InWork
from liteferry.pipeline.stages.pooled import Future, PooledDoFn
from liteferry.sandbox.pool import WorkPool

_FIRST = 0


@dataclasses.dataclass
class ComputeMetrics(beam.PTransform):
    """Computes task metrics on this worker, whose disk holds the artifacts' answers."""

    processes: int | None

    def expand(self, evaluated: Any) -> Any:
        return evaluated | "Metrics" >> beam.ParDo(_Metrics(self.processes))


class _Metrics(PooledDoFn):
    stage = Stage.EVALUATE

    def start(self, element: InWork, pool: WorkPool) -> Sequence[Future]:
        priority = (_FIRST, -(element.plan.size_bytes or 0))
        metrics, localised = _tasks(element)
        calls = [pool.submit(compute_isolated, task, priority=priority) for task in metrics]
        return calls + [pool.submit(localise_isolated, task, priority=priority) for task in localised]

    def finish(self, element: InWork, results: list[Any]) -> list[InWork]:
        if element.is_proven:
            return [element]
        metrics, localised = _tasks(element)
        found = results[-1] if localised else Localised()
        told = dataclasses.replace(found.told_in(element.compared), metrics=results[0] if metrics else None)
        return [dataclasses.replace(element, evaluation=told, is_proven=True)]

    def recover(self, element: InWork, reason: Reason) -> list[InWork]:
        told = dataclasses.replace(element.compared, metrics=MetricsResult(reason=reason))
        return [dataclasses.replace(element, evaluation=told)]


def _tasks(element: InWork) -> tuple[list[MetricsTask], list[LocalisationTask]]:
    if element.is_proven:
        return [], []
    given = element.plan, element.exported, element.compared
    return metrics_tasks(*given), tasks_of(*given)
