"""Changed metadata is written into a finished model without a run: one file, its digest, the report, and the next version."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from liteferry.commands.verify import verify
from liteferry.config.load import load_job
from liteferry.output.begin import find_finished
from liteferry.output.model_folder import scan
from liteferry.output.publish import judge_and_publish
from liteferry.pipeline.finished_fleet import write_if_finished
from liteferry.pipeline.run_request import RunRequest
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from tests.output.test_publish import evaluate, export, make_plan, write
from tests.support import Run, copy_of_out


def plan_of(out: Path, metadata: Mapping[str, Any], **changes: Any) -> ModelPlan:
    """A plan whose digests follow its metadata, and its recipe digest its gates as well."""
    plan = make_plan(out, metadata=metadata, **changes)
    gates = json.dumps({name: dict(limits) for name, limits in plan.gates.items()})
    told = json.dumps(metadata)
    return dataclasses.replace(
        plan,
        recipe_digest=f"sha256:{told}{gates}",
        work_digest=f"sha256:{told}",
        export_recipe=told,
        unlabelled_digest=f"sha256:{gates}",
    )


def run(plan: ModelPlan, *, difference: float = 0.0) -> tuple[dict[str, Any], bool]:
    """What the fleet is told, and whether the model was worked on."""
    ready, told = find_finished(plan, force=False)
    if told is not None:
        return told, False
    (ready,) = begin_attempt([ready])
    made = export(ready)
    assert made.saved_model is not None
    folder = f"{ready.staging_directory()}/saved_model"
    write(f"{folder}/1/assets/metadata.json", json.dumps({"metadata": dict(plan.metadata), "oracle": "keras 3"}))
    if ready.version != 1:
        os.rename(f"{folder}/1", f"{folder}/{ready.version}")
    made = dataclasses.replace(made, saved_model=dataclasses.replace(made.saved_model, path=f"saved_model/{ready.version}"))
    return judge_and_publish(ready, made, evaluate(difference=difference)), True


def report_in(out: Path) -> dict[str, Any]:
    return scan(str(out / "models" / "a")).complete_report()


def problems_of_models(out: Path) -> list[str]:
    """What `verify` says; a few rows are no sample set, which it says in other words."""
    found = verify(str(out), processes=1, with_rows=False).problems
    return [sentence for model_id, sentence in found if model_id is not None and "sample rows" not in sentence]


def test_one_file_is_new_and_all_others_are_the_same_ones(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(plan_of(out, {"owner": "one"}))
    before, folder = report_in(out), out / "models" / "a"
    kept = {"tflite/float32.tflite": "tflite/float32.tflite", "saved_model/1/saved_model.pb": "saved_model/2/saved_model.pb"}
    inodes = {name: os.stat(folder / name).st_ino for name in kept}

    told, worked = run(plan_of(out, {"owner": "two", "stage": 3}))
    after = report_in(out)
    assert (told["status"], worked) == ("blessed", False)
    assert {name: os.stat(folder / new_name).st_ino for name, new_name in kept.items()} == inodes
    asset = json.loads((folder / "saved_model/2/assets/metadata.json").read_text())
    assert asset == {"metadata": {"owner": "two", "stage": 3}, "oracle": "keras 3"}
    assert after["metadata"] == {"owner": "two", "stage": 3}
    assert (after["version"], after["saved_model"]["path"]) == (2, "saved_model/2")
    assert not (folder / "saved_model" / "1").exists()
    same = ("status", "reason", "variants", "judged_by", "recommended_variant", "environment", "unlabelled_digest")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    was, now = before["files"]["saved_model/1/assets/metadata.json"], after["files"]["saved_model/2/assets/metadata.json"]
    assert after["saved_model"]["bytes"] - before["saved_model"]["bytes"] == now["bytes"] - was["bytes"] != 0
    assert problems_of_models(out) == []
    assert run(plan_of(out, {"owner": "two", "stage": 3})) == (told, False), "and it stands the next time"


def test_it_comes_to_what_a_run_from_nothing_comes_to(tmp_path: Path) -> None:
    run(plan_of(tmp_path / "out", {"owner": "one"}))
    run(plan_of(tmp_path / "out", {"owner": "two"}))
    run(plan_of(tmp_path / "new", {"owner": "two"}))
    again, fresh = report_in(tmp_path / "out"), report_in(tmp_path / "new")
    for key in ("status", "reason", "variants", "metadata", "recipe_digest", "export_digest", "unlabelled_digest"):
        assert again[key] == fresh[key], key
    assert again["version"] == fresh["version"] + 1, "a server sees a new number"


def test_a_model_that_is_not_blessed_is_relabelled_and_stays_so(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(plan_of(out, {"owner": "one"}), difference=0.5)[0]["status"] == "not_blessed"
    told, worked = run(plan_of(out, {"owner": "two"}))
    assert (told["status"], worked) == ("not_blessed", False)
    assert report_in(out)["metadata"] == {"owner": "two"}
    assert not (out / "models" / "a" / "BLESSED").exists()


def test_earlier_versions_are_kept_as_the_job_says(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in range(4):
        run(plan_of(out, {"number": number}, keep_versions=3))
        report = report_in(out)
        assert report, "every file that it lists is there"
        there = sorted(int(path.name) for path in (out / "models/a/saved_model").iterdir())
        assert there == [1, 2, 3, 4][max(0, number - 2) : number + 1]
    for version in (2, 3, 4):
        asset = json.loads((out / f"models/a/saved_model/{version}/assets/metadata.json").read_text())
        assert asset["metadata"] == {"number": version - 1}, "an earlier version is not touched"
    assert problems_of_models(out) == []


def test_earlier_versions_outlive_other_gates(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(plan_of(out, {"number": 0}, keep_versions=2))
    run(plan_of(out, {"number": 1}, keep_versions=2))
    _, worked = run(plan_of(out, {"number": 1}, keep_versions=2, gates={"float32": {"max_abs": 0.5}}))
    assert not worked
    assert report_in(out)["kept_versions"] == [1]
    assert (out / "models/a/saved_model/1/saved_model.pb").exists()


def test_more_than_metadata_takes_the_model(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(plan_of(out, {"owner": "one"}))
    other = dataclasses.replace(plan_of(out, {"owner": "two"}), unlabelled_digest="sha256:other variants, say")
    assert run(other)[1]


def test_a_file_that_cannot_be_read_takes_the_model(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(plan_of(out, {"owner": "one"}))
    asset = out / "models/a/saved_model/1/assets/metadata.json"
    asset.write_text("x" * asset.stat().st_size)
    assert run(plan_of(out, {"owner": "two"}))[1]


def test_a_file_that_somebody_has_changed_takes_the_model_and_is_not_vouched_for(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(plan_of(out, {"owner": "one"}))
    asset = out / "models/a/saved_model/1/assets/metadata.json"
    asset.write_text(asset.read_text().replace("one", "six"))
    assert run(plan_of(out, {"owner": "two"}))[1]


def test_a_real_model_serves_as_before(demo: Run, tmp_path: Path) -> None:
    """The demo's fleet under other metadata: nothing runs, and every blessed file still answers as proven."""
    out = copy_of_out(demo, tmp_path / "out")
    job_file = demo.out / "fleet" / "job.yaml"
    job = yaml.safe_load(job_file.read_text())
    for entry in job["models"]:
        entry["metadata"] = {"night": 2}
    other = job_file.with_name("relabelled.yaml")
    other.write_text(yaml.safe_dump(job))
    try:
        assert write_if_finished(RunRequest(job=load_job(other), out=str(out)))
    finally:
        other.unlink()
    reports = {path.parent.name: json.loads(path.read_text()) for path in out.glob("models/*/report.json")}
    assert reports and all(report["metadata"] == {"night": 2} for report in reports.values())
    assert {name: report["status"] for name, report in reports.items()} == {
        name: demo.report(name)["status"] for name in demo.model_ids()
    }
    for name, report in reports.items():
        if report["saved_model"] and report["saved_model"]["status"] == "blessed":
            asset = json.loads((out / "models" / name / report["saved_model"]["path"] / "assets/metadata.json").read_text())
            assert asset["metadata"] == {"night": 2}
    assert [sentence for model_id, sentence in verify(str(out), processes=1).problems if model_id is not None] == []
