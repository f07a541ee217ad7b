"""All work on models but publishing, where it is done in one call: export, comparison, task metrics, where they diverge."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator, Sequence

from liteferry import storage
from liteferry.errors import Stage, reason_for
from liteferry.evaluation.compute_metrics import compute_isolated, metrics_tasks
from liteferry.evaluation.divergence import Localised, localise_isolated, tasks_of
from liteferry.evaluation.evaluate import evaluate_isolated, siblings_in_turn, split_by_shards
from liteferry.evaluation.results import Evaluation, EvaluationTask, merge
from liteferry.evaluation.tfma.results import MetricsResult
from liteferry.exporting.export import export_isolated, exported_in_turn
from liteferry.plan.model_plan import ModelPlan
from liteferry.types import ExportedModel

Proven = tuple[ModelPlan, ExportedModel, Evaluation | None]


def proven_in_turn(plans: Sequence[ModelPlan]) -> Generator[Proven, None, None]:
    """One model, or siblings: yields each as soon as it is proven, in the order of the plans. Only one process works at a time:
    that of the exports waits while a model is compared, and the other way round. Never raises for an error of a model or a store.

    The evaluation is None of a sibling that is to be compared on more rows from a store than its export has fetched: to fetch
    them while others wait for the room that the export's inputs take could take for ever.
    """
    if len(plans) == 1:
        yield plans[0], *proven_alone(plans[0])
        return
    with siblings_in_turn(plans) as evaluate, contextlib.closing(exported_in_turn(plans)) as in_turn:
        for plan, exported in zip(plans, in_turn, strict=True):
            yield plan, exported, None if _needs_more(plan, exported) else proven(plan, exported, evaluate)


def proven_alone(plan: ModelPlan) -> tuple[ExportedModel, Evaluation]:
    """A model, exported and proven."""
    (exported,) = export_isolated([plan])
    return exported, proven(plan, exported, functools.partial(evaluate_isolated, referenced=True))


def _needs_more(plan: ModelPlan, exported: ExportedModel) -> bool:
    _, others = split_by_shards([(plan, exported)])
    shards = plan.samples.sample_set.shards if plan.samples.sample_set is not None else ()
    return bool(others) and any(storage.is_remote(path.path) for shard in shards for path in (shard, *shard.more))


def proven(plan: ModelPlan, exported: ExportedModel, evaluate: Callable[[EvaluationTask], Evaluation]) -> Evaluation:
    """All that is measured of one exported model. `evaluate`: compares it on the shard whose reference its export has run."""
    return _with_metrics(plan, exported, _compared(plan, exported, evaluate))


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
