"""What was good stays good: a checkpoint that is not blessed takes nothing away; a judge that takes a blessing back says so."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liteferry.commands.report_pages import rebuild_pages
from liteferry.commands.verify import verify
from liteferry.errors import ReasonCode
from liteferry.output import finished, held_back
from liteferry.output.begin import find_finished
from liteferry.output.model_folder import scan
from liteferry.output.publish import judge_and_publish
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from liteferry.report.changes import changes_between, in_words, remember
from liteferry.report.fleet import fleet_facts
from liteferry.report.pages.render import render_index
from liteferry.tfx import outputs
from liteferry.version import RULES_VERSION
from tests.output.test_publish import evaluate, export, make_plan, other_checkpoint
from tests.output.test_rules import put

STRICT = {"float32": {"max_abs": 1e-12}}


def publish(plan: ModelPlan, *, difference: float = 0.0, reason: ReasonCode | None = None) -> dict[str, Any]:
    """One night's work on a plan, from looking to publishing; what is done already is not done again."""
    ready, told = find_finished(plan, force=False)
    if told is not None:
        return told
    (ready,) = begin_attempt([ready])
    made = export(ready, reason=reason)
    if ready.version != 1 and made.saved_model is not None:
        staging = Path(ready.staging_directory())
        (staging / "saved_model" / "1").rename(staging / "saved_model" / str(ready.version))
        made = dataclasses.replace(made, saved_model=dataclasses.replace(made.saved_model, path=f"saved_model/{ready.version}"))
    return judge_and_publish(ready, made, evaluate(difference=difference))


def newer(plan: ModelPlan, digest: str = "sha256:newer", **changes: Any) -> ModelPlan:
    return dataclasses.replace(plan, digest=digest, **changes)


def bytes_of(folder: str) -> dict[str, str]:
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def good(tmp_path: Path) -> ModelPlan:
    """A model that is blessed, and nothing else."""
    plan = make_plan(tmp_path / "out")
    assert publish(plan)["status"] == "blessed"
    return plan


# What stays


@pytest.mark.parametrize(
    "night",
    [
        {"difference": 0.1},
        *({"reason": code} for code in (ReasonCode.LOAD_CORRUPT, ReasonCode.CRASHED, ReasonCode.TIMEOUT, ReasonCode.LOAD_UNSAFE)),
        *({"reason": code} for code in (ReasonCode.STORAGE_FAILED, ReasonCode.KILLED, ReasonCode.INTERNAL)),
    ],
    ids=lambda night: str(next(iter(night.values()))),
)
def test_a_newer_checkpoint_that_is_not_blessed_leaves_every_byte_of_the_last_blessed(
    good: ModelPlan, night: dict[str, Any]
) -> None:
    before = bytes_of(good.model_directory())
    told = publish(newer(good), **night)
    assert bytes_of(good.model_directory()) == before
    assert told["status"] == "not_blessed", "also where nothing could be loaded: the fleet counts it as not blessed"
    assert told["held_back"]["reason"]["code"] == told["reason"]["code"]
    assert told["held_back"]["kept"]["version"] == 1
    attempt = bytes_of(held_back.directory(good))
    assert set(attempt) == {"report.json", "report.html", "NOT_BLESSED"}, "an attempt has no artifacts"


def test_a_checkpoint_that_cannot_be_read_takes_nothing_away(good: ModelPlan) -> None:
    before = bytes_of(good.model_directory())
    assert publish(dataclasses.replace(good, digest=None), reason=ReasonCode.LOAD_CORRUPT)["held_back"]
    assert bytes_of(good.model_directory()) == before


def test_the_attempts_report_names_no_file_and_says_what_stays(good: ModelPlan) -> None:
    publish(newer(good), difference=0.1)
    report = scan(held_back.directory(good)).published_report()
    assert report["saved_model"]["path"] is None
    assert [facts["path"] for facts in report["variants"].values()] == [None]
    assert report["files"] == {}
    assert report["held_back"]["kept"]["checkpoint_digest"] == good.digest
    page = (Path(held_back.directory(good)) / "report.html").read_text()
    assert "Held back since" in page
    assert "../../models/a/report.html" in page


