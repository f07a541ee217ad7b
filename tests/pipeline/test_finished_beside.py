"""Models that may be finished are looked at on several cores: the same entries, whoever looked and whatever a helper came to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from liteferry.output.model_folder import scan
from liteferry.pipeline import finished_beside
from liteferry.pipeline.finished_beside import entries_of
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.model_plan import ModelPlan
from liteferry.report.parts import dealing
from tests.output.test_judged_by_other_gates import CLOSED, LOOSE, plan_of
from tests.output.test_judged_by_other_gates import run as work_on

COUNT = 40


def plans_of(out: Path, gates: dict[str, Any]) -> list[ModelPlan]:
    plan = fingerprint(plan_of(out, gates))
    return [dataclasses.replace(plan, model_id=f"m{number:02d}") for number in range(COUNT)]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Forty models that were judged by closed gates."""
    for plan in plans_of(tmp_path / "out", CLOSED):
        work_on(plan)
    return tmp_path / "out"


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Two helpers even for a small fleet; gives what they were asked."""
    asked: list[Any] = []
    ask = finished_beside._ask

    def noted(process: Any, question: Any) -> Any:
        answer = ask(process, question)
        asked.append(question)
        return answer

    monkeypatch.setattr(finished_beside, "_FEWEST", 1)
    monkeypatch.setattr(finished_beside, "available_cores", lambda: 3)
    monkeypatch.setattr(finished_beside, "_ask", noted)
    # This process would have done all of it before a helper has started.
    monkeypatch.setattr(finished_beside._Shared, "_work", lambda shared: None)
    return asked


def test_helpers_judge_again_as_this_process_does(out: Path, helped: list[Any]) -> None:
    packed = entries_of(plans_of(out, LOOSE), None)
    assert packed is not None and helped
    entries = [dealing.unpack(one) for one in packed if one is not None]
    assert [entry["model_id"] for entry in entries] == [f"m{number:02d}" for number in range(COUNT)]
    assert {entry["status"] for entry in entries} == {"blessed"}
    assert all((out / "models" / f"m{number:02d}" / "BLESSED").exists() for number in range(COUNT))
    told = [scan(str(out / "models" / name)).complete_report() for name in ("m00", "m39")]
    assert told[0]["judged_by"] == told[1]["judged_by"]
    assert {json.dumps({**entry, "model_id": ""}, sort_keys=True, default=str) for entry in entries} == {
        json.dumps({**entries[0], "model_id": ""}, sort_keys=True, default=str)
    }


def test_a_model_with_work_to_do_is_told_by_a_helper_too(out: Path, helped: list[Any]) -> None:
    plans = plans_of(out, CLOSED)
    plans[20] = dataclasses.replace(plans[20], work_digest="sha256:other", recipe_digest="sha256:other")
    assert entries_of(plans, None) is None
    assert helped


def test_what_a_helper_leaves_is_done_here(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished_beside, "_FEWEST", 1)
    monkeypatch.setattr(finished_beside, "available_cores", lambda: 3)
    monkeypatch.setattr(finished_beside, "_PROGRAM", "raise SystemExit(3)")
    entries = entries_of(plans_of(out, LOOSE), None)
    assert entries is not None and len(entries) == COUNT


def test_a_run_of_some_models_keeps_the_entries_of_the_others(out: Path) -> None:
    packed = entries_of(plans_of(out, LOOSE), "m0*")
    assert packed is not None
    entries = [dealing.unpack(one) for one in packed if one is not None]
    status = {entry["model_id"]: entry["status"] for entry in entries}
    assert status["m00"] == "blessed" and status["m39"] == "not_blessed"
