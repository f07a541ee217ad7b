"""Resources that run out, storage that fails, elements that come twice or late, two runs at once."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.campaigns.chaos.case import BrokenError, Case
from tests.campaigns.chaos.shim import Shim


def planted(fault: str, *arguments: str) -> Callable[[Case], None]:
    """One run for each argument, with that fault of `driver`."""

    def do(case: Case) -> None:
        for argument in arguments:
            case.run("--force", fault=(fault, argument))
            case.faults += 1

    return do


def failing(kind: str, text: str, *times: int) -> Callable[[Case], None]:
    """One run for each number, in which so many calls fail, in whatever process."""

    def do(case: Case) -> None:
        for number in times:
            shim = Shim(case.folder, kind, text, number)
            case.run("--force", environment=shim.environment)
            if not shim.made():
                raise BrokenError(f"no {kind} of {text} has failed")
            case.faults += shim.made()

    return do


def worst_models(case: Case) -> None:
    case.run()
    case.faults += len(case.fleet.model_ids()) - 3  # two are healthy, one is cut short


def crash_in_invoke(case: Case) -> None:
    """One model's interpreter crashes: it is not blessed, its siblings are."""
    case.run(fault=("a_crash_in_invoke", "narrow_1"))
    case.faults += 1
    reports = {path.parent.name: json.loads(path.read_text()) for path in case.out.glob("models/*/report.json")}
    code = reports["narrow_1"]["saved_model"]["reason"]["code"]
    if code != "CRASHED" or any(reports[name]["status"] != "blessed" for name in ("narrow_0", "narrow_2", "wide_0")):
        raise BrokenError(
            f"narrow_1 came to {code}, the others to { {name: report['status'] for name, report in reports.items()} }"
        )
    case.run("--force")


def the_clock_jumps(case: Case) -> None:
    shim = Shim(case.folder, "clock", "-", 0)
    case.run(environment=shim.environment)
    if not shim.made():
        raise BrokenError("nobody has looked at the clock")
    case.faults += 1


def two_at_once(case: Case) -> None:
    first = case.start()
    deadline = time.monotonic() + 60
    while not (case.out / ".staging" / "lock").exists() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(2):
        status = case.wait(case.start())
        case.faults += 1
        if first.poll() is None and (status == 0 or "another run is writing here" not in case.log()):
            raise BrokenError(f"the second run ended with {status} and did not say that another one is at work")
    case.wait(first)


def few_descriptors(*limits: int) -> Callable[[Case], None]:
    def do(case: Case) -> None:
        for limit in limits:
            case.run("--force", preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
            case.faults += 1

    return do


def output_removed(case: Case) -> None:
    launcher = case.start("--force")
    deadline = time.monotonic() + 120
    while not list(case.out.glob("models/*")) and launcher.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    shutil.rmtree(case.out, ignore_errors=True)
    case.faults += 1
    case.wait(launcher)


@contextlib.contextmanager
def _mounted(folder: Path, options: str) -> Iterator[bool]:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def _size(folder: Path) -> int:
    return sum(os.path.getsize(path) + 4096 for path in folder.rglob("*") if path.is_file())


def disk_full(case: Case) -> None:
    """The output on a disk that holds two thirds of it; then what was written is moved to a larger one. Without the right to
    mount, no file may grow beyond a few kilobytes instead.
    """
    with _mounted(case.out, f"size={_size(case.undisturbed) * 2 // 3}") as is_mounted:
        if is_mounted:
            if case.run() == 0:
                raise BrokenError("the disk was not full")
            kept = case.folder / "kept"
            shutil.copytree(case.out, kept)
        else:
            case.run(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)))
        case.faults += 1
    if is_mounted:
        shutil.copytree(kept, case.out, dirs_exist_ok=True)
        shutil.rmtree(kept)


def unwritable(case: Case) -> None:
    """The output on a disk that is read only; without the right to mount, a file stands where its models belong."""
    with _mounted(case.out, "size=1m,ro") as is_mounted:
        if not is_mounted:
            (case.out / "models").write_text("in the way")
        status = case.run()
        case.faults += 1
        if not is_mounted:
            (case.out / "models").unlink()
        if status == 0:
            raise BrokenError("a run that can write nothing ended well")
    if is_mounted and "cannot be written" not in case.log():
        raise BrokenError("the run did not say that the output cannot be written")
