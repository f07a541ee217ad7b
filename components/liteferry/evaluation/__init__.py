"""Compares every artifact with the reference on every row, and judges it."""

from liteferry.evaluation.evaluate import evaluate_isolated, evaluate_siblings_isolated
from liteferry.evaluation.results import CandidateResult, Evaluation

__all__ = ["CandidateResult", "Evaluation", "evaluate_isolated", "evaluate_siblings_isolated"]
