"""A job -> one `ModelPlan` for each checkpoint that it names, and what that plan needs on this machine."""

from liteferry.plan.local_inputs import InputNeeds, LocalInputs
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models

__all__ = ["InputNeeds", "LocalInputs", "ModelPlan", "plan_models"]
