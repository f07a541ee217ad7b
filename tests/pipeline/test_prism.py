"""Prism, Beam's portable engine: several bundles at once in one worker process, and no second try of anything.

`make test-prism` builds it and runs all of this. `make test` runs the short case where the built binary is there.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaigns.chaos import fleet
from tests.pipeline.test_runners_agree import CONFIGS, assert_equal_reports, assert_equal_runs
from tests.support import Run, arguments_of_three, liteferry
from tests.support.packages import ROOT, Environment, free_port, worker_pool

PRISM = Path(os.environ.get("LITEFERRY_PRISM") or ROOT / ".cache" / "prism" / "bin" / "prism")
IS_LANE = os.environ.get("LITEFERRY_PRISM") is not None
whole = pytest.mark.skipif(not IS_LANE, reason="a part of `make test-prism`")


@pytest.fixture(scope="module")
def prism() -> list[str]:
    """Flags that run a job on Prism, with the launcher's process as the worker."""
    if not PRISM.is_file():
        message = f"PRISM NOT BUILT: nothing was run on it ({PRISM} is not there). `make test-prism` builds it; it needs Go"
        if IS_LANE:
            pytest.fail(message)
        pytest.skip(message)
    return ["--runner_config", str(CONFIGS / "prism.yaml"), f"--prism_location={PRISM}"]


def test_prism_gives_the_same_facts(demo: Run, three: Run, prism: list[str], tmp_path: Path) -> None:
    done = liteferry(*arguments_of_three(demo), "--output", tmp_path, *prism, "--quiet")
    assert_equal_runs(Run(tmp_path, done), three)


