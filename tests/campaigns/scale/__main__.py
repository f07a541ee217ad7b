"""`make scale`: millions of sample rows through one model. Says what memory and processors it took, and fails beyond the limits.

python -m tests.campaigns.scale [--rows 2000000] [--shards 16] [--folder DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

MOST_BYTES = 2 * 10**9
# Share of the cores' time, start-up and the end of the run included, in which something of the run wanted to compute. Unlike
# processor seconds, that tells the same on a machine that others use as well.
LEAST_BUSY = 0.75
_LOOK_EVERY_S = 0.2

_MODEL = """
import sys, keras
keras.utils.set_random_seed(0)
keras.Sequential([keras.Input((10,), name="x"), keras.layers.Dense(64, activation="relu"),
    keras.layers.Dense(32, activation="relu"), keras.layers.Dense(3, activation="softmax", name="y")]).save(sys.argv[1])
"""
_JOB = """
models: [{checkpoints: mlp.keras}]
samples: {rows: {path: "rows-*.parquet", id: id}}
evaluation: {batch_size: 1024}
"""


@dataclasses.dataclass
class Usage:
    """Of a command and everything it started. `peak_bytes`: of the largest process, resident; `cpu_s`: of all; `wanting`: how
    many were running or ready to, each time one looked.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    peak_name: str = ""
    wanting: list[int] = dataclasses.field(default_factory=list)


def write(folder: pathlib.Path, *, rows: int, shards: int) -> None:
    """mlp.keras, rows-*.parquet and job.yaml."""
    random = np.random.default_rng(0)
    for number, ids in enumerate(np.array_split(np.arange(rows), shards)):
        values = pa.array(random.normal(size=10 * len(ids)).astype(np.float32))
        table = pa.table({"id": pa.array(ids), "x": pa.FixedSizeListArray.from_arrays(values, 10)})
        pq.write_table(table, folder / f"rows-{number:02}.parquet")
    subprocess.run([sys.executable, "-c", _MODEL, str(folder / "mlp.keras")], check=True, capture_output=True)
    (folder / "job.yaml").write_text(_JOB)


def run(folder: pathlib.Path) -> tuple[int, Usage]:
    """`liteferry run`, watched. Its exit status."""
    usage, started = Usage(), time.monotonic()
    command = [sys.executable, "-m", "liteferry", "run", "--config", str(folder / "job.yaml"), "--output", str(folder / "out")]
    before = sum(psutil.Process().cpu_times()[2:4])
    with subprocess.Popen(command) as process:
        stop = threading.Event()
        thread = threading.Thread(target=_watch, args=(process.pid, usage, stop))
        thread.start()
        status = process.wait()
        stop.set()
        thread.join()
    usage.wall_s = time.monotonic() - started
    # What the command waited for, and what that waited for: nurseries reap their children, the command its nurseries.
    usage.cpu_s = max(usage.cpu_s, sum(psutil.Process().cpu_times()[2:4]) - before)
    return status, usage


def _watch(pid: int, usage: Usage, stop: threading.Event) -> None:
    while not stop.wait(_LOOK_EVERY_S):
        with contextlib.suppress(psutil.Error):
            top, wanting = psutil.Process(pid), 0
            for process in (top, *top.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    wanting += process.status() == psutil.STATUS_RUNNING
                    resident = process.memory_info().rss
                    if resident > usage.peak_bytes:
                        usage.peak_bytes, usage.peak_name = resident, " ".join(process.cmdline()[:3])[:60]
            usage.wanting.append(wanting)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes, runs, measures, judges. 0 when everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.scale", allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=2_000_000, metavar="N")
    parser.add_argument("--shards", type=int, default=16, metavar="N")
    parser.add_argument("--least_busy", type=float, default=LEAST_BUSY, metavar="SHARE", help="of the cores' time")
    parser.add_argument("--folder", type=pathlib.Path, metavar="DIR", help="where files go (a temporary folder)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="liteferry-scale-") as scratch:
        folder = options.folder or pathlib.Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, rows=options.rows, shards=options.shards)
        status, usage = run(folder)
        (path,) = (folder / "out").glob("models/*/report.json")
        report = json.loads(path.read_text())
    cores = len(psutil.Process().cpu_affinity())
    busy = float(np.mean(np.minimum(usage.wanting, cores))) / cores
    compared = {variant["parity"]["y"]["example_count"] for variant in report["variants"].values()}
    print(
        f"{options.rows:,} rows in {options.shards} shards: {usage.wall_s:.0f} s, {usage.cpu_s:.0f} s of processors, "
        f"work for {busy:.0%} of {cores} cores' time; largest process {usage.peak_bytes / 1e9:.2f} GB ({usage.peak_name}), "
        f"largest sandbox {report['peak_memory_bytes'] / 1e9:.2f} GB"
    )
    problems = problems_of(
        rows=options.rows,
        least_busy=options.least_busy,
        reason=report["reason"],
        status=status,
        compared=compared,
        peak_bytes=max(usage.peak_bytes, report["peak_memory_bytes"]),
        busy=busy,
    )
    for problem in problems:
        print(f"UNMET: {problem}", file=sys.stderr)
    return 1 if problems else 0


def problems_of(
    *, rows: int, least_busy: float, reason: object, status: int, compared: set[int], peak_bytes: int, busy: float
) -> list[str]:
    """The sentences of what did not hold."""
    problems = []
    if status != 0 or compared != {rows}:
        problems.append(f"exit status {status}, rows compared {compared}: {reason}")
    if peak_bytes >= MOST_BYTES:
        problems.append(f"a process held {peak_bytes:,} bytes, the limit is {MOST_BYTES:,}")
    if busy < least_busy:
        problems.append(f"there was work for {busy:.0%} of the cores' time, expected {least_busy:.0%}")
    return problems


if __name__ == "__main__":
    sys.exit(main())
