"""The record of a model between its export and its report."""

from __future__ import annotations

import dataclasses

from liteferry.evaluation.results import Evaluation
from liteferry.plan.model_plan import ModelPlan
from liteferry.types import ExportedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class InWork:
    """`evaluation`: None until its artifacts were compared with the checkpoint. `is_proven`: whether all that comes before the
    verdict is done; it is from the beginning for siblings, which are proven one after the other where they are exported.
    """

    plan: ModelPlan
    exported: ExportedModel
    evaluation: Evaluation | None = None
    is_proven: bool = False

    @property
    def compared(self) -> Evaluation:
        """The evaluation, which is there after the stage that makes it."""
        assert self.evaluation is not None
        return self.evaluation
