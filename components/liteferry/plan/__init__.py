"""Makes one `ModelPlan` for each checkpoint of a job, and copies a plan's remote inputs to this machine."""

from typing import TYPE_CHECKING

from liteferry.types import on_first_use

if TYPE_CHECKING:
    from liteferry.plan.local_inputs import InputNeeds, LocalInputs
    from liteferry.plan.model_plan import ModelPlan
    from liteferry.plan.planning import plan_models

__all__ = ["InputNeeds", "LocalInputs", "ModelPlan", "plan_models"]

__getattr__ = on_first_use(
    __name__,
    {
        **dict.fromkeys(("InputNeeds", "LocalInputs"), "local_inputs"),
        "ModelPlan": "model_plan",
        "plan_models": "planning",
    },
)
