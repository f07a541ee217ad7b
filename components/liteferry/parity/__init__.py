"""Mergeable statistics that compare a candidate's answers with the reference's, and the gates on them. NumPy alone."""

from liteferry.parity.gate_limits import Limit, resolve_gates
from liteferry.parity.gates import GateResult, Verdict, judge
from liteferry.parity.output_stats import OutputStats

__all__ = ["GateResult", "Limit", "OutputStats", "Verdict", "judge", "resolve_gates"]
