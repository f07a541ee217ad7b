"""A job submitted to Dataflow for real, to a service that takes jobs and to a storage emulator. What was staged is then executed
by workers that have nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from liteferry import storage
from tests.dataflow.service import Service, running
from tests.support import Run, facts_of
from tests.support.emulators import Bucket
from tests.support.packages import ROOT, Environment, copy_sources

GIVEN = (
    "--project=my-project",
    "--region=europe-west1",
    "--labels=team=vision",
    "--service_account_email=exporter@my-project.iam.gserviceaccount.com",
    "--subnetwork=regions/europe-west1/subnetworks/batch",
    "--network=batch",
    "--machine_type=n2-highmem-8",  # dataflow.yaml says -4
    "--max_num_workers=7",
    "--processes=2",
    "--setup_file=./setup.py",
    "--job_name=nightly-digits",
)


@dataclasses.dataclass
class Submitted:
    said: subprocess.CompletedProcess[str]
    job: dict[str, Any]
    out: str

    @property
    def pool(self) -> dict[str, Any]:
        (pool,) = self.job["environment"]["workerPools"]
        found: dict[str, Any] = pool
        return found

    def pipeline(self) -> Any:
        from apache_beam.portability.api import beam_runner_api_pb2

        return beam_runner_api_pb2.Pipeline.FromString(storage.read_bytes(self.pipeline_url))

    @property
    def pipeline_url(self) -> str:
        return str(self.job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"])


def upload(folder: Path, bucket: Bucket, prefix: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            bucket.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def submit(service: Service, bucket: Bucket, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """`liteferry run` in a checkout of its own, since Beam builds the sdist there."""
    checkout = copy_sources(folder / "checkout")
    shutil.copytree(ROOT / "runner_configs", checkout / "runner_configs")
    command = [sys.executable, "-m", "liteferry", "run", f"--config={bucket.uri}/fleet/job.yaml", f"--output={bucket.uri}/out"]
    command += ["--runner_config=runner_configs/dataflow.yaml", f"--temp_location={bucket.uri}/tmp", *GIVEN]
    command += [f"--dataflow_endpoint={service.endpoint}", "--no_auth", *more]
    # Nobody here is on Google's machines: without this word, libraries look for a minute.
    environment = {**os.environ, "NO_GCE_CHECK": "true", "CLOUDSDK_CONFIG": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, cwd=checkout, env=environment, timeout=600, check=False)


@pytest.mark.nightly
def test_a_job_is_submitted_staged_and_executed_by_workers_that_have_only_what_was_staged(
    demo: Run, gs: Bucket, tmp_path: Path
) -> None:
    upload(demo.out / "fleet", gs, "fleet")
    with running() as service:
        said = submit(service, gs, tmp_path, "--no_wait_until_finish")
        assert said.returncode == 0, said.stdout + said.stderr
        assert "nightly-digits" in json.dumps(service.jobs)
        (job,) = service.jobs
    submitted = Submitted(said, job, f"{gs.uri}/out")
    _check_job(submitted)
    _check_hints(submitted)
    worker = Environment(tmp_path / "venv", _fetch_package(submitted, tmp_path))
    _execute(submitted, worker, tmp_path)
    _check_reports(submitted, demo, gs, tmp_path)


@pytest.mark.nightly
def test_a_job_that_dataflow_gives_up_is_told_in_one_message(gs: Bucket, tmp_path: Path) -> None:
    """The launcher waits, here for a job that has failed already."""
    gs.put("fleet/job.yaml", b"models: [{checkpoints: '*.keras'}]\nvariants: [float32]\n")
    gs.put("fleet/a.keras", b"no archive")
    with running() as service:
        service.state, service.complaint = "JOB_STATE_FAILED", "Workflow failed: quota of n2 in europe-west1 exceeded"
        said = submit(service, gs, tmp_path)
    assert (said.returncode, "Traceback" in said.stderr) == (1, False), said.stderr
    assert "liteferry: DataflowRunner:" in said.stderr and "quota of n2" in said.stderr, said.stderr


def _check_job(submitted: Submitted) -> None:
    from google.cloud.dataflow import AutoscalingAlgorithm, WorkerIPAddressConfiguration

    job, pool = submitted.job, submitted.pool
    assert (job["projectId"], job["location"], job["name"]) == ("my-project", "europe-west1", "nightly-digits")
    assert job["labels"] == {"application": "liteferry", "team": "vision"}
    assert job["environment"]["serviceAccountEmail"] == "exporter@my-project.iam.gserviceaccount.com"
    assert "no_use_multiple_sdk_containers" in job["environment"]["experiments"]
    expected = {
        "machineType": "n2-highmem-8",
        "numThreadsPerWorker": 4,
        "network": "batch",
        "subnetwork": "regions/europe-west1/subnetworks/batch",
        "ipConfiguration": WorkerIPAddressConfiguration.WORKER_IP_PRIVATE.value,
        "diskSizeGb": 100,
        "numWorkers": 1,
        "autoscalingSettings": {"algorithm": AutoscalingAlgorithm.AUTOSCALING_ALGORITHM_BASIC.value, "maxNumWorkers": 7},
    }
    assert {name: pool[name] for name in expected} == expected
    assert "goes on by itself" in submitted.said.stdout and job["id"] in submitted.said.stdout


def _check_hints(submitted: Submitted) -> None:
    """2 GB for a worker and 4 GB, the demo's limit, for each of two processes; on what works on models and on nothing else."""
    components = submitted.pipeline().components
    hinted = {
        name: int(environment.resource_hints["beam:resources:min_ram_bytes:v1"])
        for name, environment in components.environments.items()
        if environment.resource_hints
    }
    assert set(hinted.values()) == {10 * 10**9}
    names = {
        transform.unique_name.split("/")[1]
        for transform in components.transforms.values()
        if transform.environment_id in hinted and "/" in transform.unique_name
    }
    assert names == {"Export", "Evaluate", "Metrics", "Publish"}


