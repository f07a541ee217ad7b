"""Twenty nights on one OUT: checkpoints appear, vanish, break and come back, gates change, runs are killed, libraries are new.

After each night every model that was blessed the day before, and has no better successor, is there byte for byte, unless a judge
took the blessing back and says so. The models are synthetic; looking, judging, publishing and the fleet's files are real.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteferry.commands.verify import verify
from liteferry.output import fleet_files, held_back
from liteferry.output.model_folder import scan
from liteferry.plan.model_plan import ModelPlan
from liteferry.report import environment
from tests.output.test_held_back import bytes_of, publish
from tests.output.test_publish import make_plan

NIGHTS = 20
LOOSE = {"saved_model": {"max_rel": 0.1}, "float32": {"max_rel": 0.1}}
STRICT: dict[str, dict[str, float]] = {}
EXACT, NEAR, FAR = 0.0, 0.02, 1.0
"""How far a checkpoint's files are off: within every gate, within loose ones, within none."""


@dataclasses.dataclass
class Checkpoint:
    """What lies in the checkpoints' folder: its bytes' digest, and how far the files are off that are made of it."""

    digest: str
    difference: float


class Fleet:
    """A folder of checkpoints, a job with gates, an installation, and the OUT that all nights share."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.plan = make_plan(folder / "out")
        self.out = folder / "out"
        self.checkpoints = {f"m{number}": self._fresh(EXACT) for number in range(5)}
        self.gates = LOOSE
        self.tensorflow = 1
        self.expected_roster: set[str] = set()

    def _fresh(self, difference: float) -> Checkpoint:
        return Checkpoint(digest=f"sha256:{self.random.getrandbits(64):016x}", difference=difference)

    def day(self, night: int) -> None:
        """What people do between two nights."""
        names = sorted(self.checkpoints)
        for name in self.random.sample(names, 2):
            self.checkpoints[name] = self._fresh(self.random.choice([EXACT, NEAR, FAR, FAR]))
        if night % 4 == 1:
            self.checkpoints[f"new{night}"] = self._fresh(self.random.choice([EXACT, FAR]))
        if night % 5 == 2:
            del self.checkpoints[self.random.choice(names)]
        if night % 5 == 4 and "m0" not in self.checkpoints:
            self.checkpoints["m0"] = self._fresh(EXACT)
        if night % 6 == 3:
            self.gates = STRICT if self.gates is LOOSE else LOOSE
        if night % 7 == 5:
            self.tensorflow += 1

    def plans(self) -> Iterator[tuple[ModelPlan, float]]:
        for name, checkpoint in sorted(self.checkpoints.items()):
            plan = dataclasses.replace(
                self.plan,
                model_id=name,
                uri=f"/checkpoints/{name}.keras",
                digest=checkpoint.digest,
                gates=self.gates,
                recipe_digest=f"sha256:{json.dumps(self.gates)}",
            )
            yield plan, checkpoint.difference

    def run(self, run_id: str) -> dict[str, Any]:
        """One run to its end: every model, then the fleet's files."""
        return dict(
            fleet_files.write([publish(plan, difference=difference) for plan, difference in self.plans()], str(self.out), run_id)
        )

    def killed_run(self, run_id: str, seconds: float) -> None:
        """A run that is killed on the way."""
        process = multiprocessing.get_context("fork").Process(target=self.run, args=(run_id,))
        process.start()
        time.sleep(seconds)
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()

    def blessed(self) -> dict[str, dict[str, str]]:
        """model_id -> digests of all bytes of its folder, of those that are blessed and whole."""
        folders = sorted((self.out / "models").iterdir()) if (self.out / "models").exists() else []
        return {path.name: bytes_of(str(path)) for path in folders if held_back.blessed_report(scan(str(path)))}


class Reader:
    """Looks at blessed models all the time: as a server at its base path, and as who takes a blessed file."""

    def __init__(self, out: Path) -> None:
        self.watched: dict[str, None] = {}
        self.missed: list[str] = []
        self.looks = 0
        self._out = out
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._stop.is_set():
            for name in list(self.watched):
                self.looks += 1
                folder = self._out / "models" / name
                if not _seen(folder, "BLESSED") and name in self.watched:
                    self.missed.append(f"{name} has no marker")
                if not _seen(folder, "saved_model/[0-9]*/saved_model.pb") and name in self.watched:
                    self.missed.append(f"{name} has no version to serve")
            time.sleep(0.002)


