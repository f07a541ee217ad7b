"""One case: an output folder, what is done to runs that write to it, and the last run that has to put everything right."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.campaigns.chaos import invariants
from tests.campaigns.chaos.fleet import Fleet

ROOT = Path(__file__).resolve().parents[3]
KILLS = "LITEFERRY_CHAOS_KILLS"
_HUNG_S = 600


class NotTriedError(Exception):
    """A fault that cannot be made on this machine."""


class BrokenError(AssertionError):
    """An invariant that did not hold, in a sentence."""


@dataclasses.dataclass
class Case:
    """`kills` counts the SIGKILLs that were really delivered to a living process, `faults` everything that was done, those
    included. `undisturbed`: the output of a run of the same fleet to which nothing was done.
    `pace`: how much longer than on a quiet machine that run took.
    """

    fleet: Fleet
    folder: Path
    random: random.Random
    undisturbed: Path
    pace: float = 1.0
    kills: int = 0
    faults: int = 0
    checks: int = 0

    def __post_init__(self) -> None:
        (self.folder / "tmp").mkdir(parents=True)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(ROOT), str(ROOT / "components")])
        own = {invariants.MARK: str(self.out), "TMPDIR": str(self.folder / "tmp"), KILLS: str(self.folder / "kills")}
        return {**os.environ, **own, "PYTHONPATH": path}

    def start(
        self, *flags: str, fault: tuple[str, str] | None = None, environment: Mapping[str, str] | None = None, **more: Any
    ) -> subprocess.Popen[bytes]:
        """Starts a run, with that planted fault of `driver`."""
        command = ["-m", "liteferry"] if fault is None else ["-m", "tests.campaigns.chaos.driver", *fault]
        return self.start_command(
            *command, "run", "--config", str(self.fleet.job), "--output", str(self.out), *flags, environment=environment, **more
        )

    def start_command(self, *command: str, environment: Mapping[str, str] | None = None, **more: Any) -> subprocess.Popen[bytes]:
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, *command],
                env={**self.environment(), **(environment or {})},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **more,
            )

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """Its exit status. Looks at what stands at final paths right after."""
        try:
            status = process.wait(_HUNG_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise BrokenError(f"the run hung for {_HUNG_S} s") from None
        if status not in (0, 1, 2, -signal.SIGKILL):
            raise BrokenError(f"a run ended with status {status}")
        self.look_for_halves()
        return status

    def run(self, *flags: str, **more: Any) -> int:
        """Starts a run and waits for its end; kills that its fault made in it are counted."""
        before = self._told_kills()
        status = self.wait(self.start(*flags, **more))
        told = self._told_kills() - before
        self.kills += told
        self.faults += told
        return status

    def _told_kills(self) -> int:
        path = self.folder / "kills"
        return len(path.read_bytes()) if path.exists() else 0

    def look_for_halves(self) -> None:
        self.checks += 1
        for sentence in invariants.halves(self.out):
            raise BrokenError(f"right after the fault: {sentence}")

    def kill_the_rest(self) -> None:
        for process in invariants.processes_of(self.out):
            with contextlib.suppress(psutil.Error):
                process.kill()

    def finish(self) -> None:
        """The same command until it ends by itself, then every invariant. Raises BrokenError with all that do not hold."""
        self.look_for_halves()
        deadline = (
            time.monotonic() + 90
        )  # what a killed run leaves ends by itself; a Beam worker that has seen nothing yet takes longest
        while invariants.processes_of(self.out) and time.monotonic() < deadline:
            time.sleep(0.2)
        for folder in (self.folder / "tmp").glob("liteferry-*"):
            os.utime(folder, (0, 0))  # as if a minute had passed since the kill
        before = invariants.finished(self.out, self.undisturbed)
        renumbered = invariants.unknown(self.out)
        status = self.wait(self.start())
        sentences = []
        if status not in (0, 1):
            sentences.append(f"the last run ended with {status}")
        again = [path for path, changed in before.items() if not path.exists() or path.stat().st_mtime_ns != changed]
        if again:
            sentences.append(
                f"finished work was done again: {', '.join(sorted(str(path.relative_to(self.out)) for path in again)[:3])}"
            )
        if "Traceback (most recent call last)" in self.log():
            sentences.append("a traceback was shown")
        sentences += invariants.broken(
            self.fleet, self.out, self.folder / "tmp", undisturbed=self.undisturbed, renumbered=renumbered
        )
        self.checks += len(invariants.NAMES)
        if sentences:
            raise BrokenError("; ".join(sentences))
