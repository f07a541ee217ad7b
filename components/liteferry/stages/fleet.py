"""Reports -> fleet.json, fleet.parquet and index.html, once, when the last report is there."""

from __future__ import annotations

import dataclasses
from typing import Any

import apache_beam as beam

from liteferry.report.fleet import fleet_facts, write_fleet


@dataclasses.dataclass
class WriteFleet(beam.PTransform):
    """Small report dicts (`report.facts.for_fleet`), all together -> the fleet's files under `out`; passes the facts on."""

    out: str

    def expand(self, reports: Any) -> Any:
        return reports | "Gather" >> beam.combiners.ToList() | "Write" >> beam.Map(_write, self.out)


def _write(reports: list[dict[str, Any]], out: str) -> dict[str, Any]:
    once = {report["model_id"]: report for report in reports}  # a runner may deliver an element twice
    facts = fleet_facts(once.values())
    write_fleet(out, facts)
    return facts
