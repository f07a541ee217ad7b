"""`liteferry report`: rebuilds the pages of a run from its JSON files."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator
from typing import Any

from liteferry import lenient, storage
from liteferry.errors import JobError, StorageError
from liteferry.json_records import parse
from liteferry.output import fleet_files, held_back, model_folder, proofs, signing
from liteferry.report.fleet_check import is_in_parts
from liteferry.report.formats import counted, single_line
from liteferry.report.parts import dealing, table
from liteferry.storage import beneath, layout
from liteferry.storage.layout import PAGE

_AT_ONCE = 16


def read_reports(out: str) -> list[dict[str, Any]]:
    """The readable reports under OUT, in order of model_id, reduced to the parts that the fleet's pages show."""
    return [_told(own, attempt) for _, own, attempt in _reports(out)]


def _told(own: dict[str, Any], attempt: dict[str, Any]) -> dict[str, Any]:
    from liteferry.report.model_report import fleet_entry

    return held_back.told(attempt, own) if attempt else fleet_entry(own)


def _reports(out: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(report, report of the held-back attempt or {}) of every published model. A folder that is still being published, or was
    left half done, is skipped.
    """
    beneath.refuse_links(out)
    models = storage.join(out, layout.MODELS)
    names = storage.list_directory(models)
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE if storage.is_remote(out) else 1) as pool:
        reports = pool.map(lambda name: held_back.reports_of(out, name), names)
        yield from ((name, own, attempt) for name, (own, attempt) in zip(names, reports, strict=True) if own)


def rebuild_pages(out: str, tell: Callable[[str], object] = lambda _: None) -> int:
    """Writes every report.html, with what else is made of the report, and the fleet's files again. Returns the number of models
    in the fleet. `tell` gets a line where signatures vouch for pages that are other ones: those stay.

    The fleet keeps the models that the last run listed: a folder whose model the job no longer names gets a page but no row.

    Raises:
      JobError: there is no report under `out`.
    """
    last = _last_facts(out)
    named = _models_named(out, last)
    signed, packed, count = [], [], 0
    for name, own, attempt in _reports(out):
        for folder, report in ((layout.MODELS, own), (layout.ATTEMPTS, attempt)):
            if report and not _write_about(out, folder, name, report):
                signed.append(name)
        count += 1
        if named is None or str(own.get("model_id")) in named:
            packed.append(dealing.pack(_told(own, attempt), name))
    if not count:
        raise JobError([f"{out}/models: no report.json in any folder; run `liteferry run ... --output {out}` first"], source=out)
    fleet_files.rebuild(packed, out, last)
    if signed:
        stay = "stays as it was" if len(signed) == 1 else "stay as they were"
        tell(f"{counted(len(signed), 'signed page')} {stay}: {', '.join(map(single_line, signed[:5]))}")
    return len(packed)


def _write_about(out: str, parent: str, model_id: str, report: dict[str, Any]) -> bool:
    """Writes what is made of a report where it differs from what is there. Returns False where a signature vouches for the bytes
    that are there. `model_id`: the folder's own name; what the report calls itself may be anything.
    """
    from liteferry.report.pages.render import render_model

    place = f"{parent}/{model_id}"
    folder = model_folder.scan(storage.join(out, place))
    about = {PAGE: render_model(report).encode("utf-8", "backslashreplace"), **proofs.written_about(report)}
    there = {name: beneath.read_bytes(folder.directory, name) for name in about if name in folder.sizes}
    statement = layout.statement_name(model_id)
    before = beneath.read_bytes(folder.directory, statement) if statement in folder.sizes else b""
    if about == there and before:
        return True
    if signing.is_envelope(before):
        return False
    marker = model_folder.marker_of(report)
    others = {name: beneath.read_bytes(folder.directory, name) for name in (layout.REPORT, marker)}
    line = proofs.statement_of(report, {**others, **about})
    for name, content in {**about, **({} if line is None else {statement: line})}.items():
        if there.get(name) != content:
            beneath.write_bytes(out, f"{place}/{name}", content)
    return True


def _last_facts(out: str) -> dict[str, Any]:
    """The existing fleet.json; {} where there is none, or it is damaged."""
    try:
        return lenient.mapping(parse(beneath.read_bytes(out, layout.FLEET_FACTS)))
    except (StorageError, ValueError):
        return {}


def _models_named(out: str, last: dict[str, Any]) -> set[str] | None:
    """The models of the last run; None where they are not known."""
    try:
        if is_in_parts(last):
            return {row["model_id"] for part in last["parts"] for row in table.read_columns(out, part, ["model_id"])}
        return {model["model_id"] for model in last["models"]}
    except (StorageError, KeyError, TypeError, AttributeError):
        return None