def _fetch_package(submitted: Submitted, folder: Path) -> Path:
    """The one file that was staged for workers to install: an sdist of this package."""
    from apache_beam.portability.api import beam_runner_api_pb2

    staged = {
        beam_runner_api_pb2.ArtifactUrlPayload.FromString(dependency.type_payload).url
        for environment in submitted.pipeline().components.environments.values()
        for dependency in environment.dependencies
    }
    (url,) = (url for url in staged if url.endswith(".tar.gz"))
    assert {url.rpartition("/")[2] for url in staged} <= {"workflow.tar.gz", "submission_environment_dependencies.txt"}
    package = folder / "workflow.tar.gz"
    package.write_bytes(storage.read_bytes(url))
    return package


def _execute(submitted: Submitted, worker: Environment, folder: Path) -> None:
    (folder / "pipeline.pb").write_bytes(storage.read_bytes(submitted.pipeline_url))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    found = worker.run("-c", "import liteferry; print(liteferry.__file__)", cwd=elsewhere).stdout.strip()
    assert Path(found).is_relative_to(worker.site)
    command = [sys.executable, "-m", "tests.dataflow.execute", str(folder / "pipeline.pb"), str(worker.python), str(elsewhere)]
    # This process runs the engine alone; PYTHONPATH would reach the workers as well.
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=worker.variables, timeout=800, check=False)
    assert (done.returncode, done.stdout.strip().splitlines()[-1:]) == (0, ["DONE"]), done.stdout[-2000:] + done.stderr[-6000:]


def _check_reports(submitted: Submitted, demo: Run, bucket: Bucket, folder: Path) -> None:
    names = bucket.names()
    for model_id in demo.model_ids():
        expected = demo.report(model_id)
        text = storage.read_bytes(f"{submitted.out}/models/{model_id}/report.json").decode()
        report = json.loads(text)
        assert report["checkpoint"]["uri"].startswith(f"{bucket.uri}/fleet/"), report["checkpoint"]
        here = json.loads(text.replace(f"{bucket.uri}/fleet", str(demo.out / "fleet")))
        if here["saved_model"]:  # assets/metadata.json holds the URI, and counts
            here["saved_model"]["bytes"] += len(str(demo.out / "fleet")) - len(f"{bucket.uri}/fleet")
        assert _of_the_model(here) == _of_the_model(expected), model_id
        parts = [report["saved_model"], *report["variants"].values()]
        for path in (part["path"] for part in parts if part is not None and part["path"] is not None):
            assert [name for name in names if name.startswith(f"out/models/{model_id}/{path}")], (model_id, path)
    fleet = json.loads(storage.read_bytes(f"{submitted.out}/fleet.json"))
    assert {model["model_id"] for model in fleet["models"]} == demo.model_ids()


_OF_THE_PLACE = ("recipe_digest", "export_digest")


def _of_the_model(report: Any) -> Any:
    """What two runs say of a model whose files lie elsewhere in each: all but digests of what names them."""
    if isinstance(report, dict):
        return {key: _of_the_model(value) for key, value in facts_of(report).items() if key not in _OF_THE_PLACE}
    return [_of_the_model(item) for item in report] if isinstance(report, list) else report
