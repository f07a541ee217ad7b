"""`liteferry doctor`: what holds on this machine is tried out, not guessed, and what is missing is a problem."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from liteferry import storage
from liteferry.report.environment import environment
from liteferry.sandbox import held
from liteferry.sandbox.confine import SWITCH
from tests.support import liteferry

MARKER = Path(__file__).parent.parent / "unconfined.marker"


def test_its_facts_are_those_of_this_machine() -> None:
    said = liteferry("doctor", "--json")
    facts = json.loads(said.stdout)
    assert facts["confinement"] == {name: name in held.held() for name in held.EVERY}
    assert facts["cores"] == len(os.sched_getaffinity(0))
    assert facts["versions"]["tensorflow"] == environment()["tensorflow"]
    assert facts["extras"]["gcs"] == []
    assert all(Path(at["path"]).is_absolute() and at["free_bytes"] >= 0 for at in facts["disk"].values())
    assert said.returncode == (1 if facts["problems"] else 0)


def test_it_says_the_same_in_words() -> None:
    said = liteferry("doctor").stdout
    for line in ("machine ", "versions    keras ", "confinement ", "extra       s3: ", "disk        temporary files: "):
        assert line in said


def test_a_machine_that_confines_nothing_is_a_problem_with_a_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, str(MARKER))
    said = liteferry("doctor", "--json")
    facts = json.loads(said.stdout)
    assert facts["confinement"] == dict.fromkeys(held.EVERY, False)
    assert said.returncode == 1
    assert any("no Landlock" in problem and "in a container" in problem for problem in facts["problems"])


@pytest.mark.parametrize("is_off", [True, False])
def test_a_run_where_nothing_holds_says_so_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_off: bool) -> None:
    """Before anything else is done: another run, this one, holds OUT."""
    if is_off:
        monkeypatch.setenv(SWITCH, str(MARKER))
    elif "files" not in held.held():
        pytest.skip("this kernel confines no files")
    (tmp_path / "model.keras").write_bytes(b"no checkpoint")
    with storage.exclusive(str(tmp_path / "out" / ".staging" / "lock")):
        said = liteferry("run", "--checkpoints", tmp_path / "model.keras", "--output", tmp_path / "out")
    assert "another run is writing here" in said.stderr
    assert said.stderr.count("does not confine the processes that load checkpoints") == int(is_off)


def test_reports_say_what_held() -> None:
    assert environment()["confinement"] == (", ".join(held.held()) or "none")
