"""A file that equals its float32 twin is blessed only while the twin is near the checkpoint."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from liteferry.errors import ReasonCode
from liteferry.evaluation.verdict import Case, verdict
from liteferry.parity.output_stats import OutputStats

CHECKPOINT = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


def stored(candidate: np.ndarray) -> dict[str, dict[str, object]]:
    ids = [str(row) for row in range(len(CHECKPOINT))]
    return {"y": OutputStats.compare(reference=CHECKPOINT, candidate=candidate, ids=ids, rows=np.arange(len(ids))).stored()}


def case(twin: np.ndarray, *, candidate: str = "float32", limit: float | None = 2e-3) -> Case:
    """A file that equals the twin to the last bit."""
    return Case(
        candidate=candidate,
        like=candidate,
        expected_outputs=("y",),
        statistics=stored(CHECKPOINT),
        twin=stored(twin),
        twin_max_rel=limit,
    )


def test_a_near_twin_stands_in_nobodys_way() -> None:
    assert verdict(case(CHECKPOINT * np.float32(1.001))).is_blessed


@pytest.mark.parametrize("candidate", ["float32", "float16", "int8"])
def test_a_twin_that_is_far_blesses_no_file(candidate: str) -> None:
    found = verdict(case(CHECKPOINT * np.float32(1.01), candidate=candidate))
    assert found.reason is not None
    assert found.reason.code is ReasonCode.PARITY_OUT_OF_TOLERANCE
    assert "float32 twin of the checkpoint" in found.reason.message
    assert "max_rel 0.0" in found.reason.message
    assert "limit 0.002" in found.reason.message


def test_the_jobs_own_limit_counts() -> None:
    assert verdict(case(CHECKPOINT * np.float32(1.01), limit=5e-2)).is_blessed


@pytest.mark.parametrize("broken", [np.zeros_like(CHECKPOINT), CHECKPOINT * np.float32(np.nan)], ids=["zeros", "NaN"])
def test_a_broken_twin_blesses_no_file_whatever_the_limit(broken: np.ndarray) -> None:
    assert not verdict(case(broken, limit=1e9)).is_blessed


def test_a_twin_without_the_output_blesses_no_file() -> None:
    assert not verdict(dataclasses.replace(case(CHECKPOINT), twin={})).is_blessed
