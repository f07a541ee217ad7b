"""How long a fleet takes, and what it costs, with N workers: simulated from the reports of a run on a part of it.

    python -m benchmarks.simulate OUT --took_s 63 --models 100000 --workers 1,10,100 --worker_start_s 180

OUT is the output of a run, on a machine like a worker of the real one, of a few models of every architecture in the fleet, two of
each at least. What each took of a process is in its report. How long the whole run took, `--took_s`, tells what there is besides:
starting and ending. The rest is arithmetic on how LiteFerry and Beam share work out: siblings in chunks, whose first member pays
for building and tracing; chunks dealt out to workers; in a worker, the largest first, so many sandboxes at once.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import heapq
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from liteferry.plan.siblings import chunk_size

# What a run takes before its first model and after its last, where nobody has measured it: the imports of the worker and of the
# two processes that sandboxes are forked from, the search for checkpoints, the fleet's files.
_AROUND_S = 12.0
# Memory of a worker besides its sandboxes.
_WORKER_BYTES = 2e9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """Siblings. `first_s`, `next_s`: seconds of one process for the first of a chunk and for each further one."""

    count: int
    first_s: float
    next_s: float
    peak_bytes: int

    def chunks_s(self, *, processes: int) -> list[float]:
        """Seconds of each chunk where `processes` work at once."""
        size = chunk_size(self.count, processes=processes)
        sizes = [min(size, self.count - start) for start in range(0, self.count, size)]
        return [self.first_s + (size - 1) * self.next_s for size in sizes]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecast:
    """`wall_s`: from the command to its end. `idle`: share of the time between the first model and the last in which a process
    waits for others to end. `worker_bytes`: memory that a worker needs.
    """

    workers: int
    wall_s: float
    idle: float
    worker_bytes: float

    def vcpu_hours(self, processes: int) -> float:
        return self.workers * processes * self.wall_s / 3600

    def gb_hours(self) -> float:
        return self.workers * self.worker_bytes / 1e9 * self.wall_s / 3600


def families_of(reports: Iterable[Mapping[str, Any]]) -> list[Family]:
    """Reports -> what each architecture of the fleet takes. Those that were not traced used a sibling's trace."""
    groups: dict[str, list[Mapping[str, Any]]] = collections.defaultdict(list)
    for report in reports:
        groups[report["checkpoint"].get("architecture_digest") or report["model_id"]].append(report)
    return [_family(group) for _, group in sorted(groups.items())]


def _family(group: Sequence[Mapping[str, Any]]) -> Family:
    firsts = [_seconds(report) for report in group if report["timings_s"].get("trace", 1.0) > 0]
    others = [_seconds(report) for report in group if report["timings_s"].get("trace", 1.0) == 0]
    first_s = _mean(firsts or others)
    peak = max((report["peak_memory_bytes"] or 0 for report in group), default=0)
    return Family(count=len(group), first_s=first_s, next_s=_mean(others) if others else first_s, peak_bytes=peak)


def _seconds(report: Mapping[str, Any]) -> float:
    return float(sum(report["timings_s"].values()))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def grown(families: Sequence[Family], models: int) -> list[Family]:
    """The same mixture with `models` models in all, none of the architectures left out."""
    total = sum(family.count for family in families)
    return [dataclasses.replace(family, count=max(1, round(family.count * models / total))) for family in families]


def around_s(families: Sequence[Family], *, took_s: float, processes: int) -> float:
    """What a run of exactly these models, by one worker, took before its first model and after its last."""
    return max(0.0, took_s - simulate(families, workers=1, processes=processes, around_s=0.0).wall_s)


