"""What a run writes, in others' hands: a real MLflow server with SQLite, OpenSSF's model signing, CycloneDX's own validator.
Their packages lie in an environment of their own: `make test-proof`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteferry.commands.report_pages import rebuild_pages
from liteferry.output import proofs, signing
from liteferry.plan.model_plan import ModelPlan
from tests.output.test_held_back import newer, publish
from tests.output.test_proofs import told, write_keys
from tests.output.test_publish import make_plan

PYTHON = Path(os.environ["LITEFERRY_PROOF"])
EXAMPLE = Path(__file__).resolve().parents[2] / "pipelines" / "register_in_mlflow.py"


def run(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300, check=False, cwd=cwd)


@pytest.fixture
def plan(tmp_path: Path) -> ModelPlan:
    """A blessed model in a run that has ended."""
    made = make_plan(tmp_path / "out")
    publish(made)
    rebuild_pages(made.out)
    return made


@pytest.mark.parametrize("is_signed", [True, False], ids=["signed", "unsigned"])
def test_openssf_model_signing_passes_over_the_folder_and_sees_a_change(plan: ModelPlan, tmp_path: Path, is_signed: bool) -> None:
    private, public = write_keys(tmp_path, "ecdsa")
    if is_signed:
        assert proofs.sign_all(plan.out, ["a"], signing.signer_of(private)) == []
    folder, signature = Path(plan.model_directory()), tmp_path / "a.sig"
    tool = PYTHON.with_name("model_signing")
    said = run(tool, "sign", "key", folder, "--private_key", private, "--signature", signature)
    assert said.returncode == 0, said.stderr
    verify = (tool, "verify", "key", folder, "--public_key", public, "--signature", signature)
    assert run(*verify).returncode == 0
    if is_signed:
        assert told(plan, public) == [], "its own signature is another one, and stands"
    path = folder / "tflite" / "float32.tflite"
    path.write_bytes(path.read_bytes() + b"~")
    assert run(*verify).returncode != 0


def test_the_bill_is_what_cyclonedx_takes(plan: ModelPlan) -> None:
    program = (
        "import sys; from cyclonedx.schema import SchemaVersion; from cyclonedx.validation.json import JsonStrictValidator\n"
        "found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())\n"
        "print(found); sys.exit(bool(found))"
    )
    said = run(PYTHON, "-c", program, Path(plan.model_directory()) / "model.cdx.json")
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [str(PYTHON), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", str(tmp_path / "artifacts")]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
        try:
            _wait_for(f"http://127.0.0.1:{port}", process, tmp_path / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 9)
            process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"no answer: {log.read_text()}")


def told_last(said: subprocess.CompletedProcess[str]) -> str:
    """The last line: MLflow prints links to its runs before it."""
    return said.stdout.splitlines()[-1]


def test_mlflow_has_every_blessed_model_once_with_its_files(plan: ModelPlan, server: str) -> None:
    command = (PYTHON, EXAMPLE, plan.out, "--tracking_uri", server)
    first = run(*command)
    assert (first.returncode, told_last(first)) == (0, "a version 1"), first.stderr
    assert told_last(run(*command)) == "a version 1", "a second time changes nothing"
    publish(newer(plan))
    rebuild_pages(plan.out)
    assert told_last(run(*command)) == "a version 2"
    publish(newer(plan, "sha256:worse"), difference=0.1)
    rebuild_pages(plan.out)
    assert told_last(run(*command)) == "a version 2", "of a model that is held back, the kept one"
    program = (
        "import json, sys, mlflow; client = mlflow.MlflowClient(sys.argv[1], sys.argv[1])\n"
        "version = client.get_model_version_by_alias('a', 'blessed')\n"
        "paths = [one.path for one in client.list_artifacts(version.run_id, 'model')]\n"
        "print(json.dumps([version.version, version.tags, paths]))"
    )
    version, tags, paths = json.loads(run(PYTHON, "-c", program, server).stdout)
    assert str(version) == "2"
    assert tags["checkpoint_digest"] == "sha256:newer"
    assert {"model/report.json", "model/BLESSED", "model/model_card.md", "model/a.intoto.jsonl", "model/tflite"} <= set(paths)
