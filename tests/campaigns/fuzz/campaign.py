"""Many inputs through workers: what came of each, with workers that die or hang replaced and their input blamed."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.campaigns.fuzz.readers import LAUNCHER

ROOT = Path(__file__).resolve().parents[3]
# What one input may take: processor time, and wall clock, for one that sleeps. A busy machine gives a worker a tenth of a core.
HANG_CPU_S, HANG_S = 20.0, 300.0
_LOOK_S = 5.0
_CHUNK = 4000


@dataclasses.dataclass
class Finding:
    """An input that must not have ended as it did; `python -m tests.campaigns.fuzz --show KIND SEED NUMBER` makes it again."""

    kind: str
    seed: int
    number: int
    what: str

    def last_line(self) -> str:
        return self.what.strip().splitlines()[-1][:200]


@dataclasses.dataclass
class Tally:
    """What came of the inputs of one kind. `contained`: ends of the process that the product reads them in for that reason, of
    which `deaths` has each.
    """

    kind: str
    words: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    contained: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    findings: list[Finding] = dataclasses.field(default_factory=list)
    deaths: list[Finding] = dataclasses.field(default_factory=list)
    answers: dict[int, str] = dataclasses.field(default_factory=dict)  # of the fixed inputs, by number
    inputs: int = 0
    cpu_s: float = 0.0
    slowest_s: float = 0.0
    peak_bytes: int = 0

    def add(self, other: Tally) -> None:
        self.words += other.words
        self.contained += other.contained
        self.findings += other.findings
        self.deaths += other.deaths
        self.inputs += other.inputs
        self.cpu_s += other.cpu_s
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)


def read_many(kind: str, seed: int, numbers: range, *, deadline: float | None = None) -> Tally:
    """Reads the inputs with these numbers in workers, one after the other. Stops early at `deadline` (`time.monotonic`)."""
    tally = Tally(kind)
    at = numbers.start
    while at < numbers.stop and (deadline is None or time.monotonic() < deadline):
        at = _one_worker(tally, kind, seed, at, numbers.stop - at, deadline)
    return tally


def _one_worker(tally: Tally, kind: str, seed: int, first: int, count: int, deadline: float | None) -> int:
    """Runs one worker until it is through or dead. Returns the number of the next input."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch, tempfile.TemporaryFile() as errors:
        module, part = "tests.campaigns.fuzz.worker", [str(seed), str(first), str(count)]
        command = [sys.executable, "-m", module, kind, *part, f"{scratch}/room"]
        path = os.pathsep.join([str(ROOT), str(ROOT / "components")])
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "PYTHONWARNINGS": "ignore",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=environment, cwd=scratch, start_new_session=True
        )
        assert process.stdout is not None
        begun: int | None = None
        last = first - 1
        is_hung = False
        try:
            for line in _lines(process, deadline):
                told = json.loads(line)
                if isinstance(told, int):
                    begun = told
                    continue
                last, begun = told[0], None
                _count(tally, seed, told)
            is_hung = process.poll() is None and begun is not None
        finally:
            process.kill()
            status = process.wait()
            process.stdout.close()
        if begun is None:
            # Between inputs only the fuzzer's own code runs, in what address space is left: a new worker has all of it.
            if status != 0 and last < first and (deadline is None or time.monotonic() < deadline):
                errors.seek(0)
                raise RuntimeError(f"a worker for {kind} ended with {status}: {errors.read()[-2000:].decode(errors='replace')}")
            return last + 1
        if deadline is not None and time.monotonic() >= deadline:
            return begun
    end = "hang" if is_hung else signal.Signals(-status).name if status < 0 else f"exit status {status}"
    tally.inputs += 1
    if kind in LAUNCHER:
        tally.findings.append(Finding(kind, seed, begun, f"ends the process: {end}"))
    else:
        tally.contained[end] += 1
        tally.words["TIMEOUT" if is_hung else "CRASHED"] += 1
        tally.deaths.append(Finding(kind, seed, begun, end))
    return begun + 1


def _lines(process: subprocess.Popen[bytes], deadline: float | None) -> collections.abc.Iterator[bytes]:
    """Lines as they come; none any more once nothing came for as long as a hang is."""
    assert process.stdout is not None
    rest = b""
    last_s, last_cpu_s = time.monotonic(), 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return
            if not selector.select(_LOOK_S):
                if now - last_s > HANG_S or (last_cpu_s and _cpu_s(process.pid) - last_cpu_s > HANG_CPU_S):
                    return
                continue
            last_s, last_cpu_s = now, _cpu_s(process.pid)
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece:
                process.wait()
                return
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole


def _cpu_s(pid: int) -> float:
    with contextlib.suppress(psutil.Error):
        return float(sum(psutil.Process(pid).cpu_times()[:2]))
    return 0.0


def _count(tally: Tally, seed: int, told: list) -> None:
    number, word, finding, seconds, grown = told
    tally.inputs += 1
    tally.cpu_s += seconds
    tally.slowest_s = max(tally.slowest_s, seconds)
    tally.peak_bytes = max(tally.peak_bytes, grown)
    if finding:
        tally.findings.append(Finding(tally.kind, seed, number, finding))
    else:
        tally.words[word] += 1
        if seed < 0:
            tally.answers[number] = word


def campaign(
    shares: dict[str, int], *, seed: int, processes: int, minutes: float | None = None, chunk: int = _CHUNK
) -> dict[str, Tally]:
    """So many inputs of every kind, in chunks over `processes` workers at once."""
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    tallies = {kind: Tally(kind) for kind in shares}
    chunks = [
        (start, kind, range(start, min(start + chunk, count)))
        for kind, count in shares.items()
        for start in range(0, count, chunk)
    ]
    with concurrent.futures.ThreadPoolExecutor(processes) as pool:
        waiting = {
            pool.submit(read_many, kind, seed, numbers, deadline=deadline): kind
            for _, kind, numbers in sorted(chunks, key=_order)
        }
        for done in concurrent.futures.as_completed(waiting):
            tallies[waiting[done]].add(done.result())
    return tallies


def _order(chunk: tuple[int, str, range]) -> tuple[int, str]:
    return chunk[0], chunk[1]


def distinct(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Findings that end alike, together."""
    groups: dict[str, list[Finding]] = collections.defaultdict(list)
    for finding in findings:
        groups[f"{finding.kind}: {finding.last_line()}"].append(finding)
    return dict(groups)


def save(folder: Path, kind: str, seed: int, number: int) -> None:
    """Writes an input's files below `folder`."""
    from tests.campaigns.fuzz import inputs

    shutil.rmtree(folder, ignore_errors=True)
    inputs.make(kind, seed, number).write(folder)
