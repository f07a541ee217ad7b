"""`make soak`: a thousand small checkpoints, some broken, while children and nurseries are killed: all reported, memory and pace
as they were in the beginning.

python -m tests.campaigns.soak [--models 1000] [--faults_per_minute 2] [--seed 0] [--write docs/reliability.md]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from tests.campaigns.chaos import kills
from tests.campaigns.chaos.case import Case
from tests.campaigns.chaos.fleet import Fleet
from tests.campaigns.soak import soak_fleet
from tests.support.page import replace_between

_MARKS = ("<!-- made by make soak -->", "<!-- end of the soak -->")
MOST_GROWTH_PERCENT = 1.0  # of a process's memory in 100 models
MOST_DRIFT_PERCENT = 25.0  # of the seconds a model takes, from the first half of the run to the second
_WARM_UP = 0.15  # share of the models after which figures count
_OWN_WARM_UP = 50  # models that a process has to have seen before its memory counts
_LEAST_MODELS = 150  # a nursery that was killed before is too young for a slope
_LOOK_EVERY_S = 0.5


@dataclasses.dataclass
class Watched:
    """A long-lived process: its name, and (models finished, resident bytes) each time one looked."""

    name: str
    samples: list[tuple[int, int]] = dataclasses.field(default_factory=list)

    def growth_percent(self, warm: int) -> float | None:
        """Of its mean in 100 models, by regression after the run's warm-up and its own, in which a nursery that replaces another
        imports TensorFlow; None for one that did not live long enough.
        """
        warm = max(warm, self.samples[0][0] + _OWN_WARM_UP)
        counted = np.array([sample for sample in self.samples if sample[0] >= warm], dtype=np.float64)
        if not len(counted) or counted[-1, 0] - counted[0, 0] < _LEAST_MODELS:
            return None
        slope = np.polyfit(counted[:, 0], counted[:, 1], 1)[0]
        return float(slope * 100 / counted[:, 1].mean() * 100)


class Observer:
    """Looks at the launcher and its nurseries, and at how many models are finished, until the launcher has ended."""

    def __init__(self, launcher: subprocess.Popen[bytes], out: Path) -> None:
        self._launcher, self._out = launcher, out
        self.processes: dict[int, Watched] = {}
        self.finished: list[tuple[float, int]] = []
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        self._thread.join()

    def _look_on(self) -> None:
        while self._launcher.poll() is None:
            with contextlib.suppress(psutil.Error, OSError):
                self._look()
            time.sleep(_LOOK_EVERY_S)

    def _look(self) -> None:
        models = self._out / "models"
        count = len(os.listdir(models)) if models.exists() else 0
        self.finished.append((time.monotonic() - self._started, count))
        launcher = psutil.Process(self._launcher.pid)
        nurseries = {process.pid: f"nursery ({kills.flavor_of(process)})" for process in kills.nurseries(self._launcher)}
        for pid, name in {launcher.pid: "launcher", **nurseries}.items():
            with contextlib.suppress(psutil.Error):
                resident = psutil.Process(pid).memory_info().rss
                if resident:  # 0 of one that has just ended
                    self.processes.setdefault(pid, Watched(name)).samples.append((count, resident))

    def seconds_a_model(self, first: int, last: int) -> float:
        """From when `first` models were finished to when `last` were."""
        times = [next(at for at, count in self.finished if count >= number) for number in (first, last)]
        return (times[1] - times[0]) / (last - first)


def _disturb(launcher: subprocess.Popen[bytes], case: Case, a_minute: float) -> None:
    """Kills a child, then a nursery, then a child again, at moments that are random around so many a minute."""
    victims = [kills.a_child, kills.a_child, kills.a_nursery]
    while launcher.poll() is None:
        pause = case.random.uniform(0.5, 1.5) * 60 / a_minute
        deadline = time.monotonic() + pause
        while time.monotonic() < deadline and launcher.poll() is None:
            time.sleep(0.2)
        victim = victims[case.kills % len(victims)]
        for _ in range(200):  # until there is one
            found = victim(launcher, case)
            if found is not None:
                with contextlib.suppress(psutil.Error):
                    found.kill()
                    case.kills += 1
                break
            time.sleep(0.02)


def soak(folder: Path, *, models: int, a_minute: float, seed: int) -> tuple[list[str], list[str]]:
    """The lines of the page, and the sentences of what did not hold."""
    verdicts = soak_fleet.write(folder / "fleet", models)
    of = Fleet(folder / "fleet", {name: (code,) for name, code in verdicts.items()})
    case = Case(of, folder / "case", random.Random(seed), folder / "no other run")
    launcher = case.start()
    observer = Observer(launcher, case.out)
    _disturb(launcher, case, a_minute)
    launcher.wait()
    observer.wait()
    seconds = observer.finished[-1][0]
    lines = [
        f"| models | {models} |",
        f"| of them broken | {sum(code is not None for code in verdicts.values())}, in {len(soak_fleet.BROKEN)} ways |",
    ]
    lines += [f"| processes killed | {case.kills} |", f"| minutes | {seconds / 60:.1f} |"]
    problems = []
    reported = len(list(case.out.glob("models/*/report.json")))
    lines.append(f"| reports after the run | {reported} |")
    if reported != models:
        problems.append(f"{reported} reports of {models} checkpoints")
    try:
        case.finish()
    except AssertionError as error:
        problems.append(str(error))
    lines.append(f"| every verdict as expected, `liteferry verify` | {'no' if problems else 'yes'} |")
    warm = round(models * _WARM_UP)
    for watched in sorted(observer.processes.values(), key=lambda watched: watched.name):
        growth = watched.growth_percent(warm)
        if growth is None:
            continue
        megabytes = watched.samples[-1][1] / 2**20
        lines.append(f"| memory of a {watched.name} | {megabytes:.0f} MB, {growth:+.2f} % in 100 models |")
        if growth >= MOST_GROWTH_PERCENT:
            problems.append(f"a {watched.name} grows by {growth:.2f} % in 100 models")
    half = (warm + reported) // 2
    first, second = observer.seconds_a_model(warm, half), observer.seconds_a_model(half, reported)
    lines.append(f"| seconds a model, first and second half | {first:.3f}, {second:.3f} |")
    if second > first * (1 + MOST_DRIFT_PERCENT / 100):
        problems.append(f"a model takes {second:.3f} s in the second half of the run, {first:.3f} s in the first")
    return lines, problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.soak", description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--faults_per_minute", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", metavar="FILE", help="put the figures into this file, between its markers")
    parser.add_argument("--keep", metavar="DIR", help="work in this folder and leave it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        folder = Path(arguments.keep or temporary)
        lines, problems = soak(folder, models=arguments.models, a_minute=arguments.faults_per_minute, seed=arguments.seed)
    machine = f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    told = f"Seed {arguments.seed}, {machine}, {datetime.datetime.now(tz=datetime.UTC).date()}."
    page = "\n".join([told, "", "| | |", "| --- | --- |", *lines])
    print(page)
    for problem in problems:
        print(f"BROKEN: {problem}")
    if arguments.write:
        replace_between(Path(arguments.write), _MARKS, page)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
