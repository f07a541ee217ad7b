"""Makes one `ModelPlan` for each checkpoint of a job, and copies a plan's remote inputs to this machine."""

from liteferry.plan.local_inputs import InputNeeds, LocalInputs
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models

__all__ = ["InputNeeds", "LocalInputs", "ModelPlan", "plan_models"]
