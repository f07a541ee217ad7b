"""SIGKILL: of a child, a nursery, a Beam worker, the launcher; at random moments, and at every named step."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable

import psutil

from liteferry.sandbox import Flavor
from liteferry.sandbox.nursery import NAME_PREFIX, UNIT
from tests.campaigns.chaos.case import BrokenError, Case

_MOST_RUNS = 60  # a job that this many restarts do not finish is stuck

Victim = Callable[[subprocess.Popen[bytes], Case], "psutil.Process | None"]


def _pick(processes: list[psutil.Process], case: Case) -> psutil.Process | None:
    return case.random.choice(sorted(processes, key=lambda process: process.pid)) if processes else None


def _family(launcher: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(launcher.pid).children(recursive=True)
    return []


def _is(process: psutil.Process, words: str) -> bool:
    with contextlib.suppress(psutil.Error):
        return words in " ".join(process.cmdline())
    return False


def _name(process: psutil.Process) -> str:
    """What a nursery or a unit calls itself; "" for any other process. Not on its command line: nurseries fork nurseries."""
    with contextlib.suppress(psutil.Error, OSError):
        name = pathlib.Path(f"/proc/{process.pid}/comm").read_text(encoding="ascii").strip()
        return name.removeprefix(NAME_PREFIX) if name.startswith(NAME_PREFIX) else ""
    return ""


def nurseries(launcher: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return [process for process in _family(launcher) if flavor_of(process)]


def flavor_of(nursery: psutil.Process) -> str:
    """`keras`, `clean` or `metrics`; "" for what is no nursery."""
    return _name(nursery) if _name(nursery) in {flavor.value for flavor in Flavor} else ""


def the_launcher(launcher: subprocess.Popen[bytes], case: Case) -> psutil.Process | None:
    return psutil.Process(launcher.pid) if launcher.poll() is None else None


def a_nursery(launcher: subprocess.Popen[bytes], case: Case) -> psutil.Process | None:
    return _pick(nurseries(launcher), case)


def a_child(launcher: subprocess.Popen[bytes], case: Case) -> psutil.Process | None:
    return _pick([process for process in _family(launcher) if _name(process) == UNIT], case)


def a_worker(launcher: subprocess.Popen[bytes], case: Case) -> psutil.Process | None:
    workers = [process for process in _family(launcher) if _is(process, "sdk_worker_main") and process.name() != "sh"]
    return _pick(workers, case)


def _in_background() -> None:
    """As a shell that is no terminal's starts what has `&` behind it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def at_random(
    victim: Victim, *flags: str, count: int, pause_s: tuple[float, float], once_a_run: bool = False, in_background: bool = False
) -> Callable[[Case], None]:
    """Kills at random moments, run after run, until so many have hit a living process. `pause_s`: on a quiet machine.
    `in_background`: every second run has SIGINT ignored.
    """

    def do(case: Case) -> None:
        for number in range(_MOST_RUNS):
            if case.kills >= count:
                return
            force = ("--force",) if case.random.random() < 0.7 else ()
            launcher = case.start(*flags, *force, preexec_fn=_in_background if in_background and number % 2 else None)
            hits = 0
            while launcher.poll() is None and case.kills < count and not (once_a_run and hits):
                time.sleep(case.random.uniform(*pause_s) * case.pace)
                with contextlib.suppress(psutil.Error):
                    found = victim(launcher, case)
                    if found is not None:
                        found.kill()
                        hits += 1
                        case.kills += 1
                        case.faults += 1
            case.wait(launcher)
        raise BrokenError(f"only {case.kills} of {count} kills in {_MOST_RUNS} runs")

    return do


def at(fault: str, *arguments: str) -> Callable[[Case], None]:
    """One run for each argument, with that planted fault of `driver`; each must be made."""

    def do(case: Case) -> None:
        for argument in arguments:
            before = case.kills
            case.run("--force", fault=(fault, argument))
            if case.kills == before:
                raise BrokenError(f"{fault} {argument}: nothing was killed")

    return do


def compare(case: Case) -> None:
    """`liteferry compare` and `liteferry inspect`, killed while they work."""
    model = case.undisturbed / "models" / "narrow_0"
    reference, candidate = next(model.glob("saved_model/*")), model / "tflite" / "float32.tflite"
    for command in (
        ("compare", str(reference), str(candidate), "--samples", str(case.fleet.folder / "rows.npz")),
        ("inspect", str(case.fleet.folder / "narrow_0.keras")),
    ):
        process = case.start_command("-m", "liteferry", *command)
        deadline = time.monotonic() + 60
        while not list((case.folder / "tmp").iterdir()) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
        case.kills += 1
        case.faults += 1
