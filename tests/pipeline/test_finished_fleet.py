"""A run that finds every model done needs neither Beam nor TensorFlow, and says the same as the pipeline."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from liteferry.pipeline.run_request import RunRequest
from liteferry.pipeline.runner_traits import LOCAL_ENGINE, traits_of
from tests.support import Run, arguments_of_three

PROGRAM = """
import sys
from liteferry.cli import main
status = main(sys.argv[1:])
print("imported:", [name for name in ("apache_beam", "tensorflow", "keras") if name in sys.modules])
sys.exit(status)
"""


def run_again(out: Path, demo: Run, *flags: str) -> str:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments_of_three(demo)), "--output", str(out), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, f"one of the three is broken: {done.stdout}{done.stderr}"
    return done.stdout


def facts_of(out: Path) -> dict[str, Any]:
    facts = json.loads((out / "fleet.json").read_text())
    return {name: facts[name] for name in ("models", "rows", "totals")}


def test_all_done_is_found_without_beam_and_told_as_by_the_pipeline(three: Run, demo: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(three.out, out)
    first = facts_of(out)
    told = run_again(out, demo)
    assert "3 of 3 models were done already and have not changed; nothing was left to do." in told
    assert "imported: []" in told
    assert facts_of(out) == first
    assert "apache_beam" in run_again(out, demo, "--runner", LOCAL_ENGINE)
    assert facts_of(out) == first


def test_the_traits_of_a_run_without_flags_are_those_of_the_local_engine() -> None:
    assert traits_of([]) == traits_of(["--runner", LOCAL_ENGINE])


@pytest.mark.parametrize("changes", [{"force": True}, {"out": "memory://out"}], ids=["force", "a store"])
def test_what_the_pipeline_has_to_do_is_left_to_it(changes: dict[str, object]) -> None:
    from liteferry.pipeline.finished_fleet import write_if_finished

    request = RunRequest(**{"job": None, "out": "/nowhere", **changes})  # type: ignore[arg-type]  # it is not looked at
    assert not write_if_finished(request)
