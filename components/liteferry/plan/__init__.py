"""A job -> one `ModelPlan` for each checkpoint that it names, and what that plan needs on this machine."""

from liteferry.plan.local_inputs import AtHand, Needs
from liteferry.plan.planning import ModelPlan, plan_models

__all__ = ["AtHand", "ModelPlan", "Needs", "plan_models"]
