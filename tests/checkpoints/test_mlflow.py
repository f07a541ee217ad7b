"""A model of MLflow keeps what its MLmodel file says; a file that says nothing, or leads elsewhere, costs nothing but that."""

from __future__ import annotations

from pathlib import Path

import pytest

from liteferry.config.load import job_from_flags, parse_job
from liteferry.plan import mlflow
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models

# As mlflow.keras.save_model writes it, flavors left out.
MLMODEL = """
artifact_path: model
flavors: {keras: {keras_version: 3.15.1}}
metadata: {team: vision, created: 2026-11-01}
mlflow_version: 3.18.0
model_uuid: 0f3c1e
run_id: 9a1b
signature:
  inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]'
  params: null
utc_time_created: '2026-11-01 10:00:00.000000'
"""
KEPT = {
    "signature": {
        "inputs": [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}],
        "outputs": [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}],
    },
    "metadata": {"team": "vision", "created": "2026-11-01"},
    "run_id": "9a1b",
    "model_uuid": "0f3c1e",
    "utc_time_created": "2026-11-01 10:00:00.000000",
    "mlflow_version": "3.18.0",
}


def folder(tmp_path: Path, text: str = MLMODEL) -> Path:
    (tmp_path / "model" / "data").mkdir(parents=True)
    (tmp_path / "model" / "data" / "model.keras").write_bytes(b"a checkpoint")
    (tmp_path / "model" / "MLmodel").write_text(text)
    return tmp_path / "model"


def plan(checkpoints: Path) -> ModelPlan:
    (found,) = plan_models(job_from_flags(checkpoints=[str(checkpoints)]), str(checkpoints.parent / "out"))
    return found


@pytest.mark.parametrize("named", [".", "data/model.keras"])
def test_what_it_says_is_kept_in_the_metadata(tmp_path: Path, named: str) -> None:
    assert plan(folder(tmp_path) / named).metadata == {"mlflow": KEPT}


@pytest.mark.parametrize("place", ["tf2model", "data/model", "artifacts/net"])
def test_a_saved_model_is_found_where_each_flavour_has_it(tmp_path: Path, place: str) -> None:
    (tmp_path / "model" / place).mkdir(parents=True)
    (tmp_path / "model" / place / "saved_model.pb").write_bytes(b"a checkpoint")
    (tmp_path / "model" / "MLmodel").write_text(MLMODEL)
    assert plan(tmp_path / "model").uri == str(tmp_path / "model" / place)


def test_the_jobs_own_metadata_stands_beside_it(tmp_path: Path) -> None:
    job = parse_job({"models": [{"checkpoints": str(folder(tmp_path)), "metadata": {"a": 1}}]}, base_dir=None)
    (found,) = plan_models(job, str(tmp_path / "out"))
    assert found.metadata == {"mlflow": KEPT, "a": 1}


def test_what_it_says_decides_what_is_done(tmp_path: Path) -> None:
    before = plan(folder(tmp_path))
    (tmp_path / "model" / "MLmodel").write_text(MLMODEL.replace("9a1b", "9a1c"))
    after = plan(tmp_path / "model")
    assert before.recipe_digest != after.recipe_digest and before.export_recipe != after.export_recipe
    (tmp_path / "model" / "MLmodel").unlink()
    alone = plan(tmp_path / "model" / "data" / "model.keras")
    other = tmp_path / "other.keras"
    other.write_bytes(b"a checkpoint")
    assert alone.metadata == {} and alone.export_recipe == plan(other).export_recipe


@pytest.mark.parametrize("text", ["", "- a list", "signature: {inputs: '[not json'}", "a: [", "metadata: .nan", "x" * 300_000])
def test_a_file_that_says_nothing_is_left_out(tmp_path: Path, text: str) -> None:
    assert mlflow.said_of(str(folder(tmp_path, text) / "data" / "model.keras")) == {}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    place = folder(tmp_path)
    (tmp_path / "secret.yaml").write_text("metadata: {token: secret}")
    (place / "MLmodel").unlink()
    (place / "MLmodel").symlink_to(tmp_path / "secret.yaml")
    assert mlflow.said_of(str(place / "data" / "model.keras")) == {}
