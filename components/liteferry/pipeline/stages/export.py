"""ModelPlan -> InWork: load, export and convert, each model in a sandbox. Siblings share one, and are proven there and then, one
after the other, so that the first one's report need not wait for the last one.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from liteferry import sandbox
from liteferry.errors import Reason, Stage
from liteferry.evaluation import predictions
from liteferry.evaluation.proven import proven_in_turn
from liteferry.evaluation.results import Evaluation
from liteferry.exporting.export import export_isolated
from liteferry.output import progress
from liteferry.output.publish import is_published_meanwhile
from liteferry.pipeline.stages.in_work import InWork
from liteferry.pipeline.stages.pooled import Future, HandOver, PooledDoFn
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from liteferry.plan.siblings import chunks
from liteferry.sandbox.pool import WorkPool, available_cores
from liteferry.types import ExportedModel

_AFTER_WHAT_IS_HALF_DONE = 1
_LOOKS_AT_ONCE = 8


@dataclasses.dataclass
class ExportModels(beam.PTransform):
    """`processes`: how many sandboxes run at once in one worker process, None for one for each core. `share`: whether siblings
    are built and traced once. `workers`: how many worker processes there are.
    """

    processes: int | None
    share: bool = True
    workers: int = 1

    def expand(self, plans: Any) -> Any:
        return (
            plans
            | "Key" >> beam.Map(_keyed, self.share)
            | "GroupSiblings" >> beam.GroupByKey()
            | "Chunk" >> beam.FlatMap(_chunked, self.processes, self.workers)
            | "Spread" >> beam.Reshuffle()
            | "Begin" >> beam.Map(begin_attempt)
            | "Export" >> beam.ParDo(_Export(self.processes))
        )


def _keyed(plan: ModelPlan, share: bool) -> tuple[str, ModelPlan]:
    return (plan.share_key if share and plan.share_key else plan.model_id), plan


def _chunked(group: tuple[str, Iterable[ModelPlan]], processes: int | None, workers: int) -> Iterator[tuple[ModelPlan, ...]]:
    once = {plan.model_id: plan for plan in group[1]}  # a runner may deliver an element twice
    yield from chunks(list(once.values()), processes=workers * (processes or available_cores()))


def _export(plan: ModelPlan) -> InWork:
    if is_published_meanwhile(plan):
        return _done(plan)
    progress.report_doing([plan], Stage.EXPORT)
    (exported,) = export_isolated([plan])
    return InWork(plan=plan, exported=exported)


def _prove_in_turn(plans: tuple[ModelPlan, ...], hand_over: HandOver) -> None:
    """Exports and proves siblings; each is handed over, and published, while the others wait."""
    with concurrent.futures.ThreadPoolExecutor(_LOOKS_AT_ONCE) as threads:  # a store answers after a while
        is_done = list(threads.map(is_published_meanwhile, plans))
    for plan in itertools.compress(plans, is_done):
        hand_over(_done(plan))
    left = [plan for plan, done in zip(plans, is_done, strict=True) if not done]
    progress.report_doing(left[:1], Stage.EXPORT)
    if any(predictions.are_kept(plan) for plan in left):
        sandbox.warm_up(sandbox.Flavor.METRICS)  # its imports take seconds, and overlap with the export
    for number, (plan, exported, evaluation) in enumerate(proven_in_turn(left) if left else (), start=1):
        hand_over(InWork(plan=plan, exported=exported, evaluation=evaluation, is_proven=evaluation is not None))
        progress.report_doing(left[number : number + 1], Stage.EXPORT)


def _done(plan: ModelPlan) -> InWork:
    """A model of a bundle that the runner has done once already: publishing finds its report."""
    return InWork(plan=plan, exported=ExportedModel(), evaluation=Evaluation(candidates={}), is_proven=True)


class _Export(PooledDoFn):
    stage = Stage.EXPORT

    def start_in_turn(self, element: tuple[ModelPlan, ...], pool: WorkPool, hand_over: HandOver) -> Sequence[Future]:
        priority = (_AFTER_WHAT_IS_HALF_DONE, -sum(plan.size_bytes or 0 for plan in element))
        if len(element) == 1:
            return [pool.submit(_export, element[0], priority=priority)]
        return [pool.submit(_prove_in_turn, element, hand_over, priority=priority)]

    def left_of(self, element: tuple[ModelPlan, ...], handed_over: Sequence[InWork]) -> tuple[ModelPlan, ...]:
        done = {one.plan.model_id for one in handed_over}
        return tuple(plan for plan in element if plan.model_id not in done)

    def finish(self, element: tuple[ModelPlan, ...], results: list[Any]) -> list[InWork]:
        found = [one for one in results if one is not None]
        if len(found) != len(element):
            raise RuntimeError(f"the export of {', '.join(plan.model_id for plan in element)} ended without a result")
        return found

    def recover(self, element: tuple[ModelPlan, ...], reason: Reason) -> list[InWork]:
        return [InWork(plan=plan, exported=ExportedModel(reason=reason)) for plan in element]
