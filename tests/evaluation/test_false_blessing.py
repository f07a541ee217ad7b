"""A false "blessed" is the worst bug there is: real artifacts are damaged after they were made, and the verdict has to notice."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from liteferry.config.load import load_job
from liteferry.evaluation.compute_metrics import with_metrics
from liteferry.evaluation.evaluate import evaluate_isolated, shard_tasks
from liteferry.evaluation.results import Evaluation, merge
from liteferry.exporting.export import export_isolated
from liteferry.plan import bound_rows
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models
from liteferry.report.model_report import build
from liteferry.types import ExportedModel
from tests.support import Run

Damage = Callable[[schema.ModelT], None]
Fresh = Callable[[str], tuple[ModelPlan, ExportedModel]]


@pytest.fixture(scope="module")
def fresh(demo: Run, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """Gives a model of the demo as its export has left it, in work folders of its own: each is exported once, and copied."""
    job = load_job(demo.out / "fleet" / "job.yaml")
    plans = {plan.model_id: plan for plan in plan_models(job, str(tmp_path_factory.mktemp("out")))}
    exported: dict[str, tuple[ModelPlan, ExportedModel]] = {}
    attempts = itertools.count()

    def copy_of(model_id: str) -> tuple[ModelPlan, ExportedModel]:
        if model_id not in exported:
            plan = fingerprint(plans[model_id])
            exported[model_id] = plan, export_isolated([plan])[0]
        plan, found = exported[model_id]
        copy = dataclasses.replace(plan, attempt=f"copy_{next(attempts)}")
        for source, target in zip(bound_rows.work_directories(plan), bound_rows.work_directories(copy), strict=True):
            shutil.copytree(source, target)
        return copy, found

    return copy_of


def judge(plan: ModelPlan, exported: ExportedModel) -> Any:
    tasks = shard_tasks(plan, exported)
    evaluation = merge([evaluate_isolated(task, referenced=True) for task in tasks])
    return build(plan, exported, with_metrics(plan, exported, evaluation))


def damage(path: Path, change: Damage) -> None:
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def one_weight_off(model: schema.ModelT) -> None:
    largest = max((buffer for buffer in model.buffers if buffer.data is not None), key=lambda buffer: len(buffer.data))
    weights = np.array(largest.data, dtype=np.uint8).view(np.float32).copy()
    weights[np.argmax(np.abs(weights))] *= -1
    largest.data = weights.view(np.uint8)


def one_weight_nan(model: schema.ModelT) -> None:
    largest = max((buffer for buffer in model.buffers if buffer.data is not None), key=lambda buffer: len(buffer.data))
    weights = np.array(largest.data, dtype=np.uint8).view(np.float32).copy()
    weights[len(weights) // 2] = np.nan
    largest.data = weights.view(np.uint8)


def inputs_swapped(model: schema.ModelT) -> None:
    first, second = model.signatureDefs[0].inputs
    first.tensorIndex, second.tensorIndex = second.tensorIndex, first.tensorIndex


def output_missing(model: schema.ModelT) -> None:
    model.signatureDefs[0].outputs = model.signatureDefs[0].outputs[:1]


def outputs_swapped(model: schema.ModelT) -> None:
    first, second = model.signatureDefs[0].outputs
    first.tensorIndex, second.tensorIndex = second.tensorIndex, first.tensorIndex


def constant(model: schema.ModelT) -> None:
    """No weight is left: only what biases say, for every row alike."""
    for buffer in model.buffers:
        if buffer.data is not None and len(buffer.data) > 1024:
            buffer.data = np.zeros_like(buffer.data)


@pytest.mark.parametrize(
    ("model_id", "change", "code"),
    [
        ("mlp", one_weight_off, "PARITY_OUT_OF_TOLERANCE"),
        ("mlp", one_weight_nan, "PARITY_NONFINITE"),
        ("two_halves", inputs_swapped, "PARITY_OUT_OF_TOLERANCE"),
        ("two_halves", output_missing, "PARITY_OUT_OF_TOLERANCE"),
        ("two_halves", outputs_swapped, "PARITY_OUT_OF_TOLERANCE"),
        ("mlp", constant, "PARITY_OUT_OF_TOLERANCE"),
    ],
)
def test_a_damaged_variant_is_not_blessed_and_the_others_are(fresh: Fresh, model_id: str, change: Damage, code: str) -> None:
    plan, exported = fresh(model_id)
    damage(Path(plan.staging_directory()) / "tflite" / "float32.tflite", change)
    report = judge(plan, exported)
    assert report["variants"]["float32"]["status"] == "not_blessed"
    assert report["variants"]["float32"]["reason"]["code"] == code
    assert report["status"] == "not_blessed"
    assert report["variants"]["float16"]["status"] == "blessed", "a damaged neighbour cost it its verdict"
    noise = report["noise_floor"]["float32"]
    vouched = [output for output, measured in (noise or {"outputs": {}})["outputs"].items() if measured["counts"]]
    assert not vouched or change is output_missing, "a damaged file spoke for itself"


@pytest.mark.parametrize(
    ("require", "is_blessed"),
    [
        pytest.param(None, False, id="every variant, unless the job says otherwise"),
        pytest.param(("float32",), False, id="the damaged one"),
        pytest.param(("float16",), True, id="another one"),
        pytest.param((), True, id="none"),
    ],
)
def test_a_model_needs_the_variants_that_its_policy_requires(
    fresh: Fresh, require: tuple[str, ...] | None, is_blessed: bool
) -> None:
    plan, exported = fresh("mlp")
    plan = plan if require is None else dataclasses.replace(plan, require=require)
    damage(Path(plan.staging_directory()) / "tflite" / "float32.tflite", one_weight_off)
    report = judge(plan, exported)
    assert report["variants"]["float32"]["status"] == "not_blessed"
    assert report["status"] == ("blessed" if is_blessed else "not_blessed")
    assert (report["reason"] is None) is is_blessed
    assert report["required_variants"] == list(plan.require)
    assert is_blessed or report["reason"]["message"].startswith("float32: ")
    assert report["recommended_variant"] != "float32", "what is not blessed is not recommended"


def test_a_file_that_litert_cannot_run_is_unverifiable(fresh: Fresh) -> None:
    plan, exported = fresh("mlp")
    path = Path(plan.staging_directory()) / "tflite" / "float32.tflite"
    damage(path, lambda model: setattr(model.subgraphs[0].operators[0], "inputs", np.array([0, 0, 0], np.int32)))
    variant = judge(plan, exported)["variants"]["float32"]
    assert variant["status"] in ("unverifiable", "not_blessed")
    assert variant["reason"] is not None


def test_a_saved_model_that_computes_something_else_is_a_mismatch(fresh: Fresh) -> None:
    """The SavedModel of another model with the same signature, put in its place."""
    (plan, exported), (other, others) = fresh("mlp"), fresh("hard_sigmoid")
    mine, theirs = Path(plan.staging_directory()) / "saved_model", Path(other.staging_directory()) / "saved_model"
    mine.rename(mine.with_name("away"))
    theirs.rename(mine)
    assert others.saved_model is not None
    report = judge(plan, exported)
    assert (report["status"], report["reason"]["code"]) == ("not_blessed", "EXPORT_MISMATCH")


def test_a_model_without_evaluation_is_not_blessed(fresh: Fresh) -> None:
    report: Any = build(*fresh("mlp"), Evaluation(candidates={}))
    assert report["status"] == "not_blessed"
    assert all(variant["status"] != "blessed" for variant in report["variants"].values())
    assert report["recommended_variant"] is None


def test_a_lost_shard_is_not_a_pass(fresh: Fresh) -> None:
    plan, exported = fresh("mlp")
    assert plan.samples.sample_set is not None
    evaluation = merge([evaluate_isolated(task, referenced=True) for task in shard_tasks(plan, exported)])
    wider = dataclasses.replace(plan.samples, sample_set=dataclasses.replace(plan.samples.sample_set, row_count=720))
    report: Any = build(dataclasses.replace(plan, samples=wider), exported, evaluation)
    assert report["status"] == "not_blessed"
    assert "360 of 720 sample rows" in report["reason"]["message"]
