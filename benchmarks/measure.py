"""Running a side of a benchmark in processes of its own, and what that took."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
_PR_SET_CHILD_SUBREAPER = 36
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """Wall seconds, CPU seconds of a command and all that it started, and its standard output."""

    wall_s: float
    cpu_s: float
    output: str

    def json(self) -> Any:
        """The last line of the output."""
        return json.loads(self.output.splitlines()[-1])


def run(command: Sequence[str], *, accepted: Sequence[int] = (0,), components: str | None = None) -> Run:
    """Runs a command; SystemExit with the end of its errors where it fails. `components`: where another version of the
    product's code lies, to be imported in place of the installed one.
    """
    environment = {**os.environ, **_QUIET, **({"PYTHONPATH": components} if components else {})}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # few users have it, and it costs each process a second
    _adopt_orphans()
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall_s = time.monotonic() - started
    if done.returncode not in accepted:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    _bury_orphans()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall_s=wall_s, cpu_s=cpu_s, output=done.stdout)


def _adopt_orphans() -> None:
    """Lets the kernel give this process what its descendants leave behind: a nursery that another one forked outlives that one by
    a moment, and its seconds would be counted nowhere.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _bury_orphans() -> None:
    """Waits for the end of all processes that are left."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def run_script(name: str, *arguments: object) -> Run:
    """Runs a file of this folder."""
    return run([sys.executable, os.path.join(HERE, name), *map(str, arguments)])


def run_job(job: str, out: str, *flags: str, components: str | None = None) -> Run:
    """`liteferry run`; the output is that of launcher.py. Untrained weights quantise badly, and gates may say so: status 1."""
    command = [sys.executable, os.path.join(HERE, "launcher.py"), job, out, *flags]
    return run(command, accepted=(0, 1), components=components)


@contextlib.contextmanager
def folder(name: str) -> Iterator[str]:
    """A temporary folder, which goes with all that is in it."""
    path = tempfile.mkdtemp(prefix=f"liteferry-bench-{name}-")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def median(values: Iterable[float]) -> float:
    return float(statistics.median(values))
