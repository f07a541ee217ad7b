"""Writes the fleet's files at the end of a run: facts, table, page and history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from liteferry.output import run_lock
from liteferry.report.changes import since_last_run, write_history
from liteferry.report.fleet import fleet_facts, write_fleet
from liteferry.report.run_facts import run_facts


def write(
    reports: Iterable[Mapping[str, Any]], out: str, run_id: str, about: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    """Writes the files and returns the facts. A runner may deliver a model twice; it counts once. `about`: see `run_facts`."""
    once = {str(report["model_id"]): dict(report) for report in reports}
    with run_lock.writing_fleet(out):
        changes, history = since_last_run(out, once.values(), run_id=run_id)
        run = run_facts(out, once.values(), history, about or {})
        facts = fleet_facts(once.values(), changes=changes, job=run)
        write_fleet(out, facts)
        write_history(out, {**history, "runs": run["runs"]})
        run_lock.forget_submitted(out)
    return facts
