"""What a person at a terminal meets: misspelt commands, formats under other names, few letters, reasons with a fix."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from liteferry.cli import main
from liteferry.commands.console import show_plain_where_needed
from liteferry.commands.report_pages import rebuild_pages
from liteferry.config.load import job_from_flags
from liteferry.errors import JobError, ReasonCode
from liteferry.report.fleet import fleet_facts
from liteferry.report.hints import hint_for
from liteferry.report.terminal import NAMES_SHOWN, reasons_text
from tests.output.test_held_back import newer, publish
from tests.output.test_publish import make_plan


@pytest.mark.parametrize(("typed", "meant"), [("rnu", "run"), ("chekc", "check"), ("comapre", "compare"), ("pruen", "prune")])
def test_a_misspelt_command_gets_the_nearest(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([typed, "out"]) == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_a_command_like_none_is_told_where_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zzzzzz"]) == 2
    assert "liteferry --help" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("fp16", "float16"), ("FP32", "float32"), ("half", "float16"), (" int8", "int8"), ("dynamic_range", "dynamic_int8")],
)
def test_formats_under_other_names(typed: str, meant: str) -> None:
    job = job_from_flags(checkpoints=["a.keras"], variants=[typed])
    assert [variant.value for variant in job.variants] == [meant]


def test_a_misspelt_format_gets_the_nearest() -> None:
    with pytest.raises(JobError, match="dynamic_int8"):
        job_from_flags(checkpoints=["a.keras"], variants=["dynamic_itn8"])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_with_few_letters_gets_plain_ones(tmp_path: Path, encoding: str) -> None:
    plan = make_plan(tmp_path / "out")
    publish(plan, difference=0.1)
    rebuild_pages(plan.out)
    command = [sys.executable, "-m", "liteferry", "show", plan.out]
    said = subprocess.run(command, capture_output=True, check=False, env={"PYTHONIOENCODING": encoding, "PATH": ""}, timeout=60)
    assert said.returncode == 1, said.stderr
    assert b"x not blessed" in said.stdout
    assert said.stderr == b""


def test_plain_letters_stand_in_for_those_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    show_plain_where_needed()
    print("✓ blessed – 3 kB…, \u4e2d")
    sys.stdout.flush()
    assert written.getvalue() == b"+ blessed - 3 kB..., ?\n"


def test_the_end_says_each_reason_once_with_its_models_and_its_fix(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    told = []
    for number in range(NAMES_SHOWN + 2):
        reason = ReasonCode.LOAD_CORRUPT if number else None
        one = {**publish(plan, reason=reason, difference=0.1), "model_id": f"m{number}"}
        told.append(one)
        plan = newer(plan, f"sha256:{number}")
    text = reasons_text(fleet_facts(told))
    assert [text.count(f"{code}:") for code in ("LOAD_CORRUPT", "PARITY_OUT_OF_TOLERANCE", "EXPORT_MISMATCH")] == [1, 1, 1]
    assert "and 1 more" in text
    assert f"Try: {hint_for('LOAD_CORRUPT')}" in text


def test_where_everything_shipped_nothing_is_said(tmp_path: Path) -> None:
    assert reasons_text(fleet_facts([publish(make_plan(tmp_path / "out"))])) == ""
