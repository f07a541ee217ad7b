"""All work on models but publishing, where it is done in one call: export, comparison, task metrics, where they diverge."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Sequence

from liteferry.errors import Stage, reason_for
from liteferry.evaluation.compute_metrics import compute_isolated, metrics_tasks
from liteferry.evaluation.divergence import Localised, localise_isolated, tasks_of
from liteferry.evaluation.evaluate import evaluate_isolated, siblings_in_turn, split_by_shards
from liteferry.evaluation.results import Evaluation, EvaluationTask, merge
from liteferry.evaluation.tfma.results import MetricsResult
from liteferry.exporting.export import exported_in_turn
from liteferry.plan.model_plan import ModelPlan
from liteferry.types import ExportedModel

Proven = tuple[ModelPlan, ExportedModel, Evaluation]


def proven_in_turn(plans: Sequence[ModelPlan]) -> Generator[Proven, None, None]:
    """One model, or siblings: yields each as soon as it is proven, in the order of the plans. Only one process works at a time:
    that of the exports waits while a model is compared, and the other way round. Never raises for an error of a model or a store.
    """
    comparing = siblings_in_turn(plans) if len(plans) > 1 else contextlib.nullcontext(_alone)
    with comparing as evaluate, contextlib.closing(exported_in_turn(plans)) as in_turn:
        for plan, exported in zip(plans, in_turn, strict=True):
            yield plan, exported, _with_metrics(plan, exported, _compared(plan, exported, evaluate))


def _alone(task: EvaluationTask) -> Evaluation:
    return evaluate_isolated(task, referenced=True)


def _compared(plan: ModelPlan, exported: ExportedModel, evaluate: Callable[[EvaluationTask], Evaluation]) -> Evaluation:
    referenced, others = split_by_shards([(plan, exported)])
    try:
        return merge([*map(evaluate, referenced), *(evaluate_isolated(task, referenced=False) for task in others)])
    except Exception as error:  # noqa: BLE001  # an unforeseen error costs this model, not its siblings
        return Evaluation(candidates={}, reason=reason_for(error, Stage.EVALUATE))


def _with_metrics(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> Evaluation:
    try:
        metrics = [compute_isolated(task) for task in metrics_tasks(plan, exported, evaluation)]
        localised = next((localise_isolated(task) for task in tasks_of(plan, exported, evaluation)), Localised())
        return dataclasses.replace(localised.told_in(evaluation), metrics=metrics[0] if metrics else None)
    except Exception as error:  # noqa: BLE001  # as above
        return dataclasses.replace(evaluation, metrics=MetricsResult(reason=reason_for(error, Stage.EVALUATE)))
