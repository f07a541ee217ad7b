"""Every artifact beside the reference on every row, and the verdict on it."""

from liteferry.evaluation.evaluate import evaluate_isolated, evaluate_siblings_isolated
from liteferry.evaluation.results import CandidateResult, Evaluation

__all__ = ["CandidateResult", "Evaluation", "evaluate_isolated", "evaluate_siblings_isolated"]
