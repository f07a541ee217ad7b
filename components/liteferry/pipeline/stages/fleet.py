"""Reports -> fleet.json, fleet.parquet and index.html, once, when the last report is there."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from typing import Any

import apache_beam as beam

from liteferry.output import fleet_files


@dataclasses.dataclass
class WriteFleet(beam.PTransform):
    """Small report dicts (`model_report.fleet_entry`), all together -> the fleet's files under `out`; outputs the facts.

    `about`: what the launcher knows of the run, as `run_facts.run_facts` takes it.
    """

    out: str
    about: Mapping[str, str] = dataclasses.field(default_factory=dict)
    run_id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    def expand(self, reports: Any) -> Any:
        gathered = reports | "Gather" >> beam.combiners.ToList()
        return gathered | "Write" >> beam.Map(fleet_files.write, self.out, self.run_id, self.about)
