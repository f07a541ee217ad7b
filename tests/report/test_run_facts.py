"""The head of the fleet's page: when, where and with what, and how the runs before did."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from liteferry.output import fleet_files
from liteferry.report.pages.index_view import trend
from liteferry.report.run_facts import RUNS_KEPT
from tests.report.test_changes import refuse, report_of


def told(out: Path, run_id: str, *reports: dict[str, Any]) -> dict[str, Any]:
    environment = {"tensorflow": "2.21.0", "cpu": "a chip"}
    return dict(fleet_files.write([{"environment": environment, **one} for one in reports], str(out), run_id))


def test_a_run_says_when_where_and_with_what(tmp_path: Path) -> None:
    run = told(tmp_path, "one", report_of("a"), {**report_of("b"), "timings_s": {"load": 1.5, "save": 1.0}})["run"]
    assert run["output"] == str(tmp_path)
    assert (run["libraries"], run["cpu"], run["seconds"]) == ({"tensorflow": "2.21.0"}, "a chip", 2.5)
    assert run["ended"].endswith("Z")
    page = (tmp_path / "index.html").read_text()
    assert run["ended"] in page
    assert "2.21.0" in page


def test_the_page_leads_with_when_of_what_how_long_and_with_what(tmp_path: Path) -> None:
    about = {"job": "/srv/jobs/<digits>.yaml", "started": "2026-01-01T03:00:00Z"}
    environment = {"tensorflow": "2.21.0", "liteferry": "0.2.0"}
    facts = dict(fleet_files.write([{**report_of("a"), "environment": environment}], str(tmp_path), "one", about))
    run = facts["run"]
    assert (run["job"], run["started"]) == (about["job"], about["started"])
    began, ended = (datetime.datetime.fromisoformat(run[key]) for key in ("started", "ended"))
    assert run["duration_s"] == (ended - began).total_seconds() > 0
    head = (tmp_path / "index.html").read_text().partition("<main>")[0]
    for words in (run["ended"], "/srv/jobs/&lt;digits&gt;.yaml", str(tmp_path), "after ", "liteferry 0.2.0, tensorflow 2.21.0"):
        assert words in head, words
    assert told(tmp_path / "flags", "one", report_of("a"))["run"]["duration_s"] is None, (
        "a job without a file, of an older launcher"
    )


def test_the_last_runs_are_kept_and_one_that_is_written_twice_counts_once(tmp_path: Path) -> None:
    bad = report_of("b")
    refuse(bad)
    for number in range(RUNS_KEPT + 3):
        for _ in range(2):
            runs = told(tmp_path, f"run {number}", report_of("a"), bad if number % 2 else report_of("b"))["run"]["runs"]
    assert [one["run_id"] for one in runs] == [f"run {number}" for number in range(3, RUNS_KEPT + 3)]
    assert [one["blessed"] for one in runs[-2:]] == [1, 2]
    assert json.loads((tmp_path / "fleet.json").read_text())["run"]["runs"] == runs
    assert "the last 30 runs" in (tmp_path / "index.html").read_text()


def test_a_first_run_has_no_trend_and_bars_add_up_to_the_largest_run() -> None:
    runs = [{"models": 4, "blessed": 4}, {"models": 2, "blessed": 1, "failed": 1}]
    assert trend({"runs": runs[:1]}) is None
    assert trend(None) is None
    drawn = trend({"runs": runs})
    assert drawn is not None
    assert [(bar["tone"], bar["height"], bar["y"]) for bar in drawn["bars"]] == [
        ("blessed", 40.0, 0.0),
        ("blessed", 10.0, 30.0),
        ("failed", 10.0, 20.0),
    ]