def simulate(
    families: Sequence[Family],
    *,
    workers: int,
    processes: int,
    around_s: float = _AROUND_S,
    slowdown: float = 1.0,
    worker_start_s: float = 0.0,
    is_static: bool = False,
) -> Forecast:
    """Runs the fleet in numbers.

    Args:
      workers: worker processes. processes: sandboxes at once in each.
      around_s: seconds before the first model and after the last.
      slowdown: how much slower everything is than when the costs were measured: more processes that share a machine's memory.
      worker_start_s: seconds until a worker's process starts; minutes on a cloud.
      is_static: chunks are dealt out once, round robin, as Beam's local engine does; else a worker that is free takes the next.
    """
    chunks = [seconds for family in families for seconds in family.chunks_s(processes=workers * processes)]
    if is_static:
        shares = [chunks[number::workers] for number in range(workers)]
        ends = [_makespan(sorted(share, reverse=True), processes) for share in shares]
    else:
        ends = [_makespan(chunks, workers * processes)]
    busy_s, at_work_s = sum(chunks), slowdown * (around_s + max(ends))
    peak = max((family.peak_bytes for family in families), default=0)
    return Forecast(
        workers=workers,
        wall_s=worker_start_s + at_work_s,
        idle=1 - busy_s / (workers * processes * max(ends)) if busy_s else 0.0,
        worker_bytes=_WORKER_BYTES + processes * peak,
    )


def _makespan(chunks: Sequence[float], slots: int) -> float:
    """Seconds until the last of some chunks ends, each taken in order by the slot that is free first."""
    free_at = [0.0] * slots
    for seconds in chunks:
        heapq.heapreplace(free_at, free_at[0] + seconds)
    return max(free_at)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table: workers, wall time, hours of vCPU and memory, and the price where prices are given."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulate", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("output", help="OUT of a run on a part of the fleet")
    parser.add_argument("--models", type=int, help="models in the whole fleet (default: as many as in OUT)")
    parser.add_argument("--workers", default="1,2,10,100", help="numbers of workers, comma-separated (default: %(default)s)")
    parser.add_argument(
        "--processes", type=int, default=1, help="sandboxes at once per worker, one per vCPU (default: %(default)s)"
    )
    parser.add_argument(
        "--took_s",
        type=float,
        help=f"seconds that the run of OUT took, with one worker of so many processes (default: its models' and {_AROUND_S:g} s)",
    )
    parser.add_argument(
        "--slowdown", type=float, default=1.0, help="how much slower than in OUT everything is (default: %(default)s)"
    )
    parser.add_argument("--worker_start_s", type=float, default=0.0, help="seconds until a worker starts (default: %(default)s)")
    parser.add_argument("--vcpu_hour", type=float, default=0.0, help="price of an hour of one vCPU (default: none)")
    parser.add_argument("--gb_hour", type=float, default=0.0, help="price of an hour of 1 GB of memory (default: none)")
    arguments = parser.parse_args(argv)
    reports = [json.loads(path.read_text()) for path in sorted(Path(arguments.output).glob("models/*/report.json"))]
    if not reports:
        parser.error(f"{arguments.output}: no models/*/report.json there; give the output folder of a run")
    families = families_of(reports)
    around = _AROUND_S if arguments.took_s is None else around_s(families, took_s=arguments.took_s, processes=arguments.processes)
    families = grown(families, arguments.models) if arguments.models else families
    print("| workers | wall, h | vCPU hours | GB hours | price | GB per worker | idle at the end |")
    print("| ---: " * 7 + "|")
    for workers in (int(text) for text in arguments.workers.split(",")):
        found = simulate(
            families,
            workers=workers,
            processes=arguments.processes,
            around_s=around,
            slowdown=arguments.slowdown,
            worker_start_s=arguments.worker_start_s,
        )
        vcpu_hours, gb_hours = found.vcpu_hours(arguments.processes), found.gb_hours()
        price = vcpu_hours * arguments.vcpu_hour + gb_hours * arguments.gb_hour
        print(
            f"| {workers:,} | {found.wall_s / 3600:.2f} | {vcpu_hours:,.1f} | {gb_hours:,.1f} | {price:,.2f} "
            f"| {found.worker_bytes / 1e9:.1f} | {found.idle:.0%} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
