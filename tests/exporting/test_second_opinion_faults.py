"""A fault in LiteFerry's own loader: reference, SavedModel and variants agree on it, and only the library's own loader tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from liteferry.config.load import load_job
from liteferry.errors import ReasonCode
from liteferry.evaluation.results import Evaluation
from liteferry.exporting import export
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from liteferry.plan.planning import plan_models
from liteferry.report import model_report
from liteferry.sandbox.units import Unit
from liteferry.types import ExportedModel, OpinionStatus
from tests.exporting import faulty_units
from tests.support.programs import run_program

KINDS = {
    "keras3_functional": "a .keras archive of Keras 3",
    "keras2_functional": "a .keras archive of Keras 2",
    "keras3_h5_model": "HDF5 of Keras 3",
    "keras2_h5_model": "HDF5 of Keras 2",
    "keras3_weights_h5": "weights of Keras 3 with a builder",
    "keras2_weights_h5": "weights of Keras 2 with a builder",
    "keras2_train_checkpoint": "a TensorFlow checkpoint with a builder of Keras",
    "module_checkpoint": "a TensorFlow checkpoint with a builder of a tf.Module",
    "tf1_saver": "a checkpoint of TensorFlow 1 with a builder",
    "saved_model_with_optimizer": "a SavedModel with Keras metadata",
    "several_signatures": "any other SavedModel",
    "tf1_saved_model": "a SavedModel of TensorFlow 1",
}
BY_DAY = ("keras3_functional", "keras2_h5_model", "several_signatures")
ROOT = Path(__file__).parents[2]
_JOB_KEYS = ("modules", "custom_objects", "trust")
_ENTRY_KEYS = ("builder", "builder_args", "strip")


def plan_of(folder: Path, out: Path) -> ModelPlan:
    case = json.loads((folder / "case.json").read_text())
    entry = {"checkpoints": str(folder / case["checkpoint"]), "samples": "rows"}
    entry |= {key: case[key] for key in _ENTRY_KEYS if key in case}
    job = {"models": [entry], "samples": {"rows": {"path": str(folder / "rows.npz")}}, "variants": []}
    job |= {key: case[key] for key in _JOB_KEYS if key in case}
    path = out / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    (plan,) = begin_attempt([fingerprint(plan) for plan in plan_models(load_job(path), str(out / "out"))])
    return plan


def exported(plan: ModelPlan, units: export.Units | None = None) -> ExportedModel:
    (one,) = export.export_isolated([plan], units=units)
    assert one.reason is None, one.reason
    return one


@pytest.mark.parametrize("name", [name if name in BY_DAY else pytest.param(name, marks=pytest.mark.nightly) for name in KINDS])
def test_an_honest_export_is_confirmed_and_a_fault_of_the_loader_refused(
    fixtures: Path,
    tmp_path: Path,
    name: str,
) -> None:
    plan = plan_of(fixtures / name, tmp_path)
    honest = exported(plan).second_opinion
    assert honest is not None and honest.status is OpinionStatus.EQUAL and honest.rows > 0 and honest.by, honest
    faulty = exported(plan, export.Units(export=faulty_units.off_by_a_hundredth))
    opinion = faulty.second_opinion
    assert opinion is not None and (opinion.status, opinion.code) == (OpinionStatus.DIFFERENT, ReasonCode.EXPORT_MISMATCH)
    report: Any = model_report.build(plan, faulty, Evaluation(candidates={}))
    assert (report["status"], report["reason"]["code"]) == ("not_blessed", "EXPORT_MISMATCH")
    assert report["saved_model"]["second_opinion"]["status"] == "different"


@pytest.mark.parametrize(
    ("name", "fault", "told"),
    [
        ("keras3_functional", faulty_units.one_output_dropped, "2 outputs"),
        pytest.param("keras2_functional", faulty_units.one_output_dropped, "2 outputs", marks=pytest.mark.nightly),
    ],
)
def test_what_is_lost_is_counted(
    fixtures: Path,
    tmp_path: Path,
    name: str,
    fault: Unit,
    told: str,
) -> None:
    opinion = exported(plan_of(fixtures / name, tmp_path), export.Units(export=fault)).second_opinion
    assert opinion is not None and opinion.code is ReasonCode.EXPORT_MISMATCH
    assert opinion.why is not None and told in opinion.why


@pytest.mark.parametrize(
    ("end", "code"), [(faulty_units.killed, "KILLED"), (faulty_units.aborted, "CRASHED"), (faulty_units.speechless, "INTERNAL")]
)
def test_an_opinion_that_was_never_given_blesses_nothing(
    fixtures: Path,
    tmp_path: Path,
    end: Unit,
    code: str,
) -> None:
    plan = plan_of(fixtures / "keras3_functional", tmp_path)
    one = exported(plan, export.Units(second_opinion=end))
    assert one.second_opinion is not None and one.second_opinion.status is OpinionStatus.NONE
    report: Any = model_report.build(plan, one, Evaluation(candidates={}))
    assert (report["status"], report["reason"]["code"], report["reason"]["stage"]) == ("not_blessed", code, "reference")
    assert "gave no second opinion" in report["reason"]["message"]


def test_a_process_that_leaves_a_link_is_refused_whatever_it_has_told(fixtures: Path, tmp_path: Path) -> None:
    plan = plan_of(fixtures / "keras3_functional", tmp_path)
    (one,) = export.export_isolated([plan], units=export.Units(export=faulty_units.leaves_a_link))
    assert one.reason is not None and one.reason.code is ReasonCode.LOAD_UNSAFE and "notes.txt" in one.reason.message
    report: Any = model_report.build(plan, one, Evaluation(candidates={}))
    assert report["status"] != "blessed" and report["reason"]["code"] == "LOAD_UNSAFE"


WRITER = """
import sys, numpy as np, keras
folder, random = sys.argv[1], np.random.default_rng(0)
for name, width in (("right", 4), ("wrong", 5), ("swapped", 6), ("left", 7)):
    layers = [keras.Input((width,), name="x"), keras.layers.Dense(width, "tanh"), keras.layers.Dense(width, name="y")]
    model = keras.Sequential(layers)
    model.set_weights([random.normal(size=weight.shape) for weight in model.get_weights()])
    model.save(f"{folder}/{name}.keras")
    np.savez(f"{folder}/{name}.npz", x=random.normal(size=(20, width)).astype("float32"))
