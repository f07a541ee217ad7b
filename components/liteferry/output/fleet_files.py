"""Writes the fleet's files at the end of a run: facts, table, page and history; of a large fleet the table in parts.

A part's files have digests in their names, so parts of two runs never mix, and a part that a runner writes twice is the same one.
They are there before fleet.json names them; those that it names no longer go after that.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from liteferry import lenient, storage
from liteferry.output import run_lock
from liteferry.report import history
from liteferry.report.changes import compared, since_last_run
from liteferry.report.fleet import as_json, fleet_facts, write_fleet
from liteferry.report.parts import dealing, page, summary, table
from liteferry.report.run_facts import run_facts, tally
from liteferry.storage import beneath, layout

_MADE = re.compile(r"(part-\d{5}-[0-9a-f]{12}\.parquet|\d{5}-(find|\d\d)-[0-9a-f]{12}\.js)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FleetRun:
    """The run whose files are written: its OUT, an id that no other run has, and what the launcher knows (see `run_facts`)."""

    out: str
    run_id: str
    about: Mapping[str, str] = dataclasses.field(default_factory=dict)


def write(
    reports: Iterable[Mapping[str, Any]], out: str, run_id: str, about: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    """Writes the files of a whole fleet and returns fleet.json's facts. A runner may deliver a model twice; it counts once.

    Reads `reports` once, and keeps them packed. `about`: see `run_facts`.
    """
    run = FleetRun(out=out, run_id=run_id, about=about or {})
    return write_packed([dealing.pack(report) for report in reports], run)


def write_packed(packed: Sequence[dealing.Packed], run: FleetRun) -> Mapping[str, Any]:
    """`write` for packed entries, in one process."""
    dealt = dealing.deal(model_id for model_id, _ in packed)
    if not dealt.is_large:
        return write_whole(dealing.once(packed), run)
    return write_summary([write_part(some, number, dealt, run) for number, some in dealing.in_parts(packed, dealt)], run)


def write_whole(entries: Sequence[Mapping[str, Any]], run: FleetRun) -> Mapping[str, Any]:
    """Writes the files of a fleet that is not large, and removes the parts of one that was. Returns fleet.json's facts."""
    out = run.out
    with run_lock.writing_fleet(out):
        changes, new = since_last_run(out, entries, run_id=run.run_id)
        facts_of_run = run_facts(out, [tally(entries)], new, run.about)
        facts = fleet_facts(entries, changes=changes, job=facts_of_run)
        write_fleet(out, facts)
        _remove_old(out, ())
        history.write(out, {**new, "runs": facts_of_run["runs"]})
        run_lock.forget_submitted(out)
    return facts


def write_part(packed: Sequence[dealing.Packed], number: int, dealt: dealing.Deal, run: FleetRun) -> dict[str, Any]:
    """Writes the rows, the page's pieces and the history of one part. Returns what `write_summary` needs of it."""
    entries = dealing.once(packed)
    changes, new = compared(history.read(run.out, dealt.span(number), run_id=run.run_id), entries)
    return {**_write_rows(entries, number, run.out, changes), "history": history.write_part(run.out, new)}


def _write_rows(entries: Sequence[Mapping[str, Any]], number: int, out: str, changes: Mapping[str, Any] | None) -> dict[str, Any]:
    facts = fleet_facts(entries)
    return {
        "number": number,
        "counts": summary.of_part(facts, entries, changes),
        "page": page.write_pieces(out, number, facts),
        "part": table.write_part(out, number, facts),
    }


def write_summary(written: Iterable[Mapping[str, Any]], run: FleetRun) -> Mapping[str, Any]:
    """Writes fleet.json and the page of a large fleet, once every part is written; makes the parts' history the last run's, and
    removes files that no longer count. Returns fleet.json's facts.
    """
    out, ordered = run.out, _ordered(written)
    whole = summary.merged([one["counts"] for one in ordered])
    with run_lock.writing_fleet(out):
        facts_of_run = run_facts(out, whole["tallies"], {**history.last_runs(out), "run_id": run.run_id}, run.about)
        facts = summary.fleet_summary(whole, [one["part"] for one in ordered], facts_of_run)
        _write_summary(out, facts, whole, ordered)
        history.name_parts(out, run.run_id, facts_of_run["runs"], [one["history"] for one in ordered if one["history"]])
        _remove_old(out, ordered)
        run_lock.forget_submitted(out)
    return facts


def rebuild(packed: Sequence[dealing.Packed], out: str, last: Mapping[str, Any]) -> None:
    """Writes facts, table and page again, without a run: `changes` and `run` stay those of `last`, fleet.json's facts, which may
    be damaged.
    """
    changes, about_run = (lenient.mapping(last.get(key)) or None for key in ("changes", "run"))
    dealt = dealing.deal(model_id for model_id, _ in packed)
    with run_lock.writing_fleet(out):
        if not dealt.is_large:
            write_fleet(out, fleet_facts(dealing.once(packed), changes=changes, job=about_run))
            _remove_old(out, ())
            return
        parts = dealing.in_parts(packed, dealt)
        ordered = [_write_rows(dealing.once(some), number, out, None) for number, some in parts]
        whole = summary.merged([one["counts"] for one in ordered])
        facts = summary.fleet_summary(whole, [one["part"] for one in ordered], about_run)
        counts = lenient.mapping(last.get("change_counts")) or None
        _write_summary(out, {**facts, "changes": changes, "change_counts": counts}, whole, ordered)
        _remove_old(out, ordered)


def _ordered(written: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Each part once, in order: a runner may deliver a part twice."""
    return [one for _, one in sorted({one["number"]: one for one in written}.items())]


def _write_summary(out: str, facts: Mapping[str, Any], whole: summary.Summary, ordered: Sequence[Mapping[str, Any]]) -> None:
    beneath.write_bytes(out, layout.FLEET_FACTS, as_json(facts))
    page.write_page(out, facts, whole, [one["page"] for one in ordered])


def _remove_old(out: str, ordered: Sequence[Mapping[str, Any]]) -> None:
    """Removes the table of the other form, and the files of parts that no longer count."""
    if ordered:
        storage.remove_tree(storage.join(out, layout.FLEET_TABLE))
    named = {one["part"]["path"].rpartition("/")[2] for one in ordered}
    _remove_others(out, layout.FLEET_PARTS, named)
    _remove_others(out, layout.PAGE_PARTS, page.page_files([one["page"] for one in ordered]))


def _remove_others(out: str, folder: str, named: set[str]) -> None:
    """Removes files that LiteFerry made in a folder and that are not among `named`; a user's own files stay."""
    for name in beneath.sizes_of(storage.join(out, folder)):
        if name not in named and _MADE.fullmatch(name):
            storage.remove_tree(storage.join(out, folder, name))