def test_the_binary_is_of_the_beam_that_is_locked() -> None:
    (locked,) = re.findall(r"^apache-beam==(\S+)$", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    made = (ROOT / "Makefile").read_text()
    assert "sed -n 's/^apache-beam==//p' requirements.lock" in made, "the version is read, not written twice"
    if PRISM.is_file():
        said = subprocess.run(["go", "version", "-m", PRISM], capture_output=True, text=True, check=False)
        assert said.returncode != 0 or f"v{locked}" in said.stdout


@whole
def test_the_whole_demo_with_its_broken_models(demo: Run, prism: list[str], tmp_path: Path) -> None:
    job = demo.out / "fleet" / "job.yaml"
    done = liteferry("run", "--config", job, "--output", tmp_path, *prism, "--quiet")
    assert_equal_runs(Run(tmp_path, done), demo)


@whole
def test_workers_that_have_only_the_wheel(demo: Run, built: Path, prism: list[str], tmp_path: Path) -> None:
    """The launcher runs from this checkout, Prism hands the work to processes that cannot import from it."""
    (wheel,) = built.glob("*.whl")
    worker = Environment(tmp_path / "venv", wheel)
    elsewhere = tmp_path / "pool"
    elsewhere.mkdir()
    job = demo.out / "fleet" / "job.yaml"
    with worker_pool(worker, elsewhere) as (port, _):
        environment = ("--environment_type=EXTERNAL", f"--environment_config=localhost:{port}")
        done = liteferry("run", "--config", job, "--output", tmp_path / "out", *prism, "--quiet", *environment)
    log = (elsewhere / "pool.log").read_text()
    assert "Starting worker with command" in log, log + done.stderr
    assert_equal_runs(Run(tmp_path / "out", done), demo)


@whole
def test_models_that_do_their_worst_end_no_job(prism: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that leaves a DoFn would end the job with nothing of the rest, since Prism tries nothing twice."""
    _, worst = fleet.write(tmp_path / "fleets")
    out = tmp_path / "out"
    monkeypatch.setenv("LITEFERRY_CHAOS_OUT", str(out))
    run = Run(out, liteferry("run", "--config", worst.job, "--output", out, "--quiet", *prism))
    assert run.said.returncode == 1 and run.model_ids() == worst.model_ids(), run.said.stderr
    codes = {model_id: (run.report(model_id)["reason"] or {}).get("code") for model_id in run.model_ids()}
    assert {model_id: code for model_id, code in codes.items() if code not in worst.verdicts[model_id]} == {}


@pytest.fixture
def server(prism: list[str], tmp_path: Path) -> Iterator[int]:
    """The port of a Prism that outlives its launchers."""
    port = free_port()
    with open(tmp_path / "prism.log", "wb") as log:
        process = subprocess.Popen([PRISM, f"--job_port={port}", "--serve_http=false"], stdout=log, stderr=log)
    time.sleep(1)
    yield port
    process.kill()
    process.wait()


@whole
def test_a_worker_that_dies_ends_the_job_in_words_and_the_same_command_goes_on(
    demo: Run, three: Run, built: Path, server: int, tmp_path: Path
) -> None:
    (wheel,) = built.glob("*.whl")
    worker = Environment(tmp_path / "venv", wheel)
    elsewhere, out = tmp_path / "pool", tmp_path / "out"
    elsewhere.mkdir()
    portable = ["--runner_config", str(CONFIGS / "portable.yaml"), f"--job_endpoint=localhost:{server}"]
    with worker_pool(worker, elsewhere) as (port, pool):
        command = [*arguments_of_three(demo), "--output", str(out), "--quiet", "--processes", "1"]
        command += [*portable, f"--environment_config=localhost:{port}"]
        begun = subprocess.Popen([sys.executable, "-m", "liteferry", *command], stderr=subprocess.PIPE, text=True)
        while not list(out.glob("models/*/*BLESSED")):
            assert begun.poll() is None, begun.communicate()[1]
            time.sleep(0.05)
        for process in pool.children(recursive=True):
            if "SdkHarness" in " ".join(process.cmdline()):
                process.send_signal(signal.SIGKILL)
        _, told = begun.communicate(timeout=120)
        assert begun.returncode == 1, told
        assert "finished models are kept" in told and "Traceback" not in told, told
        again = Run(out, liteferry(*command))
    assert_equal_reports(again, three)


@whole
def test_a_killed_launcher_and_the_same_command_at_once_are_two_writers_that_agree(
    demo: Run, three: Run, built: Path, server: int, tmp_path: Path
) -> None:
    """The first job goes on without its launcher while the second begins: nothing of either is lost, and nothing is half done."""
    (wheel,) = built.glob("*.whl")
    worker = Environment(tmp_path / "venv", wheel)
    elsewhere, out = tmp_path / "pool", tmp_path / "out"
    elsewhere.mkdir()
    portable = ["--runner_config", str(CONFIGS / "portable.yaml"), f"--job_endpoint=localhost:{server}"]
    with worker_pool(worker, elsewhere) as (port, _):
        command = [*arguments_of_three(demo), "--output", str(out), "--quiet", "--processes", "1"]
        command += [*portable, f"--environment_config=localhost:{port}"]
        begun = subprocess.Popen([sys.executable, "-m", "liteferry", *command], stderr=subprocess.PIPE, text=True)
        while not list(out.glob(".staging/models/*/*")):
            assert begun.poll() is None, begun.communicate()[1]
            time.sleep(0.05)
        begun.kill()
        begun.communicate()
        again = liteferry(*command)
        assert "has not finished here. If it is still running, both runs take turns" in again.stderr
        assert_equal_reports(Run(out, again), three)
        ends = time.monotonic() + 120
        while list(out.glob(".staging/models/*/*")) and time.monotonic() < ends:
            time.sleep(0.5)  # the first job's workers
    assert_equal_reports(Run(out, again), three)
    last = liteferry(*arguments_of_three(demo), "--output", out, "--quiet")
    assert "nothing was left to do" in last.stdout, last.stdout + last.stderr
    assert liteferry("verify", out).returncode == 0
