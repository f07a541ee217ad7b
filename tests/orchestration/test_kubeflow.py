"""The Kubeflow pipeline: compiled, the Python step run by Kubeflow's local runner, the container steps by their command lines
with Kubeflow's own placeholders filled in: `make test-kfp`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, local
from kfp.local import placeholder_utils

from tests.support import Run

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
IMAGE_PATH = f"{Path(os.environ['LITEFERRY_PYTHON']).parent}{os.pathsep}/usr/bin{os.pathsep}/bin"  # LiteFerry, and no Kubeflow


@pytest.fixture(scope="module")
def kubeflow() -> Any:
    spec = importlib.util.spec_from_file_location("kubeflow", PIPELINES / "kubeflow.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["kubeflow.yaml", "kubeflow_lightweight.yaml"])
def test_committed_yaml_is_what_compiles(kubeflow: Any, tmp_path: Path, name: str) -> None:
    compiler.Compiler().compile(kubeflow.PIPELINES[name], str(tmp_path / name))
    assert (tmp_path / name).read_text() == (PIPELINES / name).read_text(), "run `python pipelines/kubeflow.py` in .venv-kfp"


class Container:
    """A container step of the compiled pipeline, run here as Kubeflow would start it in its image."""

    def __init__(self, name: str, folder: Path, **given: Any) -> None:
        compiled = yaml.safe_load((PIPELINES / "kubeflow.yaml").read_text())
        container = compiled["deploymentSpec"]["executors"][f"exec-{name}"]["container"]
        outputs = compiled["components"][f"comp-{name}"].get("outputDefinitions", {})
        self.files = {each: folder / "outputs" / each for each in outputs.get("parameters", {})}
        self.artifacts = {each: folder / "artifacts" / each for each in outputs.get("artifacts", {})}
        self.metadata = folder / "executor_output.json"
        task = {
            "inputs": {"parameterValues": given},
            "outputs": {
                "parameters": {each: {"outputFile": str(path)} for each, path in self.files.items()},
                "artifacts": {
                    each: {"artifacts": [{"name": each, "uri": str(path), "metadata": {}}]}
                    for each, path in self.artifacts.items()
                },
                "outputFile": str(self.metadata),
            },
        }
        command = placeholder_utils.replace_placeholders(
            [*container["command"], *container["args"]], task, "pipeline", "task", str(folder), "id"
        )
        assert not [word for word in command[-3:] if "{{" in word], command[-3:]
        environment = {"PATH": IMAGE_PATH, "HOME": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600)


def test_container_step_when_all_are_blessed(fleet: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = {"config": str(fleet / "good.yaml"), "output": str(out), "beam_flags": ["--labels=team=orchestration"]}
    step = Container("export-fleet-container", tmp_path, **given)
    assert step.said.returncode == 0, step.said.stderr[-2000:]
    assert {name: path.read_text() for name, path in step.files.items()} == {"blessed": "2", "held": "0"}
    written = json.loads(step.metadata.read_text())
    assert written["parameterValues"] == {"blessed": 2, "held": 0}
    (metrics,) = written["artifacts"]["metrics"]["artifacts"]
    assert metrics["metadata"] == {
        "models": 2, "blessed": 2, "not_blessed": 0, "failed": 0, "blessed_float32": 2, "blessed_dynamic_int8": 2
    }  # fmt: skip
    assert metrics["uri"] == str(step.artifacts["metrics"])
    assert step.artifacts["summary"].read_text().startswith(f"2 of 2 models are blessed. Reports: {out}/index.html")
    assert (out / "index.html").is_file()

    verified = Container("verify", tmp_path, output=str(out))
    assert verified.said.returncode == 0, verified.said.stdout + verified.said.stderr

    for changed in ({"config": str(fleet / "no_such_job.yaml")}, {"beam_flags": ["--no_wait_until_finish"]}):
        folder = tmp_path / "_".join(changed)
        folder.mkdir()
        again = Container("export-fleet-container", folder, **{**given, **changed})
        assert again.said.returncode != 0, f"{changed}: yesterday's blessing"
        assert "has no fleet of this run" in again.said.stderr
        assert not again.metadata.exists() and not any(path.exists() for path in again.files.values())


def test_lightweight_step_with_a_broken_model(
    kubeflow: Any, fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))
    out = tmp_path / "out"
    task = kubeflow.export_fleet(config=str(fleet / "mixed.yaml"), output=str(out))
    assert (task.outputs["blessed"], task.outputs["held"]) == (2, 1)
    metadata = task.outputs["metrics"].metadata
    assert {name: metadata[name] for name in ("models", "blessed", "failed", "blessed_float32")} == {
        "models": 3, "blessed": 2, "failed": 1, "blessed_float32": 2
    }  # fmt: skip
    assert Path(task.outputs["summary"].path).read_text() == (
        f"2 of 3 models are blessed. Reports: {out}/index.html\n\n- `broken`: LOAD_CORRUPT\n"
    )
    reports = Run(out, None)  # type: ignore[arg-type]
    assert {name: reports.report(name)["status"] for name in reports.model_ids()} == {
        "broken": "failed", "narrow": "blessed", "wide": "blessed"
    }  # fmt: skip

    held = Container("hold", tmp_path, output=str(out))
    assert held.said.returncode == 1
    assert "LOAD_CORRUPT" in held.said.stdout
