"""How a run that goes on tells how far it is: one JSON line per finished model, appended under OUT/.staging, read by whoever
watches.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from liteferry import storage
from liteferry.report.summary import one_line


def _folder(out: str) -> str:
    return storage.join(out, ".staging", "progress")


def report_finished(out: str, report: Mapping[str, Any], *, is_new: bool) -> None:
    """Says that a model's report is in place; `is_new` is False for one that an earlier run had finished."""
    line = {"model_id": report["model_id"], "status": report["status"], "line": one_line(report), "is_new": is_new}
    storage.append_line(storage.join(_folder(out), f"{os.getpid()}.jsonl"), json.dumps(line))


class Watcher:
    """Reads the lines that have come since it last looked."""

    def __init__(self, out: str) -> None:
        self._folder = _folder(out)
        self._offsets: dict[str, int] = {}

    def new_lines(self) -> Iterator[dict[str, Any]]:
        for name in storage.list_directory(self._folder):
            path = storage.join(self._folder, name)
            with open(path, "rb") as file:
                file.seek(self._offsets.get(name, 0))
                data = file.read()
            whole, _, _ = data.rpartition(b"\n")
            if whole:
                self._offsets[name] = self._offsets.get(name, 0) + len(whole) + 1
                yield from (json.loads(line) for line in whole.splitlines())