def test_since_is_the_first_night_of_several(good: ModelPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    days = iter(["2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"])
    monkeypatch.setattr(held_back, "_now", lambda: next(days))
    first = publish(newer(good), difference=0.1)
    second = publish(newer(good, "sha256:newest"), difference=0.2)
    assert first["held_back"]["since"] == second["held_back"]["since"] == "2026-01-01T03:00:00Z"


def test_where_nothing_was_blessed_a_failure_replaces_a_failure(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    publish(plan, reason=ReasonCode.LOAD_CORRUPT)
    told = publish(newer(plan), difference=0.1)
    assert told["held_back"] is None
    assert not os.path.exists(held_back.directory(plan))
    assert json.loads((Path(plan.model_directory()) / "report.json").read_text())["checkpoint"]["digest"] == "sha256:newer"


@pytest.mark.parametrize("lost", ["report.json", "BLESSED", "tflite/float32.tflite", "saved_model/1/variables/data"])
def test_a_folder_that_is_not_whole_is_nothing_to_keep(good: ModelPlan, lost: str) -> None:
    (Path(good.model_directory()) / lost).unlink()
    assert publish(newer(good), difference=0.1)["held_back"] is None
    assert (Path(good.model_directory()) / "NOT_BLESSED").exists()


# What ends it


def test_a_better_checkpoint_takes_the_folder_and_the_attempt_goes(good: ModelPlan) -> None:
    publish(newer(good), difference=0.1)
    told = publish(newer(good, "sha256:better"))
    assert (told["status"], told["held_back"]) == ("blessed", None)
    assert scan(good.model_directory()).published_report()["version"] == 2
    assert not os.path.exists(held_back.directory(good))


def test_the_old_checkpoint_that_comes_back_finds_its_files_and_the_attempt_goes(good: ModelPlan) -> None:
    before = bytes_of(good.model_directory())
    publish(newer(good), difference=0.1)
    assert publish(good, reason=ReasonCode.CRASHED)["status"] == "blessed", "it was done already, and is not done again"
    assert bytes_of(good.model_directory()) == before
    assert not os.path.exists(held_back.directory(good))


def test_an_attempt_that_has_not_changed_is_not_made_again(good: ModelPlan) -> None:
    first = publish(newer(good), difference=0.1)
    assert publish(newer(good), difference=0.0) == first, "the second night's work was not done"


@pytest.mark.parametrize("change", ["recipe", "kept", "attempt", "transient"])
def test_an_attempt_is_made_again_when_anything_it_hangs_on_has_changed(good: ModelPlan, change: str) -> None:
    publish(newer(good), **({"reason": ReasonCode.KILLED} if change == "transient" else {"difference": 0.1}))
    plan = newer(good, recipe_digest="sha256:other") if change == "recipe" else newer(good)
    if change == "kept":
        (Path(good.model_directory()) / "BLESSED").unlink()
    if change == "attempt":
        (Path(held_back.directory(good)) / "NOT_BLESSED").unlink()
    assert publish(plan)["status"] == "blessed"
    assert not os.path.exists(held_back.directory(good))


# A judge that takes a blessing back


def test_gates_of_today_that_the_kept_statistics_miss_take_it_back_and_say_so(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out", gates={"saved_model": {"max_rel": 0.1}, "float32": {"max_rel": 0.1}})
    assert publish(plan, difference=0.01)["status"] == "blessed"
    before = remember(scan(plan.model_directory()).published_report())
    told = publish(newer(plan, recipe_digest="sha256:other", gates=STRICT), difference=0.1)
    assert told["held_back"] is None
    assert told["takes_back"]["checkpoint_digest"] == plan.digest
    assert "the gates and the policy of today" in told["takes_back"]["why"]
    assert not (Path(plan.model_directory()) / "BLESSED").exists()
    changes = changes_between({"a": before}, {"a": remember(told)}, blessed_contracts={})
    assert "taken back" in in_words(changes)[0]
    assert "taken back" in (Path(plan.model_directory()) / "report.html").read_text()


def test_a_variant_that_the_job_asks_for_anew_is_no_reason_to_take_back(good: ModelPlan) -> None:
    plan = newer(good, require=("float32", "int8"), variants=("float32", "int8"))
    assert publish(plan, difference=0.1)["held_back"]


def test_the_same_export_judged_on_other_rows_takes_it_back(good: ModelPlan) -> None:
    told = publish(dataclasses.replace(good, recipe_digest="sha256:other rows", work_digest="sha256:other rows"), difference=0.1)
    assert told["held_back"] is None
    assert "judged once more" in told["takes_back"]["why"]


@pytest.mark.parametrize("code", [ReasonCode.CRASHED, ReasonCode.TIMEOUT, ReasonCode.KILLED, ReasonCode.OUT_OF_DISK])
def test_the_same_export_that_did_not_come_to_a_verdict_takes_nothing_back(good: ModelPlan, code: ReasonCode) -> None:
    assert publish(dataclasses.replace(good, recipe_digest="sha256:other rows", work_digest="sha256:other rows"), reason=code)[
        "held_back"
    ]


def test_newer_rules_that_lack_something_take_it_back_though_the_checkpoint_is_another(good: ModelPlan) -> None:
    report = scan(good.model_directory()).published_report()
    put(good, {**report, "rules_version": RULES_VERSION - 1, "judged_by": None})
    told = publish(newer(good), difference=0.1)
    assert told["held_back"] is None
    assert f"rules {RULES_VERSION - 1} blessed it" in told["takes_back"]["why"]


# Libraries


def with_version(plan: ModelPlan, library: str, version: str) -> None:
    report = scan(plan.model_directory()).published_report()
    put(plan, {**report, "environment": {**report["environment"], library: version}})


@pytest.mark.parametrize("library", ["tensorflow", "keras", "ai_edge_litert"])
def test_another_version_of_a_library_that_decides_is_a_reason_to_do_it_again(good: ModelPlan, library: str) -> None:
    with_version(good, library, "0.0.1")
    assert finished.finished_report(good) is None


@pytest.mark.parametrize("library", ["tf_keras", "ai_edge_quantizer", "apache_beam", "tensorflow_model_analysis", "python"])
def test_another_version_of_what_had_no_part_in_it_is_none(good: ModelPlan, library: str) -> None:
    with_version(good, library, "0.0.1")
    assert finished.finished_report(good) is not None


def test_a_library_that_makes_worse_files_takes_nothing_away(good: ModelPlan) -> None:
    with_version(good, "tensorflow", "0.0.1")
    before = bytes_of(good.model_directory())
    assert publish(good, difference=0.1)["held_back"]
    assert bytes_of(good.model_directory()) == before


# Who reads it


def test_fleet_page_verify_and_report_agree(good: ModelPlan) -> None:
    told = publish(newer(good), difference=0.1)
    out = Path(good.out)
    assert rebuild_pages(str(out)) == 1
    facts = json.loads((out / "fleet.json").read_text())
    (model,) = facts["models"]
    assert model == fleet_facts([told])["models"][0]
    assert (facts["totals"]["not_blessed"], facts["totals"]["blessed"]) == (1, 0)
    assert model["held_back"]["kept"]["saved_model"]["path"] == "models/a/saved_model/1"
    assert model["variants"]["float32"]["path"] is None
    page = render_index(facts)
    assert 'href="attempts/a/report.html"' in page
    assert "Held back" in page
    assert told_by_verify(str(out)) == []


def told_by_verify(out: str) -> list[str]:
    """What it says of the run and its attempts; the models' samples have no rows here."""
    found = verify(out, processes=1, with_rows=False).problems
    return [sentence for who, sentence in found if who is None and not sentence.startswith(".staging")]


@pytest.mark.parametrize("damage", ["an artifact", "no marker", "a blessing", "nothing kept"])
def test_verify_names_what_is_wrong_with_an_attempt(good: ModelPlan, damage: str) -> None:
    publish(newer(good), difference=0.1)
    rebuild_pages(good.out)
    folder = Path(held_back.directory(good))
    if damage == "an artifact":
        (folder / "tflite").mkdir()
        (folder / "tflite" / "float32.tflite").write_text("x")
    if damage == "no marker":
        (folder / "NOT_BLESSED").unlink()
    if damage == "a blessing":
        (folder / "NOT_BLESSED").rename(folder / "BLESSED")
    if damage == "nothing kept":
        (Path(good.model_directory()) / "BLESSED").unlink()
    assert any("attempts/a" in sentence for sentence in told_by_verify(good.out))


def test_orchestrators_get_what_is_kept(good: ModelPlan) -> None:
    facts = fleet_facts([publish(newer(good), difference=0.1)])
    assert outputs.saved_models(facts, "/push") == [("models/a/saved_model/1", "/push/Format-Serving")]
    assert outputs.variants(facts) == [("a", "models/a/tflite/float32.tflite")]
    assert not outputs.verdict_of(facts, status=1).is_blessed
    assert "attempts/a/report.json" in outputs.report_paths(facts, good.out)


def test_a_model_that_was_never_blessed_ships_nothing(tmp_path: Path) -> None:
    facts = fleet_facts([publish(make_plan(tmp_path / "out"), difference=0.1)])
    assert outputs.saved_models(facts, "/push") == []


def test_a_reader_that_polls_never_sees_the_model_without_a_good_version(good: ModelPlan) -> None:
    folder, stop, seen = Path(good.model_directory()), threading.Event(), {"looks": 0, "gone": 0}

    def poll() -> None:
        while not stop.is_set():
            seen["looks"] += 1
            seen["gone"] += not (folder / "BLESSED").exists()

    reader = threading.Thread(target=poll)
    reader.start()
    for night in range(12):
        publish(newer(good, f"sha256:{night}"), difference=0.1 * (night % 2))
    stop.set()
    reader.join()
    assert seen["looks"] > 30
    assert seen["gone"] == 0


def _killed_after(plan: ModelPlan, seconds: float, night: Callable[[], object]) -> None:
    process = multiprocessing.get_context("fork").Process(target=night)
    process.start()
    time.sleep(seconds)
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_killed_at_any_moment_the_blessed_folder_is_there_and_the_next_run_ends_it(good: ModelPlan) -> None:
    before = bytes_of(good.model_directory())
    for step in range(12):
        plan = newer(good, f"sha256:bad {step}")
        _killed_after(plan, 0.002 * step, lambda plan=plan: publish(plan, difference=0.1))  # type: ignore[misc]
        assert bytes_of(good.model_directory()) == before
        assert publish(plan, difference=0.1)["held_back"]


# On a store


def test_on_a_store_the_blessed_model_keeps_its_marker(store: str, tmp_path: Path) -> None:
    plan = dataclasses.replace(make_plan(tmp_path / "job"), out=store)
    publish(plan)
    marker = scan(plan.model_directory()).marker()
    assert publish(newer(plan), difference=0.1)["held_back"]
    assert scan(plan.model_directory()).marker() == marker
    assert scan(held_back.directory(plan)).published_report()["status"] == "not_blessed"
    assert publish(other_checkpoint(plan))["status"] == "blessed"
    assert scan(held_back.directory(plan)).sizes == {}


def test_on_a_store_a_blessed_model_that_another_run_has_put_there_meanwhile_stays(store: str, tmp_path: Path) -> None:
    plan = dataclasses.replace(make_plan(tmp_path / "job"), out=store)
    ready, _ = find_finished(newer(plan), force=False)
    assert publish(plan)["status"] == "blessed"  # the other run
    (ready,) = begin_attempt([ready])
    told = judge_and_publish(ready, export(ready), evaluate(difference=0.1))
    assert told["held_back"]
    assert scan(plan.model_directory()).published_report()["status"] == "blessed"


# How much stays


def versions(plan: ModelPlan) -> list[str]:
    return sorted(os.listdir(Path(plan.model_directory()) / "saved_model"))


@pytest.mark.parametrize(("keep", "left"), [(1, ["4"]), (2, ["3", "4"]), (3, ["2", "3", "4"]), (9, ["1", "2", "3", "4"])])
def test_as_many_blessed_versions_stay_as_the_job_keeps(tmp_path: Path, keep: int, left: list[str]) -> None:
    plan = make_plan(tmp_path / "out", keep_versions=keep)
    for night in range(4):
        publish(newer(plan, f"sha256:{night}"))
        publish(newer(plan, f"sha256:bad {night}"), difference=0.1)
    assert versions(plan) == left
    report = scan(plan.model_directory()).published_report()
    assert [str(number) for number in [*report["kept_versions"], report["version"]]] == left
    assert all(any(name.startswith(f"saved_model/{number}/") for name in report["files"]) for number in left)