"""
RUN = """
import functools
import sys
from liteferry import config, pipeline
from liteferry.exporting import export
from tests.exporting import faulty_units
if __name__ == "__main__":
    units = export.Units(export=faulty_units.in_one_of_several)
    export.export_isolated = functools.partial(export.export_isolated, units=units)
    pipeline.run(pipeline.RunRequest(job=config.load_job(sys.argv[1]), out=sys.argv[2], processes=2))
"""


def test_a_run_refuses_the_model_with_all_its_variants_and_blesses_its_neighbours(tmp_path: Path) -> None:
    run_program(WRITER, tmp_path, folder=tmp_path)
    names = ("right", "wrong", "swapped", "left")
    job: dict[str, Any] = {
        "models": [{"checkpoints": f"{name}.keras", "samples": name} for name in names],
        "samples": {name: {"path": f"{name}.npz"} for name in names},
        "variants": ["float32"],
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    (tmp_path / "run.py").write_text(RUN)
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path / "job.yaml"), str(tmp_path / "out")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    reports = {name: json.loads((tmp_path / "out" / "models" / name / "report.json").read_text()) for name in names}
    for name in ("right", "left"):
        assert reports[name]["status"] == "blessed", reports[name]["reason"]
        assert reports[name]["saved_model"]["second_opinion"]["status"] == "equal"
    for wrong in (reports["wrong"], reports["swapped"]):
        assert (wrong["status"], wrong["reason"]["code"]) == ("not_blessed", "EXPORT_MISMATCH")
        assert wrong["variants"]["float32"]["status"] != "blessed" and wrong["recommended_variant"] is None
        assert "own loader" in wrong["reason"]["message"]
