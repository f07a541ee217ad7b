"""When, where and with what a run ended, and how the runs before it in the same OUT did: `run` of fleet.json."""

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


def run_facts(out: str, reports: Iterable[lenient.Report], history: Mapping[str, Any]) -> dict[str, Any]:
    """`{ended, output, machine, cpu, seconds, libraries, runs}`. `seconds`: all models' work together. `libraries`: version of
    most models. `runs`: the last ones, this one last, each `{run_id, ended, models, blessed, not_blessed, failed}`.

    Args:
      history: as `changes.since_last_run` gives it, with the `run_id` of this run; a runner may write the same run twice.
    """
    counts: collections.Counter[str] = collections.Counter()
    versions: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in (*LIBRARIES, "liteferry", "cpu")}
    seconds = 0.0
    for report in reports:
        counts[lenient.model_status(report).value] += 1
        seconds += lenient.seconds(report) or 0.0
        environment = lenient.mapping(report.get("environment"))
        for name, found in versions.items():
            found.update([str(environment[name])] if environment.get(name) else [])
    most = {name: found.most_common(1)[0][0] for name, found in versions.items() if found}
    ended = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
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
        "ended": ended,
        "output": out,
        "machine": platform.node(),
        "cpu": most.pop("cpu", None),
        "seconds": round(seconds, 1),
        "libraries": most,
        "runs": [*before, this][-RUNS_KEPT:],
    }
