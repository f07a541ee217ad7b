"""InWork -> InWork with its evaluation: three-way parity, each shard of each model in sandboxes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from liteferry import sandbox
from liteferry.errors import Reason, Stage
from liteferry.evaluation import predictions
from liteferry.evaluation.evaluate import evaluate_isolated, shard_tasks
from liteferry.evaluation.results import Evaluation, EvaluationTask, merge
from liteferry.output import progress
from liteferry.pipeline.stages.in_work import InWork
from liteferry.pipeline.stages.pooled import Future, PooledDoFn
from liteferry.sandbox.pool import WorkPool

_FIRST = 0


@dataclasses.dataclass
class EvaluateParity(beam.PTransform):
    """Evaluates each shard on the pool. There is no shuffle, because the artifacts are on the disk of the worker that made
    them, and because a model's report must not wait for others.
    """

    processes: int | None

    def expand(self, exported: Any) -> Any:
        return exported | "Evaluate" >> beam.ParDo(_Evaluate(self.processes))


class _Evaluate(PooledDoFn):
    stage = Stage.EVALUATE

    def start(self, element: InWork, pool: WorkPool) -> Sequence[Future]:
        """One call for each shard."""
        if element.is_proven:
            return []
        if predictions.are_kept(element.plan):
            sandbox.warm_up(sandbox.Flavor.METRICS)  # its imports take seconds, and overlap with the artifacts' runs
        priority = (_FIRST, -(element.plan.size_bytes or 0))
        tasks = shard_tasks(element.plan, element.exported)
        return [pool.submit(_evaluate, task, element.exported.referenced, priority=priority) for task in tasks]

    def finish(self, element: InWork, results: list[Any]) -> list[InWork]:
        return [element if element.is_proven else dataclasses.replace(element, evaluation=merge(results))]

    def recover(self, element: InWork, reason: Reason) -> list[InWork]:
        return [dataclasses.replace(element, evaluation=Evaluation(candidates={}, reason=reason))]


def _evaluate(task: EvaluationTask, referenced: bool) -> Evaluation:
    progress.report_doing([task.plan], Stage.EVALUATE)
    return evaluate_isolated(task, referenced=referenced)
