"""`publish`: a model's folder is whole, its marker says what its report says, and only work that still stands is left undone."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry.config.load import job_from_flags
from liteferry.errors import Reason, ReasonCode, Stage
from liteferry.evaluation.results import SAVED_MODEL, CandidateResult, Evaluation
from liteferry.output.finished import finished_report, numbered
from liteferry.output.publish import judge_and_publish
from liteferry.parity.output_stats import OutputStats
from liteferry.plan import bound_rows
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models
from liteferry.sandbox import Limits
from liteferry.types import ExportedModel, SavedModelFacts, Signature, TensorSpec, VariantFacts

SAME, MORE_MEMORY = Limits(seconds=900, memory_bytes=8 * 10**9), Limits(seconds=900, memory_bytes=9 * 10**9)
MORE_TIME, LESS_TIME = Limits(seconds=901, memory_bytes=8 * 10**9), Limits(seconds=10, memory_bytes=8 * 10**9)


def make_plan(out: Path, **changes: Any) -> ModelPlan:
    """The plan of a job with one checkpoint, `a.keras`, that asks for one variant."""
    path = out.parent / "checkpoints" / "a.keras"
    write(path, "the bytes of a checkpoint")
    (plan,) = plan_models(job_from_flags(checkpoints=[str(path)], variants=["float32"]), str(out))
    return dataclasses.replace(fingerprint(plan), limits=SAME, **changes)


def write(path: str | Path, content: str = "content") -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).write_text(content)


def export(plan: ModelPlan, *, reason: ReasonCode | None = None) -> ExportedModel:
    """What the export stage leaves in staging and says of it; with a reason, what is left of a process that died."""
    staging = plan.staging_directory()
    for name in ("saved_model/1/saved_model.pb", "saved_model/1/variables/data", "tflite/float32.tflite"):
        write(f"{staging}/{name}")
    if reason is not None:
        return ExportedModel(reason=Reason(code=reason, stage=Stage.EXPORT, message="so it ended"))
    signature = Signature(
        inputs=(TensorSpec(name="x", shape=(None, 2), dtype="float32"),),
        outputs=(TensorSpec(name="y", shape=(None, 2), dtype="float32"),),
    )
    saved = SavedModelFacts(
        path="saved_model/1",
        bytes=7,
        signature=signature,
        oracle="keras",
        deterministic=True,
        custom_objects=(),
        renamed_inputs={},
        warnings=(),
    )
    return ExportedModel(
        kind="keras",
        saved_model=saved,
        variants={"float32": VariantFacts(variant="float32", attempts=(), path="tflite/float32.tflite", bytes=7)},
    )


def evaluate(*, difference: float = 0.0) -> Evaluation:
    """Statistics of two rows on which every candidate differs by so much from the reference."""
    rows = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    candidate = (rows + difference).astype(np.float32)
    stats = OutputStats.compare(reference=rows, candidate=candidate, ids=["0", "1"], first_row=0)
    result = CandidateResult(stats={"y": stats})
    return Evaluation(candidates={SAVED_MODEL: result, "float32": result})


def publish(plan: ModelPlan, *, reason: ReasonCode | None = None, difference: float = 0.0) -> dict[str, Any]:
    return judge_and_publish(plan, export(plan, reason=reason), evaluate(difference=difference))


def files(plan: ModelPlan) -> set[str]:
    root = Path(plan.model_directory())
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


BESIDE = {"report.json", "report.html", "model.cdx.json", "model_card.md"}
PROVEN = BESIDE | {"BLESSED", "a.intoto.jsonl"}
ARTIFACTS = {"saved_model/1/saved_model.pb", "saved_model/1/variables/data", "tflite/float32.tflite"}


# What stands in the folder


@pytest.mark.parametrize(
    ("difference", "status", "marker"),
    [(0.0, "blessed", "BLESSED"), (0.1, "not_blessed", "NOT_BLESSED")],
    ids=["equal", "differs"],
)
def test_a_folder_holds_the_artifacts_the_report_and_the_marker_of_its_status(
    tmp_path: Path, difference: float, status: str, marker: str
) -> None:
    plan = make_plan(tmp_path / "out")
    returned = publish(plan, difference=difference)
    assert files(plan) == ARTIFACTS | (PROVEN if status == "blessed" else BESIDE | {marker})
    report = json.loads((Path(plan.model_directory()) / "report.json").read_text())
    assert report["status"] == returned["status"] == status


def test_nothing_is_left_where_it_was_built(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    write(f"{bound_rows.directory(plan)}/00000/outputs.json")
    publish(plan)
    left = [path for path in (tmp_path / "out" / ".staging").rglob("*") if path.is_file()]
    assert [path.parent.name for path in left] == ["progress"]


def test_half_of_an_artifact_that_a_crash_left_does_not_reach_a_final_path(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    publish(plan, reason=ReasonCode.CRASHED)
    assert files(plan) == {"report.json", "report.html", "NOT_BLESSED"}


def test_of_variants_only_those_in_the_report_reach_a_final_path(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    exported = export(plan)
    for name in ("tflite/int8.tflite", "tflite/float32.tflite.0123.tmp", "saved_model/2/saved_model.pb", "evaluation/metrics"):
        write(f"{plan.staging_directory()}/{name}")
    judge_and_publish(plan, exported, evaluate())
    assert files(plan) == ARTIFACTS | PROVEN | {"evaluation/metrics"}


def test_a_model_of_which_nothing_was_begun_gets_its_report(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    reason = Reason(code=ReasonCode.INTERNAL, stage=Stage.EXPORT, message="so it ended")
    judge_and_publish(plan, ExportedModel(reason=reason), Evaluation(candidates={}))
    assert files(plan) == {"report.json", "report.html", "NOT_BLESSED"}
    assert json.loads((Path(plan.model_directory()) / "report.json").read_text())["reason"]["code"] == "INTERNAL"


def test_a_model_that_is_done_again_replaces_its_folder_as_a_whole(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    publish(plan, difference=0.1)
    assert files(plan) == ARTIFACTS | BESIDE | {"NOT_BLESSED"}
    publish(plan, reason=ReasonCode.LOAD_CORRUPT)
    assert files(plan) == {"report.json", "report.html", "NOT_BLESSED"}


# When it cannot be published


def test_an_output_that_cannot_be_written_is_the_models_reason_and_leaves_what_was_there(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    write(tmp_path / "out" / "models", "a file where a folder belongs")
    report = publish(plan)
    assert (report["status"], report["reason"]["code"], report["reason"]["stage"]) == ("failed", "STORAGE_FAILED", "publish")
    assert report["saved_model"] is None
    assert report["recommended_variant"] is None
    assert (tmp_path / "out" / "models").read_text() == "a file where a folder belongs"


@pytest.mark.parametrize("lost", ["tflite/float32.tflite", "saved_model/1", "."])
def test_what_was_removed_under_the_run_is_not_blessed_and_is_tried_again(tmp_path: Path, lost: str) -> None:
    plan = make_plan(tmp_path / "out")
    exported = export(plan)
    target = Path(plan.staging_directory()) / lost
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    report = judge_and_publish(plan, exported, evaluate())
    assert (report["status"], report["reason"]["code"]) == ("failed", "STORAGE_FAILED")
    assert "removed while the run went on" in report["reason"]["message"]
    assert files(plan) == {"report.json", "report.html", "NOT_BLESSED"}
    assert finished_report(plan) is None, "the next run would believe it"


def test_what_nobody_foresaw_is_the_models_reason_and_not_the_end_of_the_run(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    exported = dataclasses.replace(export(plan), timings_s={"load": math.nan})
    report = judge_and_publish(plan, exported, evaluate())
    assert (report["status"], report["reason"]["code"]) == ("failed", "INTERNAL")
    unwritable = dataclasses.replace(plan, metadata={"team": object()})
    assert publish(unwritable)["reason"]["code"] == "INTERNAL"


def test_a_name_that_is_no_text_is_shown_as_its_bytes_and_travels_on_any_runner(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out", uri=os.fsdecode(b"/checkpoints/\xff.keras"))
    report = publish(plan)
    assert (report["status"], report["checkpoint"]["uri"]) == ("blessed", r"/checkpoints/\udcff.keras")
    assert json.dumps(report, ensure_ascii=False).encode()
    assert finished_report(plan) is not None


# The number of a version


def other_checkpoint(plan: ModelPlan) -> ModelPlan:
    return dataclasses.replace(plan, digest="sha256:other")


def other_export(plan: ModelPlan) -> ModelPlan:
    return dataclasses.replace(plan, export_recipe="sha256:other")


def other_gates(plan: ModelPlan) -> ModelPlan:
    return dataclasses.replace(plan, recipe_digest="sha256:other")


def unreadable(plan: ModelPlan) -> ModelPlan:
    return dataclasses.replace(plan, digest=None)


@pytest.mark.parametrize(
    ("change", "version"),
    [(other_checkpoint, 2), (other_export, 2), (unreadable, 2), (other_gates, 1), (lambda plan: plan, 1)],
    ids=["another checkpoint", "another export", "a checkpoint that cannot be read", "other gates", "no change"],
)
def test_the_version_grows_when_the_saved_model_may_be_another(
    tmp_path: Path, change: Callable[[ModelPlan], ModelPlan], version: int
) -> None:
    plan = make_plan(tmp_path / "out")
    assert numbered(plan).version == 1
    publish(plan)
    assert numbered(change(plan)).version == version


def test_no_number_means_two_functions_whatever_happens_between(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    publish(plan)
    second = numbered(other_checkpoint(plan))
    publish(second, reason=ReasonCode.CRASHED)
    assert numbered(plan).version == 1, "version 1 stands, since the second is not blessed"
    assert numbered(second).version == 2, "version 2 never was"


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"version": "x"}', "[" * 100_000])
def test_without_a_report_the_folders_are_counted(tmp_path: Path, content: str | None) -> None:
    plan = make_plan(tmp_path / "out")
    for name in ("3/saved_model.pb", "12/saved_model.pb", "notes/file"):
        write(f"{plan.model_directory()}/saved_model/{name}")
    if content is not None:
        write(f"{plan.model_directory()}/report.json", content)
    assert numbered(plan).version == 13


# What need not be done again


def test_finished_work_is_found_again(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    publish(plan)
    report = finished_report(plan)
    assert report == json.loads((Path(plan.model_directory()) / "report.json").read_text())


def test_there_is_no_report_where_nothing_was_done(tmp_path: Path) -> None:
    assert finished_report(make_plan(tmp_path / "out")) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": "sha256:other"},
        {"digest": None},
        {"recipe_digest": "sha256:other"},
        {"uri": "/elsewhere/a.keras"},
    ],
    ids=lambda changes: next(f"{name} is {value}" for name, value in changes.items()),
)
def test_other_work_is_done_again(tmp_path: Path, changes: dict[str, Any]) -> None:
    plan = make_plan(tmp_path / "out")
    publish(plan)
    assert finished_report(dataclasses.replace(plan, **changes)) is None


def test_of_a_checkpoint_that_could_not_be_read_nothing_stands(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out", digest=None, size_bytes=None)
    publish(plan, reason=ReasonCode.LOAD_CORRUPT)
    assert finished_report(plan) is None


def edit(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "report.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "report.json").unlink(),
        lambda folder: (folder / "BLESSED").unlink(),
        lambda folder: (folder / "BLESSED").rename(folder / "NOT_BLESSED"),
        lambda folder: (folder / "NOT_BLESSED").touch(),
        lambda folder: (folder / "report.json").write_text("[]"),
        lambda folder: (folder / "report.json").write_text("null"),
        lambda folder: (folder / "report.json").write_text('"report"'),
        lambda folder: (folder / "report.json").write_text("[" * 100_000),
        lambda folder: (folder / "report.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "tflite" / "float32.tflite").unlink(),
        lambda folder: (folder / "saved_model" / "1").rename(folder / "saved_model" / "2"),
        edit(schema_version=0),
        edit(model_id="b"),
        edit(checkpoint=None),
        edit(variants=[]),
        edit(limits={}, reason={"code": "TIMEOUT"}),
    ],
    ids=[
        *("no report", "no marker", "the other marker", "both markers", "a list", "null", "text", "nested too deep", "no UTF-8"),
        *("a variant lost", "the SavedModel moved", "another schema", "another model", "no checkpoint", "variants a list"),
        "no limits",
    ],
)
def test_a_damaged_folder_is_done_again(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    plan = make_plan(tmp_path / "out")
    publish(plan)
    damage(Path(plan.model_directory()))
    assert finished_report(plan) is None


def test_a_report_cut_anywhere_is_done_again(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    publish(plan)
    path = Path(plan.model_directory()) / "report.json"
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        assert finished_report(plan) is None, f"{length} of {len(whole)} bytes passed as a report"


def test_a_file_where_the_models_folder_belongs_is_not_a_finished_model(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    write(plan.model_directory())
    assert finished_report(plan) is None


@pytest.mark.parametrize(
    ("code", "limits", "stands"),
    [
        (ReasonCode.LOAD_CORRUPT, SAME, True),
        (ReasonCode.LOAD_CORRUPT, MORE_TIME, True),
        (ReasonCode.CRASHED, MORE_MEMORY, True),
        (ReasonCode.TIMEOUT, SAME, True),
        (ReasonCode.TIMEOUT, LESS_TIME, True),
        (ReasonCode.TIMEOUT, MORE_MEMORY, True),
        (ReasonCode.TIMEOUT, MORE_TIME, False),
        (ReasonCode.OUT_OF_MEMORY, SAME, True),
        (ReasonCode.OUT_OF_MEMORY, MORE_TIME, True),
        (ReasonCode.OUT_OF_MEMORY, MORE_MEMORY, False),
        (ReasonCode.STORAGE_FAILED, SAME, False),
        (ReasonCode.INTERNAL, SAME, False),
        (ReasonCode.KILLED, SAME, False),
    ],
    ids=str,
)
def test_a_failure_stands_unless_trying_again_may_help(tmp_path: Path, code: ReasonCode, limits: Limits, stands: bool) -> None:
    plan = make_plan(tmp_path / "out")
    publish(plan, reason=code)
    assert (finished_report(dataclasses.replace(plan, limits=limits)) is not None) is stands


def test_one_variant_that_may_do_better_with_more_time_is_reason_enough(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    late = Reason(code=ReasonCode.TIMEOUT, stage=Stage.CONVERT, message="still converting")
    exported = dataclasses.replace(export(plan), variants={"float32": VariantFacts(variant="float32", attempts=(), reason=late)})
    assert judge_and_publish(plan, exported, evaluate())["status"] == "not_blessed"
    assert finished_report(plan) is not None
    assert finished_report(dataclasses.replace(plan, limits=MORE_TIME)) is None


def test_a_checkpoint_of_tensorflow_is_all_of_its_files(tmp_path: Path) -> None:
    def plan() -> ModelPlan:
        (one,) = plan_models(job_from_flags(checkpoints=[str(tmp_path / "model.index")]), str(tmp_path / "out"))
        return fingerprint(one)

    for name, content in (("model.index", "in"), ("model.data-00000-of-00002", "one"), ("model.data-00001-of-00002", "two")):
        write(tmp_path / name, content)
    before = plan()
    assert before.size_bytes == 8
    write(tmp_path / "model.data-00001-of-00002", "owt")
    write(tmp_path / "other.data-00000-of-00001", "another's")
    assert (plan().size_bytes, plan().digest == before.digest) == (8, False)
