"""Reports -> fleet.json, fleet.parquet and index.html, once, when the last report is there."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import apache_beam as beam

from liteferry.output import fleet_files


@dataclasses.dataclass
class WriteFleet(beam.PTransform):
    """Small report dicts (`model_report.fleet_entry`), all together -> the fleet's files under `out`; outputs the facts."""

    out: str
    run_id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    def expand(self, reports: Any) -> Any:
        return reports | "Gather" >> beam.combiners.ToList() | "Write" >> beam.Map(fleet_files.write, self.out, self.run_id)
