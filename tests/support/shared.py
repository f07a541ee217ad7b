"""What is made once for the whole test run, also where pytest's workers are several processes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import Run


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name`, filled by the first process that asks for it; the others wait, then find it.

    `LITEFERRY_KEPT=DIR` keeps these folders there for later test runs: quick while you write a test, and blind to changes of what
    made them.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # each worker has a folder of its own in the test run's
    if kept := os.environ.get("LITEFERRY_KEPT"):
        root = Path(kept)
        root.mkdir(parents=True, exist_ok=True)
    folder, done = root / name, root / f"{name}.done"
    with open(root / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder


def run_once(tmp_path_factory: pytest.TempPathFactory, name: str, run: Callable[[Path], subprocess.CompletedProcess[str]]) -> Run:
    """The same for a run of the command: its folder OUT, and what it said."""

    def make(folder: Path) -> None:
        said = run(folder / "out")
        words = {"args": said.args, "returncode": said.returncode, "stdout": said.stdout, "stderr": said.stderr}
        (folder / "said.json").write_text(json.dumps(words, default=str))

    folder = made_once(tmp_path_factory, name, make)
    return Run(folder / "out", subprocess.CompletedProcess(**json.loads((folder / "said.json").read_text())))
