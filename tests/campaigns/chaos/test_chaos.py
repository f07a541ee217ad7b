"""A slice of the chaos harness: each fault is made for real, the same command then finishes, and every invariant holds.

`make chaos` runs all of them, with more kills.
"""

from __future__ import annotations

import pytest

from tests.campaigns.chaos.cases import Fault, Grounds, faults
from tests.campaigns.chaos.invariants import NAMES

SEED = 8
SLICE = [fault for fault in faults(scale=0.1) if fault.in_slice]


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Grounds:
    return Grounds(tmp_path_factory.mktemp("chaos"))


@pytest.mark.parametrize("fault", SLICE, ids=lambda fault: fault.name)
def test_nothing_is_lost_and_nobody_is_hurt(fault: Fault, grounds: Grounds) -> None:
    result = grounds.try_out(fault, seed=SEED)
    if result.skipped:
        pytest.skip(result.skipped)
    assert result.broken is None, f"{fault.name}, seed {SEED}: {result.broken}\n{result.log[-4000:]}"
    assert result.faults > 0, "nothing was done to the run"
    assert result.checks >= len(NAMES)


def test_a_case_that_leaves_something_behind_is_seen(grounds: Grounds) -> None:
    """The harness can fail: a marker that is gone is told."""

    def leave(case):
        case.run()
        (case.out / "models" / "narrow_0" / "BLESSED").unlink()

    broken = grounds.try_out(Fault("tests", "something is left", leave), seed=SEED).broken
    assert broken is not None and "models/narrow_0 holds only" in broken


def test_the_slice_has_every_group() -> None:
    assert {fault.group for fault in SLICE} == {fault.group for fault in faults()}
