"""Reports -> fleet.json, fleet.parquet and index.html, once, when the last report is there."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from typing import Any

import apache_beam as beam

from liteferry.output import run_lock
from liteferry.report.changes import since_last_run, write_history
from liteferry.report.fleet import fleet_facts, write_fleet


@dataclasses.dataclass
class WriteFleet(beam.PTransform):
    """Small report dicts (`model_report.fleet_entry`), all together -> the fleet's files under `out`; outputs the facts."""

    out: str
    run_id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    def expand(self, reports: Any) -> Any:
        return reports | "Gather" >> beam.combiners.ToList() | "Write" >> beam.Map(_write, self.out, self.run_id)


def _write(reports: list[dict[str, Any]], out: str, run_id: str) -> Mapping[str, Any]:
    once = {report["model_id"]: report for report in reports}  # a runner may deliver an element twice
    with run_lock.writing_fleet(out):
        changes, history = since_last_run(out, once.values(), run_id=run_id)
        facts = fleet_facts(once.values(), changes=changes)
        write_fleet(out, facts)
        write_history(out, history)
        run_lock.forget_submitted(out)
    return facts
