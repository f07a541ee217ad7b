"""(ModelPlan, ExportedModel, Evaluation) -> the report, judged and in place; one for each, whatever happened."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from liteferry.evaluate import Evaluation
from liteferry.plan import ModelPlan
from liteferry.publish import judge_and_publish
from liteferry.types import ExportedModel


class JudgeAndPublish(beam.PTransform):
    """Puts every model's folder in place, its report and marker in it."""

    def expand(self, evaluated: Any) -> Any:
        return evaluated | "Publish" >> beam.MapTuple(_publish)


def _publish(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> dict[str, Any]:
    return judge_and_publish(plan, exported, evaluation)
