"""One job, several runners: the reports are equal in every fact, whoever ran the work and whatever happened to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packages import ROOT, Environment, worker_pool
from tests.support import Run, facts_of, liteferry

CONFIGS = ROOT / "runner_configs"


def assert_equal_facts(found: Run, expected: Run) -> None:
    """Both runs have a report for the same models, and each pair is equal but for times, memory and digests of files."""
    assert found.model_ids() == expected.model_ids() != set(), found.said.stderr
    for model_id in expected.model_ids():
        assert facts_of(found.report(model_id)) == facts_of(expected.report(model_id)), model_id
    assert found.said.returncode == expected.said.returncode, found.said.stderr


@pytest.fixture(scope="module")
def worker(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and nothing else of ours."""
    (wheel,) = built.glob("*.whl")
    return Environment(tmp_path_factory.mktemp("worker") / "venv", wheel)


def test_the_workers_environment_has_the_wheel_and_not_this_checkout(worker: Environment, tmp_path: Path) -> None:
    said = worker.run("-c", "import sys, liteferry; print(liteferry.__file__); print(*sys.path, sep='\\n')", cwd=tmp_path)
    found, *path = said.stdout.splitlines()
    assert Path(found).is_relative_to(worker.site), said.stdout + said.stderr
    assert not [entry for entry in path if Path(entry).is_relative_to(ROOT) and ".venv" not in Path(entry).parts]


@pytest.mark.slow
def test_two_worker_processes_give_the_same_facts_as_one(demo: Run, tmp_path: Path) -> None:
    config = CONFIGS / "direct_multiprocess.yaml"
    job = demo.out / "fleet" / "job.yaml"
    done = liteferry("run", "--config", job, "--output", tmp_path, "--runner_config", config, "--processes", "1", "--quiet")
    assert_equal_facts(Run(tmp_path, done), demo)


@pytest.mark.slow
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
    assert_equal_facts(Run(tmp_path / "out", done), demo)
