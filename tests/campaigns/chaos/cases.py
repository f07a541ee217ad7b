"""Every case by its name: what is done to runs of a fleet."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.campaigns.chaos import fleet, kills, surroundings
from tests.campaigns.chaos.case import BrokenError, Case, NotTriedError
from tests.campaigns.chaos.fleet import Fleet

_QUIET_RUN_S = 9.0
_STAGES = ("load", "export", "reference", "convert", "evaluate")
_TWO_WORKERS = ("--direct_running_mode=multi_processing", "--direct_num_workers=2", "--processes=1")


@dataclasses.dataclass(frozen=True)
class Fault:
    """`group` and `name` as the table has them. `is_worst`: it happens in the fleet of models that do their worst. `in_slice`: CI
    runs it, too.
    """

    group: str
    name: str
    do: Callable[[Case], None]
    is_worst: bool = False
    in_slice: bool = False


def faults(scale: float = 1.0) -> list[Fault]:
    """All of them. `scale`: share of the random kills, 1.0: 160 of them, and of the runs of the other cases."""

    def count(number: int) -> int:
        return max(2, round(number * scale))

    def some(*values: Any) -> list[Any]:
        return list(values)[: max(1, round(len(values) * scale))]

    random_kills = [
        Fault(
            "kills",
            "SIGKILL of the launcher, at random",
            kills.at_random(kills.the_launcher, count=count(22), pause_s=(1.5, 8), once_a_run=True),
            in_slice=True,
        ),
        Fault(
            "kills",
            "SIGKILL of a nursery, at random",
            kills.at_random(kills.a_nursery, count=count(30), pause_s=(0.5, 4)),
            in_slice=True,
        ),
        Fault(
            "kills",
            "SIGKILL of a sandbox child, at random",
            kills.at_random(kills.a_child, count=count(100), pause_s=(0.05, 0.5)),
            in_slice=True,
        ),
        Fault(
            "kills",
            "SIGKILL of a Beam worker, at random",
            kills.at_random(kills.a_worker, *_TWO_WORKERS, count=count(8), pause_s=(1, 9), once_a_run=True, in_background=True),
            in_slice=True,
        ),
    ]
    steps = [
        Fault("kills", f"SIGKILL of children that enter {stage}", kills.at("kill_children_entering", stage)) for stage in _STAGES
    ] + [
        Fault("kills", "SIGKILL of a nursery at every stage", kills.at("kill_nurseries_entering", ",".join(_STAGES))),
        Fault("kills", "SIGKILL after an export", kills.at("kill_after_export", *some("1", "3"))),
        Fault("kills", "SIGKILL after an evaluation", kills.at("kill_after_evaluation", *some("1", "2"))),
        Fault("kills", "SIGKILL before a report is written", kills.at("kill_before_report", *some("1", "5"))),
        Fault(
            "kills",
            "SIGKILL between report and marker",
            kills.at("kill_between_report_and_marker", *some("1", "4", "7")),
            in_slice=True,
        ),
        Fault(
            "kills",
            "SIGKILL between marker and publishing",
            kills.at("kill_between_marker_and_publishing", *some("1", "5")),
            in_slice=True,
        ),
        Fault("kills", "SIGKILL within publishing", kills.at("kill_within_publishing", *some("1", "4", "7"))),
        Fault("kills", "SIGKILL after publishing", kills.at("kill_after_publishing", *some("2", "7"))),
        Fault(
            "kills",
            "SIGKILL within a write",
            kills.at("kill_within_a_write", *some("report.json", "report.html", "fleet.json", "fleet.parquet", "index.html")),
        ),
        Fault("kills", "SIGKILL before the fleet's table", kills.at("kill_before_the_fleet_table", "-")),
        Fault(
            "kills",
            "SIGKILL within the fleet's files",
            kills.at("kill_after_writing", *some("fleet.json", "fleet.parquet", "index.html")),
            in_slice=True,
        ),
        Fault("kills", "SIGKILL of `compare` and `inspect`", kills.compare),
    ]
    resources = [
        Fault("resources", "the disk is full", surroundings.disk_full, in_slice=True),
        Fault("resources", "the output cannot be written", surroundings.unwritable),
        Fault("resources", "the output is removed while it is written", surroundings.output_removed),
        Fault("resources", "too few file descriptors", surroundings.few_descriptors(*some(32, 64, 96))),
        Fault("resources", "the clock jumps by days, in every process", surroundings.the_clock_jumps),
        Fault("resources", "two runs at once on one output", surroundings.two_at_once, in_slice=True),
    ]
    stored = [
        Fault(
            "storage",
            "opening a checkpoint fails, then works",
            surroundings.failing("open", ".keras", *some(1, 3)),
            in_slice=True,
        ),
        Fault("storage", "opening sample rows fails, then works", surroundings.failing("open", "rows.npz", *some(1, 3))),
        Fault(
            "storage",
            "a checkpoint is read cut short, then whole",
            surroundings.failing("short", ".keras", *some(1, 4)),
            in_slice=True,
        ),
        Fault("storage", "sample rows are read cut short, then whole", surroundings.failing("short", "rows.npz", *some(1, 3))),
        Fault(
            "storage", "writing fails, in any process", surroundings.failing("write", "/.staging/", *some(1, 6)), in_slice=True
        ),
        Fault("storage", "writing a report fails", surroundings.planted("a_write_fails", *some("1", "5"))),
        Fault("storage", "a publication fails", surroundings.planted("a_publication_fails", *some("1", "5"))),
        Fault("storage", "every element is processed twice", surroundings.planted("every_element_twice", "-")),
        Fault("storage", "elements come late and in another order", surroundings.planted("late_and_reordered", *some("1", "2"))),
    ]
    models = [
        Fault("models", "models that do their worst", surroundings.worst_models, is_worst=True, in_slice=True),
        Fault("models", "native code crashes in invoke", surroundings.crash_in_invoke),
    ]
    return random_kills + steps + resources + stored + models


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of one case. `broken`: the invariants that did not hold; `skipped`: why it was not tried."""

    fault: Fault
    kills: int
    faults: int
    checks: int
    seconds: float
    broken: str | None = None
    skipped: str | None = None
    log: str = ""


class Grounds:
    """The fleets, and a run of each to which nothing was done; made once for many cases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.healthy, self.worst = fleet.write(folder / "fleets")
        self.pace = 1.0
        self.undisturbed = self._undisturbed(self.healthy)

    def _undisturbed(self, of: Fleet) -> Path:
        case = Case(of, self.folder / "undisturbed", random.Random(0), self.folder / "undisturbed" / "out")
        started = time.monotonic()
        case.run()
        self.pace = max(1.0, (time.monotonic() - started) / _QUIET_RUN_S)
        case.finish()
        return case.out

    def try_out(self, fault: Fault, *, seed: int) -> Result:
        """Does it, lets the same command finish, and looks at every invariant."""
        folder = self.folder / "".join(letter if letter.isalnum() else "_" for letter in fault.name)
        nothing = self.folder / "nothing"  # the worst models have no undisturbed run
        of, undisturbed = (self.worst, nothing) if fault.is_worst else (self.healthy, self.undisturbed)
        case = Case(of, folder, random.Random(seed), undisturbed, self.pace)
        started = time.monotonic()
        broken = skipped = None
        try:
            fault.do(case)
            case.finish()
        except NotTriedError as why:
            skipped = str(why)
        except BrokenError as error:
            broken = str(error)
        finally:
            case.kill_the_rest()
        return Result(fault, case.kills, case.faults, case.checks, time.monotonic() - started, broken, skipped, case.log())
