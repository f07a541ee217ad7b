"""A Flink cluster of two hosts, started by the commands of docs/cluster.md."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.flink.hosts import GATEWAY, Hosts
from tests.support.packages import ROOT

JAR = os.environ.get("BEAM_FLINK_JOB_SERVER_JAR")
REST = f"http://{GATEWAY}:8081"


def commands_of_the_page() -> list[str]:
    """The lines of the page's command blocks, in order."""
    blocks = re.findall(r"^```text\n(.*?)^```", (ROOT / "docs" / "cluster.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line]


def command(beginning: str, **names: str) -> list[str]:
    """The words of the page's command that begins so, with `names` in place of the page's."""
    (line,) = [line for line in commands_of_the_page() if line.startswith(beginning)]
    for name, value in names.items():
        line = line.replace(name.replace("_", "-"), value)
    return line.split()


def as_text(value: object) -> str:
    """A setting as Flink writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def wait(what: str, holds: Callable[[], Any], *, seconds: float = 60) -> Any:
    """What `holds` gives, once that is true."""
    ends = time.monotonic() + seconds
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < ends, f"not within {seconds:g} s: {what}"
        time.sleep(0.2)


def rest(path: str, *, method: str = "GET") -> Any:
    """An answer of Flink's REST interface; {} while there is none."""
    try:
        request = urllib.request.Request(f"{REST}{path}", method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read() or b"{}")
    except OSError:
        return {}


class Cluster:
    """One job manager on this machine, and on each host a task manager and a pool of workers. A context."""

    def __init__(self, home: Path, logs: Path, hosts: Hosts, worker: dict[str, str] | None = None) -> None:
        self._home, self._logs, self.hosts, self._worker = home, logs, hosts, worker
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Cluster:
        self._start("jobmanager", command("pipelines/flink/flink.sh jobmanager", flink_jm=GATEWAY))
        wait("the job manager answers", lambda: rest("/overview"))
        for host in self.hosts.names:
            self.start_task_manager(host)
            if self._worker is not None:
                self.start_pool(host)
        return self

    def start_task_manager(self, host: str) -> None:
        words = command("pipelines/flink/flink.sh taskmanager", flink_jm=GATEWAY, flink_1=self.hosts.address(host))
        self._start(f"taskmanager-{host}", self.hosts.on(host, words))

    def start_pool(self, host: str) -> None:
        words = command("python -m apache_beam.runners.worker.worker_pool_main")
        folder = self._logs / f"pool-{host}"
        folder.mkdir(exist_ok=True)
        self._start(f"pool-{host}", self.hosts.on(host, words), cwd=folder, variables=self._worker)

    def _start(self, name: str, words: list[str], *, cwd: Path = ROOT, variables: dict[str, str] | None = None) -> None:
        given = {**(variables or os.environ), "FLINK_HOME": str(self._home)}
        with open(self._logs / f"{name}.log", "ab") as log:
            self._processes[name] = subprocess.Popen(words, cwd=cwd, env=given, stdout=log, stderr=log, start_new_session=True)

    def task_managers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = rest("/taskmanagers").get("taskmanagers", [])
        return found

    def jobs(self, state: str) -> list[str]:
        return [job["jid"] for job in rest("/jobs/overview").get("jobs", []) if job["state"] == state]

    def kill(self, name: str) -> None:
        """Kills a process of the cluster with all that it started."""
        process = self._processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self, name: str) -> int:
        """Asks a process to end, and says with which status it did."""
        process = self._processes.pop(name)
        process.terminate()
        return process.wait(timeout=30)

    def has_ended(self, name: str) -> bool:
        """Whether a process has ended by itself."""
        return self._processes[name].poll() is not None

    def log(self, name: str) -> str:
        return (self._logs / f"{name}.log").read_text(errors="replace")

    def __exit__(self, *_: object) -> None:
        for name in list(self._processes):
            if self._processes[name].poll() is None:
                self.kill(name)