def _seen(folder: Path, pattern: str) -> bool:
    """Whether the folder has such a file. A look takes several system calls: one that finds nothing counts only if the folder was
    the same one before and after it.
    """

    def state() -> object:
        try:
            return folder.stat().st_ino, folder.stat().st_ctime_ns, sorted(os.listdir(folder / "saved_model"))
        except FileNotFoundError:
            return None

    while True:
        before = state()
        if any(folder.glob(pattern)):
            return True
        if state() == before:
            return False


def _nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> dict[str, int]:
    """Runs all nights and holds every promise against what lies there. Returns how often each thing happened."""
    found = Fleet(tmp_path, seed)
    real = environment.environment()
    monkeypatch.setattr(environment, "environment", lambda: {**real, "tensorflow": f"2.{found.tensorflow}"})
    monkeypatch.setattr("liteferry.report.model_report.environment", lambda: {**real, "tensorflow": f"2.{found.tensorflow}"})
    seen = {"kept": 0, "replaced": 0, "taken back": 0, "held back": 0, "upgraded": 0, "gone": 0, "new": 0}
    roster: set[str] = set()
    with Reader(found.out) as reader:
        for night in range(NIGHTS):
            before = found.blessed()
            if night:
                found.day(night)
            _forget_what_may_be_taken_back(reader, found)
            if night % 3 == 2:
                found.killed_run(f"killed {night}", 0.03 * (night % 5))
                _holds(before, found, seen)
            facts = found.run(f"run {night}")
            _holds(before, found, seen)
            _tells(facts, found, roster, seen)
            roster = set(found.checkpoints)
            reader.watched |= dict.fromkeys(found.blessed())
    assert reader.missed == []
    assert reader.looks > NIGHTS
    problems = verify(str(found.out), processes=1, with_rows=False).problems
    # What the killed runs left: the launcher clears it before the next run, and there is none here.
    assert [sentence for who, sentence in problems if who is None and "the next run removes it" not in sentence] == []
    return seen


def _forget_what_may_be_taken_back(reader: Reader, found: Fleet) -> None:
    """A stricter gate may end a blessing: such models are not held to be there without a break."""
    if found.gates is STRICT:
        reader.watched.clear()


def _holds(before: dict[str, dict[str, str]], found: Fleet, seen: dict[str, int]) -> None:
    after = found.blessed()
    for name, files in before.items():
        if after.get(name) == files:
            seen["kept"] += 1
        elif name in after:
            seen["replaced"] += 1
        else:
            report = scan(str(found.out / "models" / name)).published_report()
            assert report, f"{name} was blessed, and there is nothing now"
            assert report["takes_back"]["why"], f"{name} was blessed, and nobody says why it is not"
            seen["taken back"] += 1


def _tells(facts: dict[str, Any], found: Fleet, roster: set[str], seen: dict[str, int]) -> None:
    now = {model["model_id"]: model for model in facts["models"]}
    assert set(now) == set(found.checkpoints)
    shipped = found.blessed()
    for name, model in now.items():
        if model["held_back"]:
            seen["held back"] += 1
            assert model["status"] == "not_blessed"
            assert name in shipped
            assert (found.out / model["held_back"]["kept"]["saved_model"]["path"]).is_dir()
        else:
            assert (model["status"] == "blessed") == (name in shipped)
            assert not (found.out / "attempts" / name).exists()
    if not roster:
        assert facts["changes"] is None
        return
    changes = facts["changes"]
    assert {entry["model_id"] for entry in changes["new"]} == set(now) - roster
    assert {entry["model_id"] for entry in changes["gone"]} == roster - set(now)
    seen["new"] += len(changes["new"])
    seen["gone"] += len(changes["gone"])
    seen["upgraded"] += len(changes["libraries"])


def test_twenty_nights_on_one_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _nights(tmp_path, monkeypatch, seed=0)
    assert all(seen.values()), f"some of it never happened: {seen}"


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(1, 9))
def test_twenty_other_nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    seen = _nights(tmp_path, monkeypatch, seed=seed)
    assert seen["kept"] and seen["replaced"] and seen["held back"]
