"""`liteferry show OUT MODEL`: one model's report in words, as JSON, and what the processes that worked on it printed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from liteferry.cli import main
from liteferry.errors import ReasonCode, Stage
from liteferry.output.publish import judge_and_publish
from liteferry.plan import process_log
from liteferry.sandbox import Failure, Outcome
from tests.output.test_publish import evaluate, export, make_plan


def some_unit(argument: Any, reporter: Any) -> None:
    """Stands for what a sandbox runs."""


def outcome(log: str, error: Failure | None = None) -> Outcome:
    return Outcome(results=(), error=error, stage=Stage.LOAD, subject="a", seconds=1.25, peak_memory_bytes=0, log=log)


@pytest.fixture
def out(tmp_path: Path) -> str:
    """A finished run of one blessed model, `a`."""
    out = tmp_path / "out"
    plan = dataclasses.replace(make_plan(out), attempt="1")
    process_log.note([plan], some_unit, outcome("built by \x1b[31mthe user's code\n"))
    died = Failure(code=ReasonCode.CRASHED, stage=Stage.LOAD, message="it died")
    process_log.note([plan], some_unit, outcome("", died))
    judge_and_publish(plan, export(plan), evaluate())
    return str(out)


def test_a_model_in_words(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", out, "a"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "a: blessed"
    assert said[1].startswith("checkpoint: /") and said[1].endswith("a.keras (keras)")
    assert [line.split()[:2] for line in said[2:4]] == [["SavedModel", "blessed"], ["float32", "blessed"]]
    assert said[-1] == f"folder: {out}/models/a"


def test_a_model_that_failed_says_why_and_what_to_try(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(tmp_path / "out")
    judge_and_publish(plan, export(plan, reason=ReasonCode.LOAD_FAILED), evaluate())
    assert main(["show", str(tmp_path / "out"), "a"]) == 1
    said = capsys.readouterr().out
    assert "a: failed" in said and "reason: LOAD_FAILED in export\n  so it ended\n  Try: Compare the Keras version" in said


def test_its_report_as_json(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", out, "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((Path(out) / "models/a/report.json").read_text())


def test_what_its_processes_printed(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", out, "a", "--log"]) == 0
    head, words, died = capsys.readouterr().out.splitlines()
    assert (head, died) == ("--- some_unit, 1.2 s, ended", "--- some_unit, 1.2 s, ended early (CRASHED)")
    assert "the user's code" in words and "\x1b" not in words


def test_the_log_is_that_of_the_last_attempt(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan = dataclasses.replace(make_plan(Path(out)), attempt="2")
    process_log.note([plan], some_unit, outcome("the second"))
    judge_and_publish(plan, export(plan), evaluate())
    main(["show", out, "a", "--log"])
    assert capsys.readouterr().out.splitlines() == ["--- some_unit, 1.2 s, ended", "the second"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["b"], "b: no report of this model in"),
        (["aa"], "(did you mean a?)"),
        (["../models/a"], "no report of this model"),
        (["--log"], "--log: name a model, `liteferry show"),
    ],
)
def test_what_is_not_there_is_told(out: str, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    assert main(["show", out, *words]) == 2
    assert told in capsys.readouterr().err


def test_a_model_of_an_older_run_has_no_log(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    (Path(out) / ".logs" / "a.log").unlink()
    assert main(["show", out, "a", "--log"]) == 2
    assert "a: no log; a run writes one for the models that it works on" in capsys.readouterr().err
