"""`liteferry report`: rebuilds the pages of a run from its JSON files."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from typing import Any

from liteferry import storage
from liteferry.errors import JobError, StorageError
from liteferry.json_records import parse
from liteferry.output import held_back, run_lock
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


def rebuild_pages(out: str) -> int:
    """Writes every report.html and the fleet's files again. Returns the number of models in the fleet.

    The fleet keeps the models that the last run listed: a folder whose model the job no longer names gets a page but no row.

    Raises:
      JobError: there is no report under `out`.
    """
    from liteferry.report.fleet import fleet_facts, write_fleet
    from liteferry.report.pages.render import render_model

    reports = []
    for name, own, attempt in _reports(out):
        for folder, report in ((layout.MODELS, own), (layout.ATTEMPTS, attempt)):
            if report:
                beneath.write_bytes(out, f"{folder}/{name}/{PAGE}", render_model(report).encode("utf-8", "backslashreplace"))
        reports.append(_told(own, attempt))
    if not reports:
        raise JobError([f"{out}/models: no report.json in any folder; run `liteferry run ... --output {out}` first"], source=out)
    named = _models_of_last_run(out)
    kept = [report for report in reports if named is None or str(report.get("model_id")) in named]
    with run_lock.writing_fleet(out):
        write_fleet(out, fleet_facts(kept, changes=_of_last_run(out, "changes"), job=_of_last_run(out, "run")))
    return len(kept)


def _of_last_run(out: str, key: str) -> dict[str, Any] | None:
    """`changes` or `run` of the existing fleet.json."""
    try:
        found = parse(beneath.read_bytes(out, layout.FLEET_FACTS)).get(key)
    except (StorageError, ValueError, AttributeError):
        return None
    return found if isinstance(found, dict) else None


def _models_of_last_run(out: str) -> set[str] | None:
    try:
        facts = parse(beneath.read_bytes(out, layout.FLEET_FACTS))
        return {model["model_id"] for model in facts["models"]}
    except (StorageError, ValueError, KeyError, TypeError):
        return None
