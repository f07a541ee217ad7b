"""A Flink cluster of two hosts, by the commands of docs/cluster.md; and jobs on it, where Beam's job server for Flink is at hand.

`make test-flink` runs this. The cluster part needs root, for hosts of their own, and a JDK; the jobs need
BEAM_FLINK_JOB_SERVER_JAR as well.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.flink.cluster import JAR, REST, Cluster, as_text, rest, wait
from tests.flink.hosts import Hosts, problem
from tests.pipeline.test_runners_agree import CONFIGS, assert_equal_reports, assert_equal_runs
from tests.support import Run, liteferry
from tests.support.packages import ROOT, Environment

FLINK = os.environ.get("LITEFERRY_FLINK")
pytestmark = pytest.mark.skipif(FLINK is None, reason="`make test-flink` starts a Flink cluster")
jobs = pytest.mark.skipif(
    JAR is None, reason="no job was run on Flink: name Beam's job server for Flink 1.20 in BEAM_FLINK_JOB_SERVER_JAR"
)


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    missing = problem() or (None if shutil.which("java") else "Flink needs a JDK 17 (Debian: apt-get install openjdk-17-jdk)")
    if missing:
        pytest.fail(missing)
    with Hosts(2) as made:
        yield made


def test_the_cluster_of_the_page_starts_has_its_settings_and_ends(hosts: Hosts, tmp_path: Path) -> None:
    with Cluster(Path(str(FLINK)), tmp_path, hosts) as cluster:
        managers = wait("both hosts are in the cluster", lambda: len(cluster.task_managers()) == 2 and cluster.task_managers())
        assert {one["slotsNumber"] for one in managers} == {1}
        addresses = {hosts.address(name) for name in hosts.names}
        assert {one["path"].partition("@")[2].partition(":")[0] for one in managers} == addresses, "each says where it is"
        told = {one["key"]: one["value"] for one in rest("/jobmanager/config")}
        settings = yaml.safe_load((ROOT / "pipelines" / "flink" / "config.yaml").read_text())
        given = {key: as_text(value) for key, value in settings.items() if not key.startswith(("jobmanager.rpc.address", "env."))}
        assert {key: told.get(key) for key in given} == given
        first, second = hosts.names
        cluster.kill(f"taskmanager-{first}")
        wait("a killed host is given up", lambda: len(cluster.task_managers()) == 1)
        cluster.start_task_manager(first)
        wait("and comes back", lambda: len(cluster.task_managers()) == 2)
        hosts.cut(second, is_cut=True)
        wait("a host that cannot be reached is given up", lambda: len(cluster.task_managers()) == 1)
        hosts.cut(second, is_cut=False)
        wait("and comes back by itself or started again", lambda: len(cluster.task_managers()) == 2 or _again(cluster, second))
        assert cluster.end("jobmanager") in (0, 143, -15), cluster.log("jobmanager")


def _again(cluster: Cluster, host: str) -> bool:
    """A task manager that has been alone for too long ends itself."""
    if cluster.has_ended(f"taskmanager-{host}"):
        cluster.start_task_manager(host)
    return False


@pytest.fixture(scope="module")
def worker(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    (wheel,) = built.glob("*.whl")
    return Environment(tmp_path_factory.mktemp("worker") / "venv", wheel)


@pytest.fixture
def cluster(hosts: Hosts, worker: Environment, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with workers that have the wheel alone."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with Cluster(Path(str(FLINK)), folder, hosts, worker.variables) as made:
        wait("both hosts are in the cluster", lambda: len(made.task_managers()) == 2)
        yield made


def command_of(demo: Run, out: Path) -> list[str]:
    flink = ["--runner_config", str(CONFIGS / "flink.yaml"), f"--flink_master={REST}", f"--flink_job_server_jar={JAR}"]
    return ["run", "--config", str(demo.out / "fleet" / "job.yaml"), "--output", str(out), "--quiet", "--processes", "1", *flink]


def begun(demo: Run, out: Path, *, reports: int = 2) -> subprocess.Popen[str]:
    """A run on the cluster that has published some models and not all."""
    command = [sys.executable, "-m", "liteferry", *command_of(demo, out)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait("some models are published", lambda: len(list(out.glob("models/*/*BLESSED"))) >= reports or run.poll(), seconds=300)
    assert run.poll() is None, run.communicate()
    return run


def ended(run: subprocess.Popen[str], out: Path) -> Run:
    said = run.communicate(timeout=600)
    return Run(out, subprocess.CompletedProcess(run.args, run.returncode, *said))


@jobs
def test_the_facts_are_those_of_a_local_run(demo: Run, cluster: Cluster, tmp_path: Path) -> None:
    assert_equal_runs(Run(tmp_path / "out", liteferry(*command_of(demo, tmp_path / "out"))), demo)


def a_task_manager(cluster: Cluster) -> None:
    host = cluster.hosts.names[0]
    cluster.kill(f"taskmanager-{host}")
    cluster.kill(f"pool-{host}")
    cluster.start_task_manager(host)
    cluster.start_pool(host)


def a_worker(cluster: Cluster) -> None:
    host = cluster.hosts.names[0]
    cluster.kill(f"pool-{host}")
    cluster.start_pool(host)


def a_link(cluster: Cluster) -> None:
    host = cluster.hosts.names[1]
    cluster.hosts.cut(host, is_cut=True)

    def join_again() -> None:
        time.sleep(35)
        cluster.hosts.cut(host, is_cut=False)

    threading.Thread(target=join_again).start()


@jobs
@pytest.mark.parametrize("harm", [a_task_manager, a_worker, a_link])
def test_a_fault_changes_no_fact(demo: Run, cluster: Cluster, tmp_path: Path, harm: Callable[[Cluster], None]) -> None:
    """Elements that were done when it happened are done twice."""
    out = tmp_path / "out"
    run = begun(demo, out)
    harm(cluster)
    assert_equal_runs(ended(run, out), demo)


@jobs
def test_a_lost_job_server_is_said_and_the_job_goes_on(demo: Run, cluster: Cluster, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = begun(demo, out)
    subprocess.run(["pkill", "-KILL", "-P", str(run.pid), "java"], check=True)
    said = ended(run, out).said
    assert said.returncode == 1 and "may still be running" in said.stderr and "Traceback" not in said.stderr, said.stderr
    wait("the job ends by itself", lambda: cluster.jobs("FINISHED"), seconds=600)
    assert_equal_reports(Run(out, said), demo)
    again = liteferry(*command_of(demo, out))
    assert "nothing was left to do" in again.stdout, again.stdout + again.stderr


@jobs
def test_a_cancelled_job_goes_on_with_the_same_command(demo: Run, cluster: Cluster, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = begun(demo, out)
    (job,) = cluster.jobs("RUNNING")
    rest(f"/jobs/{job}?mode=cancel", method="PATCH")
    assert ended(run, out).said.returncode == 1
    assert_equal_runs(Run(out, liteferry(*command_of(demo, out))), demo)


@jobs
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_launcher_that_is_asked_to_end_stops_its_job(demo: Run, cluster: Cluster, tmp_path: Path, number: int) -> None:
    out = tmp_path / "out"
    run = begun(demo, out)
    run.send_signal(number)
    said = ended(run, out).said
    assert "was cancelled" in said.stderr, said.stderr
    wait("the job is cancelled", lambda: cluster.jobs("CANCELED") and not cluster.jobs("RUNNING"))
    assert_equal_runs(Run(out, liteferry(*command_of(demo, out))), demo)


@jobs
def test_two_jobs_on_one_output_at_once(demo: Run, cluster: Cluster, tmp_path: Path) -> None:
    """A launcher is killed while its job goes on, and the same command is given again at once."""
    out = tmp_path / "out"
    run = begun(demo, out)
    run.kill()
    run.communicate()
    again = liteferry(*command_of(demo, out))
    wait("both jobs have ended", lambda: not cluster.jobs("RUNNING"), seconds=600)
    assert_equal_runs(Run(out, again), demo)
