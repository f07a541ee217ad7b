"""The forecast of a fleet's time and price: arithmetic that is known for small fleets."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks.simulate import Family, around_s, families_of, grown, main, simulate
from tests.support import Run


def family(count: int, first_s: float, next_s: float) -> Family:
    return Family(count=count, first_s=first_s, next_s=next_s, peak_bytes=10**9)


def at_work_s(families: list[Family], **how: Any) -> float:
    empty = simulate([], workers=1, processes=1).wall_s  # what starting up takes
    return simulate(families, **how).wall_s - empty


@pytest.mark.parametrize(
    ("families", "workers", "processes", "seconds"),
    [
        ([family(1, 5, 1)], 1, 1, 5),
        ([family(1, 5, 1)], 10, 1, 5),  # one model is not shared out
        ([family(4, 5, 1)], 1, 1, 8),
        ([family(4, 5, 1)], 2, 1, 6),  # two chunks of two
        ([family(4, 5, 1)], 1, 2, 6),  # two processes are as good as two workers
        ([family(32, 5, 1)], 1, 1, 40),  # two chunks of sixteen, each with a first one
        ([family(1, 6, 6), family(1, 2, 2), family(1, 2, 2)], 2, 1, 6),
    ],
)
def test_known_fleets(families: list[Family], workers: int, processes: int, seconds: float) -> None:
    assert at_work_s(families, workers=workers, processes=processes) == seconds


def test_work_that_is_dealt_out_once_waits_for_who_got_the_most() -> None:
    fleet = [family(1, 6, 6), family(1, 1, 1), family(1, 6, 6), family(1, 1, 1)]
    assert at_work_s(fleet, workers=2, processes=1, is_static=True) == 12
    assert at_work_s(fleet, workers=2, processes=1) == 7


def test_idle_is_the_share_of_the_processes_time_that_nobody_uses() -> None:
    assert simulate([family(1, 6, 6), family(1, 2, 2)], workers=2, processes=1).idle == pytest.approx(1 - 8 / 12)
    assert simulate([family(2, 6, 6)], workers=2, processes=1).idle == 0


def test_a_worker_that_starts_late_is_paid_for() -> None:
    at_once, late = (simulate([family(9, 5, 1)], workers=1, processes=2, worker_start_s=start) for start in (0, 180))
    assert late.wall_s == at_once.wall_s + 180
    assert late.vcpu_hours(2) - at_once.vcpu_hours(2) == pytest.approx(2 * 180 / 3600)


def test_more_workers_never_take_longer_and_never_less_than_the_longest_chunk() -> None:
    fleet = [family(100, 5, 1), family(7, 30, 20)]
    walls = [at_work_s(fleet, workers=workers, processes=1) for workers in (1, 2, 4, 8, 1000)]
    assert walls == sorted(walls, reverse=True) and walls[-1] == 30


def test_a_grown_fleet_keeps_its_mixture() -> None:
    assert [part.count for part in grown([family(3, 1, 1), family(1, 1, 1)], 4000)] == [3000, 1000]
    assert [part.count for part in grown([family(999, 1, 1), family(1, 1, 1)], 10)] == [10, 1]


def test_what_a_run_took_besides_its_models_is_taken_over() -> None:
    small = [family(2, 5, 1), family(1, 30, 30)]
    besides = around_s(small, took_s=36 + 17, processes=1)
    assert besides == 17
    whole = [family(20, 5, 1), family(3, 30, 20)]
    found = simulate(whole, workers=1, processes=1, around_s=besides)
    assert found.wall_s == 17 + (5 + 9 + 5 + 9) + (30 + 20 + 20)
    assert around_s(small, took_s=1, processes=1) == 0, "no run ends before its models"


def test_a_machine_that_is_shared_is_slower_in_all_it_does() -> None:
    fleet = [family(9, 5, 1)]
    alone, shared = (simulate(fleet, workers=1, processes=1, slowdown=slowdown) for slowdown in (1.0, 1.25))
    assert shared.wall_s == pytest.approx(1.25 * alone.wall_s) and shared.idle == alone.idle
    assert simulate(fleet, workers=1, processes=1, slowdown=1.25, worker_start_s=100).wall_s == shared.wall_s + 100


def test_a_models_steps_add_up_to_how_long_it_kept_a_process_busy(demo: Run) -> None:
    """Else what is added up from reports is a lower bound."""
    report = demo.report("cnn")
    steps = report["timings_s"]
    assert steps.keys() >= {"load", "trace", "save", "reference", "convert", "process", "evaluate"}
    assert all(seconds >= 0 for seconds in steps.values()) and steps["process"] > 0
    failed = demo.report("broken_truncated")["timings_s"]
    assert failed["process"] > 0, "what fails takes time, too"


def test_the_reports_of_a_run_say_what_a_model_takes(demo: Run, capsys: pytest.CaptureFixture[str]) -> None:
    reports = [demo.report(path.name) for path in sorted((demo.out / "models").iterdir())]
    families = families_of(reports)
    assert sum(part.count for part in families) == len(reports)
    total = sum(sum(report["timings_s"].values()) for report in reports)
    assert math.fsum(part.first_s for part in families if part.count == 1) <= total + 1e-6
    walls = []
    for more in ((), ("--took_s", "4000"), ("--took_s", "4000", "--slowdown", "2")):
        assert main([str(demo.out), "--models", "1000", "--workers", "1,10", "--vcpu_hour", "0.05", *more]) == 0
        rows = [line for line in capsys.readouterr().out.splitlines() if line[2].isdigit()]
        assert [row.split("|")[1].strip() for row in rows] == ["1", "10"]
        walls.append(float(rows[1].split("|")[2]))
    assert walls[0] < 1 < walls[1] < walls[2], "hours of ten workers"


def test_an_output_without_reports_is_refused(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path)])
    assert ended.value.code == 2 and "no models/*/report.json there" in capsys.readouterr().err
