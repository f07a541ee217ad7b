"""Reports -> the fleet's files, once, when the last report is there: whole for a small fleet, in parts for a large one."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam

from liteferry.output import fleet_files
from liteferry.output.fleet_files import FleetRun
from liteferry.report.parts import dealing

_SMALL, _PART = "small", "part"


@dataclasses.dataclass
class WriteFleet(beam.PTransform):
    """Small report dicts (`model_report.fleet_entry`), all together -> the fleet's files under `out`; outputs the facts.

    Reports wait for the last one packed. The parts of a large fleet are written by as many workers as there are; one process has
    the ids of all models, and later what each part counts, but never all rows.

    `about`: what the launcher knows of the run, as `run_facts.run_facts` takes it.
    """

    out: str
    about: Mapping[str, str] = dataclasses.field(default_factory=dict)
    run_id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    def expand(self, reports: Any) -> Any:
        run = FleetRun(out=self.out, run_id=self.run_id, about=self.about)
        packed = reports | "Pack" >> beam.Map(dealing.pack)
        dealt = beam.pvalue.AsSingleton(
            packed | "Ids" >> beam.Keys() | "AllIds" >> beam.combiners.ToList() | "Deal" >> beam.Map(dealing.deal)
        )
        return (
            packed
            | "Number" >> beam.Map(_numbered, dealt)
            | "Parts" >> beam.GroupByKey()
            | "WritePart" >> beam.FlatMap(_write_part, dealt, run)
            | "Gather" >> beam.combiners.ToList()
            | "Write" >> beam.Map(_write, run)
        )


def _numbered(packed: dealing.Packed, dealt: dealing.Deal) -> tuple[int, dealing.Packed]:
    return dealt.part_of(packed[0]), packed


def _write_part(group: tuple[int, Iterable[dealing.Packed]], dealt: dealing.Deal, run: FleetRun) -> Iterator[tuple[str, Any]]:
    """(`small`, a packed report) for each report of a small fleet, or (`part`, its counts) for a part that was written."""
    number, packed = group
    if dealt.is_large:
        yield _PART, fleet_files.write_part(list(packed), number, dealt, run)
    else:
        yield from ((_SMALL, one) for one in packed)


def _write(found: list[tuple[str, Any]], run: FleetRun) -> Mapping[str, Any]:
    if any(kind == _PART for kind, _ in found):
        return fleet_files.write_summary([one for _, one in found], run)
    return fleet_files.write_whole(dealing.once([one for _, one in found]), run)
