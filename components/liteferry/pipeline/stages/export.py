"""ModelPlan -> families of (ModelPlan, ExportedModel): load, export and convert, siblings together, each family in a sandbox."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from liteferry.errors import Reason, Stage
from liteferry.exporting.export import export_isolated
from liteferry.output import progress
from liteferry.pipeline.stages.pooled import Future, PooledDoFn
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from liteferry.plan.siblings import chunks
from liteferry.sandbox.pool import WorkPool, available_cores
from liteferry.types import ExportedModel

Family = list[tuple[ModelPlan, ExportedModel]]

_AFTER_WHAT_IS_HALF_DONE = 1


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


def _export(plans: tuple[ModelPlan, ...]) -> Any:
    progress.report_doing(plans, Stage.EXPORT)
    return export_isolated(plans)


class _Export(PooledDoFn):
    stage = Stage.EXPORT

    def start(self, element: tuple[ModelPlan, ...], pool: WorkPool) -> Sequence[Future]:
        big_first = -sum(plan.size_bytes or 0 for plan in element)
        return [pool.submit(_export, element, priority=(_AFTER_WHAT_IS_HALF_DONE, big_first))]

    def finish(self, element: tuple[ModelPlan, ...], results: list[Any]) -> list[Family]:
        return [list(zip(element, results[0], strict=True))]

    def recover(self, element: tuple[ModelPlan, ...], reason: Reason) -> list[Family]:
        return [[(plan, ExportedModel(reason=reason)) for plan in element]]
