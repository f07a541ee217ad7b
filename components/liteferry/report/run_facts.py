"""`run` of fleet.json: when, where and with which libraries a run ended, and the totals of earlier runs in the same OUT."""

from __future__ import annotations

import collections
import datetime
import platform
from collections.abc import Iterable, Mapping
from typing import Any

from liteferry import lenient
from liteferry.report.environment import LIBRARIES
from liteferry.types import Status

RUNS_KEPT = 60
_DATE = "%Y-%m-%dT%H:%M:%SZ"


def now() -> str:
    """The date and time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime(_DATE)


def _seconds_between(started: str | None, ended: str) -> float | None:
    if started is None:
        return None
    first, last = (datetime.datetime.strptime(one, _DATE) for one in (started, ended))
    return max(0.0, (last - first).total_seconds())


Tally = dict[str, Any]


def tally(reports: Iterable[lenient.Report]) -> Tally:
    """`{statuses, versions, seconds}` of reports, as plain JSON: their verdicts, the versions that made them and their work."""
    counts: collections.Counter[str] = collections.Counter()
    versions: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in (*LIBRARIES, "liteferry", "cpu")}
    seconds = 0.0
    for report in reports:
        counts[lenient.model_status(report).value] += 1
        seconds += lenient.seconds(report) or 0.0
        environment = lenient.mapping(report.get("environment"))
        for name, found in versions.items():
            found.update([str(environment[name])] if environment.get(name) else [])
    return {"statuses": dict(counts), "versions": {name: dict(found) for name, found in versions.items()}, "seconds": seconds}


def run_facts(out: str, tallies: Iterable[Tally], history: Mapping[str, Any], about: Mapping[str, str]) -> dict[str, Any]:
    """`{job, started, ended, duration_s, output, machine, cpu, seconds, libraries, runs}`. `seconds`: all models' work together,
    also that of earlier runs. `libraries`: version of most models. `runs`: the last ones, this one last, each
    `{run_id, ended, models, blessed, not_blessed, failed}`.

    Args:
      tallies: `tally` of all models, in parts or at once.
      history: as `changes.since_last_run` gives it, with the `run_id` of this run; a runner may write the same run twice.
      about: what the launcher knows: `job`, the job file, and `started`, a date as `now` gives it; either may be missing.
    """
    counts: collections.Counter[str] = collections.Counter()
    versions: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    seconds = 0.0
    for one in tallies:
        counts.update(one["statuses"])
        seconds += one["seconds"]
        for name, found in one["versions"].items():
            versions[name].update(found)
    most = {name: found.most_common(1)[0][0] for name, found in versions.items() if found}
    ended = now()
    statuses = (Status.BLESSED, Status.NOT_BLESSED, Status.FAILED)
    run_id = history.get("run_id")
    before = [one for one in map(lenient.mapping, lenient.listing(history.get("runs"))) if one.get("run_id") != run_id]
    this = {
        "run_id": run_id,
        "ended": ended,
        "models": counts.total(),
        **{status.value: counts[status.value] for status in statuses},
    }
    return {
        "job": about.get("job"),
        "started": about.get("started"),
        "ended": ended,
        "duration_s": _seconds_between(about.get("started"), ended),
        "output": out,
        "machine": platform.node(),
        "cpu": most.pop("cpu", None),
        "seconds": round(seconds, 1),
        "libraries": most,
        "runs": [*before, this][-RUNS_KEPT:],
    }
