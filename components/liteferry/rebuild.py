"""`liteferry report`: the pages again from the JSON alone."""

from __future__ import annotations

import json

from liteferry import storage
from liteferry.errors import JobError, StorageError
from liteferry.publish import PAGE, REPORT


def rebuild_pages(out: str) -> int:
    """Writes every report.html and the fleet's files again. Returns how many reports there are.

    Raises:
      JobError: when there is no report under `out`.
    """
    from liteferry.report.facts import for_fleet
    from liteferry.report.fleet import fleet_facts, write_fleet
    from liteferry.report.pages import render_model

    reports = []
    models = storage.join(out, "models")
    for name in storage.list_directory(models):
        path = storage.join(models, name, REPORT)
        try:
            report = json.loads(storage.read_bytes(path))
        except (StorageError, ValueError):
            continue
        storage.write_bytes(storage.join(models, name, PAGE), render_model(report).encode())
        reports.append(for_fleet(report))
    if not reports:
        raise JobError([f"{models}: no report.json in any folder; run `liteferry run ... --output {out}` first"], source=out)
    write_fleet(out, fleet_facts(reports))
    return len(reports)
