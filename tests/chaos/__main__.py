"""`python -m tests.chaos`: faults, then the same command again, then the invariants; the table goes into docs/reliability.md."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.chaos import fleet, invariants
from tests.chaos.fleet import Fleet
from tests.support import facts_of

ROOT = Path(__file__).resolve().parents[2]
_MOST_RUNS = 40  # a job that this many restarts do not finish is stuck


@dataclasses.dataclass
class Case:
    """One output folder with what is done to it. `kills` counts the SIGKILLs that were really delivered to a living process."""

    fleet: Fleet
    out: Path
    random: random.Random
    kills: int = 0
    faults: int = 0

    def command(self, *flags: str, fault: tuple[str, int] | None = None) -> list[str]:
        launcher = ["-m", "liteferry"] if fault is None else ["-m", "tests.chaos.driver", fault[0], str(fault[1])]
        return [sys.executable, *launcher, "run", "--config", str(self.fleet.job), "--output", str(self.out), *flags]

    def environment(self) -> dict[str, str]:
        temporary = self.out.parent / "tmp"
        temporary.mkdir(exist_ok=True)
        path = os.pathsep.join([str(ROOT), str(ROOT / "components")])
        return {**os.environ, invariants.MARK: str(self.out), "TMPDIR": str(temporary), "PYTHONPATH": path}

    def start(self, *flags: str, fault: tuple[str, int] | None = None, **more: Any) -> subprocess.Popen[str]:
        with open(self.out.parent / "log", "a", encoding="utf-8") as log:
            return subprocess.Popen(
                self.command(*flags, fault=fault),
                env=self.environment(),
                cwd=self.out.parent,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
                **more,
            )

    def run(self, *flags: str, fault: tuple[str, int] | None = None, **more: Any) -> int:
        process = self.start(*flags, fault=fault, **more)
        try:
            status = process.wait(600)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError("the run hung for ten minutes") from None
        if fault is not None:
            self.faults += 1
            self.kills += status == -signal.SIGKILL
        return status

    def finish(self) -> None:
        """The same command until it ends by itself; what was finished before stays as it is."""
        for folder in (self.out.parent / "tmp").glob("liteferry-*"):
            os.utime(folder, (0, 0))  # as if a minute had passed since the kill
        before = invariants.finished(self.out)
        status = self.run()
        assert status in (0, 1), f"the last run ended with {status}"
        again = {path: time_ns for path, time_ns in before.items() if path.exists() and path.stat().st_mtime_ns != time_ns}
        assert not again, f"finished work was done again: {sorted(map(str, again))[:3]}"


Victim = Callable[[subprocess.Popen[str], Path, random.Random], "psutil.Process | None"]


def _pick(processes: list[psutil.Process], rng: random.Random) -> psutil.Process | None:
    return rng.choice(sorted(processes, key=lambda process: process.pid)) if processes else None


def the_launcher(launcher: subprocess.Popen[str], _: Path, __: random.Random) -> psutil.Process | None:
    return psutil.Process(launcher.pid) if launcher.poll() is None else None


def a_nursery(launcher: subprocess.Popen[str], out: Path, rng: random.Random) -> psutil.Process | None:
    return _pick([process for process in invariants.processes_of(out) if _is_nursery(process)], rng)


def a_child(launcher: subprocess.Popen[str], out: Path, rng: random.Random) -> psutil.Process | None:
    nurseries = {process.pid for process in invariants.processes_of(out) if _is_nursery(process)}
    return _pick([process for process in invariants.processes_of(out) if process.ppid() in nurseries], rng)


def a_worker(launcher: subprocess.Popen[str], out: Path, rng: random.Random) -> psutil.Process | None:
    workers = [process for process in invariants.processes_of(out) if "sdk_worker_main" in " ".join(process.cmdline())]
    return _pick(workers, rng)


def _is_nursery(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        parent = process.parent()
        return "sandbox.nursery" in " ".join(process.cmdline()) and (
            parent is None or "sandbox.nursery" not in " ".join(parent.cmdline())
        )
    return False


def random_kills(victim: Victim, *flags: str, count: int) -> Callable[[Case], None]:
    """Kills at random moments, run after run, until so many have hit a living process."""

    def do(case: Case) -> None:
        for _ in range(_MOST_RUNS):
            launcher = case.start(*flags)
            while launcher.poll() is None and case.kills < count:
                time.sleep(case.random.uniform(0.5, 4.0))
                with contextlib.suppress(psutil.Error):
                    found = victim(launcher, case.out, case.random)
                    if found is not None:
                        found.kill()
                        case.kills += 1
                        case.faults += 1
            launcher.wait()
            if case.kills >= count:
                return

    return do


def step(fault: str, *numbers: int) -> Callable[[Case], None]:
    """One run for each number, with that planted fault."""

    def do(case: Case) -> None:
        for number in numbers:
            case.run("--force", fault=(fault, number))

    return do


def two_at_once(case: Case) -> None:
    first = case.start()
    time.sleep(3)
    second = case.run()
    case.faults += 1
    assert second in (0, 1, 2), f"the second run ended with {second}"
    assert first.wait(600) in (0, 1)


def out_of_descriptors(case: Case) -> None:
    case.faults += 1
    case.run(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48)))


def output_removed(case: Case) -> None:
    launcher = case.start()
    for _ in range(300):
        if list(case.out.glob("models/*")) or launcher.poll() is not None:
            break
        time.sleep(0.1)
    shutil.rmtree(case.out, ignore_errors=True)
    case.faults += 1
    launcher.wait(600)


@contextlib.contextmanager
def _mounted(folder: Path, options: str) -> Iterator[bool]:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def disk_full(case: Case) -> None:
    """The output on a disk too small for it; then what was written is moved to one that is not."""
    with _mounted(case.out, "size=400k") as is_mounted:
        if not is_mounted:
            raise NotTriedError("this user may not mount a tmpfs")
        case.run()
        case.faults += 1
        kept = case.out.parent / "kept"
        shutil.copytree(case.out, kept)
    shutil.copytree(kept, case.out, dirs_exist_ok=True)


def unwritable(case: Case) -> None:
    with _mounted(case.out, "size=1m,ro") as is_mounted:
        if not is_mounted:
            raise NotTriedError("this user may not mount a tmpfs")
        assert case.run() in (1, 2), "a run that can write nothing ended well"
        case.faults += 1


class NotTriedError(Exception):
    """A fault that cannot be made on this machine."""


def cases(scale: float) -> dict[str, Callable[[Case], None]]:
    def count(number: int) -> int:
        return max(2, round(number * scale))

    return {
        "SIGKILL of the launcher, at random": random_kills(the_launcher, count=count(50)),
        "SIGKILL of a nursery, at random": random_kills(a_nursery, count=count(40)),
        "SIGKILL of a sandbox child, at random": random_kills(a_child, count=count(50)),
        "SIGKILL of a Beam worker, at random": random_kills(
            a_worker, "--direct_running_mode=multi_processing", "--direct_num_workers=2", count=count(20)
        ),
        "SIGKILL before a report is written": step("kill_before_report", 1, 3, 5),
        "SIGKILL between report and marker": step("kill_between_report_and_marker", 1, 4, 8),
        "SIGKILL before a folder is put in place": step("kill_before_publishing", 1, 4, 8),
        "SIGKILL after a folder is put in place": step("kill_after_publishing", 1, 4, 8),
        "SIGKILL before the fleet's table": step("kill_before_the_fleet_table", 1),
        "SIGKILL within the fleet's files": step("kill_within_the_fleet_table", 0, 1, 2),
        "a write fails": step("a_write_fails", 1, 5),
        "a publication fails": step("a_publication_fails", 1, 5),
        "a checkpoint cannot be read, once": step("a_read_fails_once", 2),
        "the clock jumps by days": step("the_clock_jumps", 1),
        "two runs at once on one output": two_at_once,
        "48 file descriptors": out_of_descriptors,
        "the output is removed while it is written": output_removed,
        "the disk is full": disk_full,
        "the output cannot be written": unwritable,
        "models that do their worst": lambda case: None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the random kills, 1.0: at least 160 of them")
    parser.add_argument("--only", default="", help="cases whose name has these words")
    parser.add_argument("--write", metavar="FILE", help="put the table into this file, between its markers")
    arguments = parser.parse_args()
    failures, rows = 0, []
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        root = Path(folder)
        fleets = {bad: fleet.write(root / f"fleet_{bad}", bad=bad) for bad in (False, True)}
        undisturbed = _undisturbed(root, fleets[False])
        for number, (name, do) in enumerate(cases(arguments.scale).items()):
            if arguments.only in name:
                row = _run_case(root / str(number), name, do, fleets["worst" in name], undisturbed, arguments.seed + number)
                failures += bool(row["broken"])
                rows.append(row)
    print(f"{sum(row['kills'] for row in rows)} kills, {sum(row['faults'] for row in rows)} faults, {failures} cases broken")
    if arguments.write:
        _write_table(Path(arguments.write), rows)
    return 1 if failures else 0


def _undisturbed(root: Path, healthy: Fleet) -> dict[str, Any]:
    case = Case(healthy, root / "undisturbed" / "out", random.Random(0))
    case.out.parent.mkdir()
    assert case.run() == 0, (case.out.parent / "log").read_text()
    return {path.parent.name: facts_of(json.loads(path.read_text())) for path in case.out.glob("models/*/report.json")}


def _run_case(
    folder: Path, name: str, do: Callable[[Case], None], of: Fleet, undisturbed: dict[str, Any], seed: int
) -> dict[str, Any]:
    case = Case(of, folder / "out", random.Random(seed))
    folder.mkdir()
    started = time.monotonic()
    try:
        do(case)
        case.finish()
        sentences = invariants.broken(of, case.out, undisturbed={} if "worst" in name else undisturbed)
    except NotTriedError as why:
        print(f"skipped: {name}: {why}", flush=True)
        return {"name": name, "kills": 0, "faults": 0, "broken": [], "skipped": str(why), "seconds": 0}
    except AssertionError as error:
        sentences = [str(error)]
    for process in invariants.processes_of(case.out):
        process.kill()
    seconds = round(time.monotonic() - started)
    print(f"{'BROKEN' if sentences else 'held'}: {name}: {case.kills} kills, {case.faults} faults, {seconds} s", flush=True)
    for sentence in sentences:
        print(f"    {sentence}", flush=True)
    if sentences:
        print("    " + "\n    ".join((folder / "log").read_text().splitlines()[-15:]), flush=True)
    return {"name": name, "kills": case.kills, "faults": case.faults, "broken": sentences, "skipped": None, "seconds": seconds}


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    begin, end = "<!-- made by make chaos -->", "<!-- end -->"
    lines = ["| fault | times | invariants |", "| --- | --- | --- |"]
    for row in rows:
        held = f"not tried: {row['skipped']}" if row["skipped"] else "broken" if row["broken"] else "held"
        lines.append(f"| {row['name']} | {max(row['faults'], 1) if not row['skipped'] else 0} | {held} |")
    kills = sum(row["kills"] for row in rows)
    table = "\n".join([begin, "", *lines, "", f"{kills} processes were killed.", "", end])
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    path.write_text(head + table + tail, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
