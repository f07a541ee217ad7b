"""One job, several runners: the reports are equal in every fact, whoever ran the work and whatever happened to them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import Run, arguments_of_three, facts_of, liteferry
from tests.support.packages import ROOT, Environment, worker_pool

CONFIGS = ROOT / "runner_configs"


def assert_equal_reports(found: Run, expected: Run) -> None:
    """Both runs have a report for the same models, and each pair is equal but for times, memory and digests of files."""
    assert found.model_ids() == expected.model_ids() != set(), found.said.stderr
    for model_id in expected.model_ids():
        assert facts_of(found.report(model_id)) == facts_of(expected.report(model_id)), model_id


def assert_equal_runs(found: Run, expected: Run) -> None:
    assert_equal_reports(found, expected)
    assert found.said.returncode == expected.said.returncode == 1, found.said.stderr


@pytest.fixture(scope="module")
def worker(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and nothing else of ours."""
    (wheel,) = built.glob("*.whl")
    return Environment(tmp_path_factory.mktemp("worker") / "venv", wheel)


@pytest.mark.nightly
def test_the_workers_environment_has_the_wheel_and_not_this_checkout(worker: Environment, tmp_path: Path) -> None:
    said = worker.run("-c", "import sys, liteferry; print(liteferry.__file__); print(*sys.path, sep='\\n')", cwd=tmp_path)
    found, *path = said.stdout.splitlines()
    assert Path(found).is_relative_to(worker.site), said.stdout + said.stderr
    assert not [entry for entry in path if Path(entry).is_relative_to(ROOT) and ".venv" not in Path(entry).parts]


def test_two_worker_processes_give_the_same_facts_as_one(demo: Run, three: Run, tmp_path: Path) -> None:
    config = CONFIGS / "direct_multiprocess.yaml"
    done = liteferry(*arguments_of_three(demo), "--output", tmp_path, "--runner_config", config, "--processes", "1", "--quiet")
    assert_equal_runs(Run(tmp_path, done), three)


@pytest.mark.nightly
def test_a_pool_of_workers_that_have_only_the_wheel_gives_the_same_facts(demo: Run, worker: Environment, tmp_path: Path) -> None:
    """The launcher runs from this checkout, the work in processes that cannot import from it."""
    elsewhere = tmp_path / "pool"
    elsewhere.mkdir()
    job = demo.out / "fleet" / "job.yaml"
    with worker_pool(worker, elsewhere) as (port, _):
        done = liteferry(
            *("run", "--config", job, "--output", tmp_path / "out", "--quiet"),
            *("--runner_config", CONFIGS / "portable.yaml", f"--environment_config=localhost:{port}"),
        )
    log = (elsewhere / "pool.log").read_text()
    assert "Starting worker with command" in log, log + done.stderr
    assert_equal_runs(Run(tmp_path / "out", done), demo)


@pytest.mark.nightly
def test_a_worker_that_dies_under_an_engine_that_retries_changes_no_report(demo: Run, tmp_path: Path) -> None:
    """What the dead worker had published, had half done and had not begun is done by the next one."""
    for name in ("cnn", "cnn_augmented", "mlp", "broken_truncated"):
        shutil.copy(demo.out / "fleet" / "checkpoints" / f"{name}.keras", tmp_path)
    job, samples = tmp_path / "job.yaml", demo.out / "fleet" / "digits.parquet"
    job.write_text(
        "models: [{checkpoints: '*.keras', samples: digits}]\nvariants: [float32]\n"
        f"samples: {{digits: {{path: {samples}, inputs: {{image: image}}, label: label, id: id}}}}\n"
    )
    once = Run(tmp_path / "once", liteferry("run", "--config", job, "--output", tmp_path / "once", "--quiet"))
    command = [sys.executable, "-m", "tests.pipeline.retrying_engine", str(job), str(tmp_path / "again")]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    again = Run(tmp_path / "again", said)
    assert said.returncode == 0, said.stdout + said.stderr
    assert re.search(r"^killed 1 worker with [1-3] of 4 reports there$", said.stdout, flags=re.MULTILINE), (
        said.stdout + said.stderr
    )
    assert_equal_reports(again, once)
