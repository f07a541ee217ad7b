"""`liteferry check` says what a run would refuse, by the scan that a run has, and as far as the job does not trust it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest

from tests.support import liteferry


def archive(path: Path, activation: Any) -> Path:
    """A `.keras` archive of one Dense layer, without weights: nothing loads it here."""
    dense = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "d", "units": 2, "activation": activation}}
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [dense]}}
    weights = io.BytesIO()
    h5py.File(weights, "w").close()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(config))
        file.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        file.writestr("model.weights.h5", weights.getvalue())
    return path


CALLS = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
CODE = {"class_name": "__lambda__", "config": {"code": "4w==", "defaults": None, "closure": None}}


def checked(folder: Path, *more: str) -> dict[str, Any]:
    """Of a job without rows, which nothing can be proven with."""
    said = liteferry("check", "--json", "--checkpoints", f"{folder}/*", *more)
    assert said.returncode == 1, said.stderr
    return {model["model_id"]: model for model in json.loads(said.stdout)["models"]}


def test_what_would_be_refused_is_told_with_its_name(tmp_path: Path) -> None:
    archive(tmp_path / "calls.keras", CALLS)
    archive(tmp_path / "code.keras", CODE)
    archive(tmp_path / "plain.keras", "relu")
    models = checked(tmp_path)
    assert {name: model["kind"] for name, model in models.items()} == {"calls": "keras", "code": "keras", "plain": "keras"}
    assert models["plain"]["refused"] == []
    assert models["calls"]["refused"] == ["a function 'system' of module 'os', which is Python's own"]
    assert models["code"]["refused"] == ["Python bytecode in the Lambda layer 'd', which would run"]


def test_what_the_job_trusts_is_not_told(tmp_path: Path) -> None:
    archive(tmp_path / "code.keras", CODE)
    job = tmp_path / "job.yaml"
    job.write_text(f"models: [{{checkpoints: {tmp_path}/code.keras}}]\ntrust: [lambda]\n")
    said = liteferry("check", "--json", "--config", job)
    assert json.loads(said.stdout)["models"][0]["refused"] == [], said


@pytest.mark.parametrize("named", [True, False])
def test_a_link_that_a_pattern_turned_up_is_refused_and_one_that_is_written_out_followed(tmp_path: Path, named: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "ck").mkdir()
    (tmp_path / "ck" / "linked.keras").symlink_to(archive(tmp_path / "elsewhere" / "other.keras", "relu"))
    said = liteferry("check", "--json", "--checkpoints", tmp_path / "ck" / ("linked.keras" if named else "*.keras"))
    (model,) = json.loads(said.stdout)["models"]
    assert model["kind"] == ("keras" if named else "LOAD_UNSAFE")
    assert ("trust: [links]" in str(model["refused"])) is not named


def test_a_cache_whose_snapshots_are_links_to_its_blobs_is_one_root(tmp_path: Path) -> None:
    cache = tmp_path / "models--org--name"
    (cache / "blobs").mkdir(parents=True)
    (cache / "snapshots" / "rev").mkdir(parents=True)
    archive(cache / "blobs" / "4f2a", "relu")
    (cache / "snapshots" / "rev" / "model.keras").symlink_to("../../blobs/4f2a")
    (tmp_path / "secret.keras").write_bytes((cache / "blobs" / "4f2a").read_bytes())
    (cache / "snapshots" / "rev" / "stolen.keras").symlink_to("../../../secret.keras")
    kinds = {name: model["kind"] for name, model in checked(cache / "snapshots" / "rev").items()}
    assert kinds == {"model": "keras", "stolen": "LOAD_UNSAFE"}
