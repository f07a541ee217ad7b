"""Models that may be finished are looked at on several cores: the same entries, whoever looked and whatever a helper came to."""

from __future__ import annotations

import dataclasses
import json
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from liteferry.config.load import parse_job
from liteferry.output import publish
from liteferry.output.model_folder import scan
from liteferry.pipeline import finished_beside
from liteferry.pipeline.finished_beside import entries_of
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models
from liteferry.report.parts import dealing
from tests.output.test_judged_by_other_gates import CLOSED, LOOSE, plan_of
from tests.output.test_judged_by_other_gates import run as work_on
from tests.support import Run

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


def cpu_s() -> float:
    """Seconds of this process and of the helpers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


@pytest.mark.nightly  # it measures time
def test_four_hundred_real_reports_are_judged_again_in_ten_seconds_on_two_cores(demo: Run, tmp_path: Path) -> None:
    """A hundred models with the report, the files and the pages of one of the demo's: a fourth of the time of four hundred."""
    job, out = yaml.safe_load((demo.out / "fleet" / "job.yaml").read_text()), tmp_path / "out"
    entry = next(one for one in job["models"] if one["checkpoints"] == "checkpoints/*.keras")
    (tmp_path / "checkpoints").mkdir()
    for number in range(100):
        shutil.copy(demo.out / "fleet" / "checkpoints" / "mlp.keras", tmp_path / "checkpoints" / f"m{number:03d}.keras")

    def plans(limit: float) -> list[ModelPlan]:
        models = [{**entry, "checkpoints": str(tmp_path / "checkpoints" / "*.keras")}]
        told = parse_job({**job, "models": models, "gates": {"float32": {"max_rel": limit}}}, base_dir=str(demo.out / "fleet"))
        return plan_models(told, str(out))

    report = demo.report("mlp")
    for plan in map(fingerprint, plans(0.5)):
        shutil.copytree(demo.out / "models" / "mlp" / "tflite", Path(plan.model_directory()) / "tflite")
        shutil.copytree(demo.out / "models" / "mlp" / "saved_model", Path(plan.model_directory()) / "saved_model")
        if report["metrics"]:
            shutil.copytree(demo.out / "models" / "mlp" / "evaluation", Path(plan.model_directory()) / "evaluation")
        judged_by = {**report["judged_by"], "gates": {name: dict(limits) for name, limits in plan.gates.items()}}
        digests = {"recipe_digest": plan.recipe_digest, "work_digest": plan.work_digest, "export_digest": plan.export_digest}
        identity = {"model_id": plan.model_id, "checkpoint": {**report["checkpoint"], "uri": plan.uri, "digest": plan.digest}}
        publish._write_about(plan.model_directory(), {**report, **identity, **digests, "judged_by": judged_by})
    others = plans(0.4)
    began = cpu_s()
    entries = entries_of(others, None)
    assert entries is not None, "no model was to be worked on"
    assert {dealing.unpack(entry)["status"] for entry in entries if entry is not None} == {"blessed"}
    again = scan(others[0].model_directory()).complete_report()
    assert again["judged_by"]["gates"] == {"float32": {"max_rel": 0.4}}
    assert (cpu_s() - began) * 4 / 2 < 10.0
