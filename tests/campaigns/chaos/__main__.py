"""`python -m tests.campaigns.chaos`: faults made for real, then the same command again, then the invariants.

The table goes into docs/reliability.md with --write.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.campaigns.chaos import invariants
from tests.campaigns.chaos.cases import Fault, Grounds, Result, faults
from tests.support.page import replace_between

_MARKS = ("<!-- made by make chaos -->", "<!-- end -->")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the random kills, 1.0: 160 of them")
    parser.add_argument("--only", default="", help="cases whose name or group has these words; several: split by |")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    parser.add_argument("--minutes", type=float, default=90, help="cases not begun by then are not tried, and the table says so")
    parser.add_argument("--keep", metavar="DIR", help="work in this folder and leave it")
    parser.add_argument("--results", metavar="FILE", help="keep results here; cases that held before are not tried again")
    parser.add_argument("--write", metavar="FILE", help="put the table into this file, between its markers")
    arguments = parser.parse_args()
    wanted = arguments.only.split("|")
    everything = faults(arguments.scale)
    chosen = [fault for fault in everything if any(words in f"{fault.group}: {fault.name}" for words in wanted)]
    known = _known(arguments.results)
    started = time.monotonic()
    deadline = started + arguments.minutes * 60
    seeds = {fault.name: arguments.seed + number for number, fault in enumerate(everything)}  # the same with --only
    todo = [(fault, seeds[fault.name]) for fault in chosen if fault.name not in known]
    new: dict[str, Result] = {}
    if todo and time.monotonic() < deadline:
        with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
            grounds = Grounds(Path(arguments.keep or temporary))
            with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
                running = [pool.submit(_try_out, grounds, *case, arguments.results, deadline) for case in todo]
                new = {result.fault.name: result for result in (future.result() for future in running)}
    results = [new.get(fault.name) or _result(fault, known.get(fault.name)) for fault in chosen]
    broken = [result for result in results if result.broken]
    kills, made = sum(result.kills for result in results), sum(result.faults for result in results)
    minutes = sum(result.seconds for result in results) / 60 / arguments.jobs if known else (time.monotonic() - started) / 60
    print(f"{len(results)} cases, {made} faults, {kills} of them kills, {minutes:.0f} minutes: {len(broken)} cases broken")
    if arguments.write:
        replace_between(Path(arguments.write), _MARKS, _page(results, seed=arguments.seed, minutes=minutes))
    return 1 if broken else 0


_KEPT = ("kills", "faults", "checks", "seconds")


def _known(path: str | None) -> dict[str, dict[str, Any]]:
    """What earlier runs have kept of the cases that held."""
    lines = Path(path).read_text().splitlines() if path and Path(path).exists() else []
    return {kept.pop("name"): kept for kept in map(json.loads, lines)}


def _result(fault: Fault, kept: dict[str, Any] | None) -> Result:
    return Result(fault, **kept) if kept else Result(fault, 0, 0, 0, 0.0, skipped="the time was up")


def _try_out(grounds: Grounds, fault: Fault, seed: int, results: str | None, deadline: float) -> Result:
    if time.monotonic() > deadline:
        return _result(fault, None)
    result = grounds.try_out(fault, seed=seed)
    if results and not result.broken and not result.skipped:
        with open(results, "a", encoding="utf-8") as file:
            file.write(json.dumps({"name": fault.name, **{name: getattr(result, name) for name in _KEPT}}) + "\n")
    verdict = f"skipped: {result.skipped}" if result.skipped else "BROKEN" if result.broken else "held"
    print(f"{verdict}: {result.fault.name}: {result.faults} faults, {result.kills} kills, {result.seconds:.0f} s", flush=True)
    if result.broken:
        print(f"    {result.broken}\n    " + "\n    ".join(result.log.splitlines()[-25:]), flush=True)
    return result


def _page(results: Sequence[Result], *, seed: int, minutes: float) -> str:
    lines = ["| | fault | times | kills | invariants |", "| --- | --- | ---: | ---: | --- |"]
    group = ""
    for result in results:
        held = f"not tried: {result.skipped}" if result.skipped else "broken" if result.broken else "held"
        shown = "" if result.fault.group == group else result.fault.group
        group = result.fault.group
        lines.append(f"| {shown} | {result.fault.name} | {result.faults} | {result.kills} | {held} |")
    kills, made, checks = (sum(getattr(result, name) for result in results) for name in ("kills", "faults", "checks"))
    today = datetime.datetime.now(tz=datetime.UTC).date()
    machine = f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    tried = [result for result in results if not result.skipped]
    told = (
        f"{len(tried)} of {len(results)} cases, {made} faults, {kills} of them a SIGKILL that hit a living process, "
        f"{checks:,} checks of {len(invariants.NAMES)} invariants; seed {seed}, {minutes:.0f} minutes on {machine}, {today}."
    )
    return "\n".join([told, "", *lines])


if __name__ == "__main__":
    sys.exit(main())
