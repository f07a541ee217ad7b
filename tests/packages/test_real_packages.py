"""Models that other packages write, by their own writers, in a fleet: blessed, and equal to the live models' answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

HERE = Path(__file__).resolve().parent
MODELS = {
    "image_task": "keras",
    "image_backbone": "keras",
    "text_task": "keras",
    "text_archive": "keras",
    "orbax_whole": "keras",
    "orbax_nested": "keras",
    "orbax_weights": "h5_weights",
    "words": "saved_model",
    "pruned": "h5_model",
    "aware": "h5_model",
}
FILES = {"text_archive": ".keras", "pruned": ".h5", "aware": ".h5"}
MODULES = ["keras_hub", "tensorflow_text", "tensorflow_model_optimization", str(HERE / "builders.py")]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False, timeout=580)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    for writer in ("write_models.py", "write_tfmot.py"):
        said = run(HERE / writer, folder / "models")
        assert said.returncode == 0, said.stderr
    entries = [{"checkpoints": f"models/{name}{FILES.get(name, '')}", "samples": name} for name in MODELS]
    entries[list(MODELS).index("orbax_weights")]["builder"] = "builders:build"
    job = {
        "models": entries,
        "samples": {name: {"path": f"models/{name}_rows.npz"} for name in MODELS},
        "modules": MODULES,
        "variants": ["float32"],
        "policy": {"require": []},  # LiteRT has no operations of TensorFlow Text
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    said = run("-m", "liteferry", "run", "--config", folder / "job.yaml", "--output", folder / "out", "--quiet")
    assert said.returncode in (0, 1), said.stderr
    return folder


def report(out: Path, name: str) -> Any:
    return json.loads((out / "out" / "models" / name / "report.json").read_text())


@pytest.mark.parametrize("name", MODELS)
def test_the_real_writers_model_is_blessed_with_its_live_answers(out: Path, name: str) -> None:
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  # registers its operations

    found = report(out, name)
    assert (found["status"], found["checkpoint"]["kind"]) == ("blessed", MODELS[name]), found["reason"]
    assert found["saved_model"]["second_opinion"]["status"] == "equal"
    (version,) = (out / "out" / "models" / name / "saved_model").iterdir()
    with np.load(out / "models" / f"{name}_rows.npz") as rows, np.load(out / "models" / f"{name}_expected.npz") as expected:
        serve = tf.saved_model.load(str(version)).signatures["serving_default"]
        names = list(serve.structured_input_signature[1])  # the only input may have an automatic name
        fed = {key if key in names else names[0]: tf.constant(rows[key]) for key in rows}
        answers = serve(**fed)
        np.testing.assert_allclose(next(iter(answers.values())).numpy(), expected["answers"], atol=1e-5)


def test_check_foresees_them_without_running_their_code(out: Path) -> None:
    said = run("-m", "liteferry", "check", "--config", out / "job.yaml", "--json")
    assert said.returncode == 0, said.stdout
    states = {model["model_id"]: model["state"] for model in json.loads(said.stdout)["models"]}
    assert set(states.values()) <= {"ready", "unknown"}
    assert states["orbax_whole"] == states["words"] == "ready"
