"""Traces: AutoGraph is left out where it is not needed, and there where Python decides something by a tensor."""

from __future__ import annotations

from liteferry.sandbox import Flavor, Limits
from tests.support.units import run_unit

LIMITS = Limits(seconds=120, memory_bytes=8 * 10**9)


def test_branches_and_loops_on_tensors_stay_branches_and_loops() -> None:
    """With Keras 2, that is: Keras 3 never lets AutoGraph see a model's code."""
    outcome = run_unit(
        "tests.checkpoints.tracing_units:trace_python_control_flow", "tf_keras", flavor=Flavor.KERAS, limits=LIMITS
    )
    assert outcome.error is None, str(outcome.error)
    branches = {"Branches +1": [5.0, 5.0], "Branches -1": [1.0, 1.0]}
    assert outcome.results[0] == branches | {"Plain +1": [2.0, 2.0], "Plain -1": [-2.0, -2.0]}
