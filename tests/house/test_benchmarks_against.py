"""`python -m benchmarks --against REVISION`: what it takes, what it refuses, and what it says of two sides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import against
from benchmarks.measure import Run

ROOT = Path(__file__).resolve().parents[2]
EVERY = ("mixed", "siblings", "parity")


def _run(seconds: float) -> Run:
    return Run(wall_s=seconds, cpu_s=2 * seconds, output="")


def _compared(older: list[float], newer: list[float]) -> against.Compared:
    runs = [[_run(seconds) for seconds in side] for side in (older, newer)]
    return against.Compared(fleet="mixed", count=24, older=runs[0], newer=runs[1], blessed=(24, 23))


def test_without_a_choice_both_fleets_are_compared() -> None:
    assert against.fleets_of(",".join(EVERY), every=EVERY) == ["mixed", "siblings"]
    assert against.fleets_of("siblings", every=EVERY) == ["siblings"]


@pytest.mark.parametrize("only", ["parity", "mixed,parity", ""])
def test_what_cannot_be_compared_is_named(only: str) -> None:
    with pytest.raises(ValueError, match="compares mixed and siblings"):
        against.fleets_of(only, every=EVERY)


def test_a_table_has_medians_and_the_newer_over_the_older() -> None:
    lines = against.section("3b2b022", [_compared([10.0, 90.0, 20.0], [21.0, 22.0, 23.0])])
    assert "| mixed | 24 | 24, 23 | wall | 20.0 | 22.0 | 1.10 | at most 1.10 |" in lines
    assert "| mixed | 24 | 24, 23 | CPU | 40.0 | 44.0 | 1.10 | at most 1.10 |" in lines


def test_the_target_is_met_up_to_a_tenth_and_not_beyond() -> None:
    assert _compared([10.0], [11.0]).is_met
    assert not _compared([10.0], [11.1]).is_met


def test_an_unknown_revision_is_bad_usage_before_anything_runs() -> None:
    command = [sys.executable, "-m", "benchmarks", "--against", "no-such-revision", "--only", "mixed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "git knows no such commit" in done.stderr


def test_the_older_side_runs_the_code_of_its_commit_and_leaves_no_checkout() -> None:
    revision = against.commit_of("HEAD")
    with against.worktree(revision) as tree:
        command = [sys.executable, "-c", "import liteferry; print(liteferry.__path__[0])"]
        environment = {"PYTHONPATH": str(Path(tree) / "components")}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert Path(said.strip()) == Path(tree) / "components" / "liteferry"
    assert not Path(tree).exists()
    assert tree not in subprocess.run(["git", "-C", ROOT, "worktree", "list"], capture_output=True, text=True, check=True).stdout
