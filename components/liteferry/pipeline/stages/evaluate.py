"""(ModelPlan, ExportedModel) -> (ModelPlan, ExportedModel, Evaluation): three-way parity, each shard of each model in
sandboxes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from liteferry import sandbox
from liteferry.errors import Reason, Stage
from liteferry.evaluation import predictions
from liteferry.evaluation.evaluate import evaluate_isolated, evaluate_siblings_isolated, split_by_shards
from liteferry.evaluation.results import Evaluation, EvaluationTask, merge
from liteferry.output import progress
from liteferry.pipeline.stages.export import Family
from liteferry.pipeline.stages.pooled import Future, PooledDoFn
from liteferry.plan.model_plan import ModelPlan
from liteferry.sandbox.pool import WorkPool
from liteferry.types import ExportedModel

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

    def start(self, element: Family, pool: WorkPool) -> Sequence[Future]:
        """One call for the members that have one shard and their reference, one for each shard of each other member."""
        if any(predictions.are_kept(plan) for plan, _ in element):
            sandbox.warm_up(sandbox.Flavor.METRICS)  # its imports take seconds, and overlap with the artifacts' runs
        together, apart = split_by_shards(element)
        size = -sum(plan.size_bytes or 0 for plan, _ in element)
        calls = [pool.submit(_evaluate_together, together, priority=(_FIRST, size))] if together else []
        return calls + [pool.submit(_evaluate_one, task, priority=(_FIRST, size)) for task in apart]

    def finish(self, element: Family, results: list[Any]) -> list[tuple[ModelPlan, ExportedModel, Evaluation]]:
        together, apart = split_by_shards(element)
        parts: dict[str, list[Evaluation]] = {plan.model_id: [] for plan, _ in element}
        if together:
            for task, evaluation in zip(together, results[0], strict=True):
                parts[task.plan.model_id].append(evaluation)
        for task, evaluation in zip(apart, results[1:] if together else results, strict=True):
            parts[task.plan.model_id].append(evaluation)
        return [(plan, exported, merge(parts[plan.model_id])) for plan, exported in element]

    def recover(self, element: Family, reason: Reason) -> list[tuple[ModelPlan, ExportedModel, Evaluation]]:
        return [(plan, exported, Evaluation(candidates={}, reason=reason)) for plan, exported in element]


def _evaluate_together(tasks: Sequence[EvaluationTask]) -> list[Evaluation]:
    progress.report_doing([task.plan for task in tasks], Stage.EVALUATE)
    return evaluate_siblings_isolated(tasks)


def _evaluate_one(task: EvaluationTask) -> Evaluation:
    progress.report_doing([task.plan], Stage.EVALUATE)
    return evaluate_isolated(task, referenced=False)
