"""How a run that goes on tells how far it is: JSON lines appended under OUT/.staging, read by whoever watches.

A line says that a model's report is in place (`line`, `status`, `is_new`), or that models are being worked on (`doing`, `stage`).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from liteferry import storage
from liteferry.errors import Stage, StorageError
from liteferry.report.summary import one_line

if TYPE_CHECKING:
    from liteferry.plan import ModelPlan


def _folder(out: str) -> str:
    return storage.join(out, ".staging", "progress")


def report_finished(out: str, report: Mapping[str, Any], *, is_new: bool) -> None:
    """Says that a model's report is in place; `is_new` is False for one that an earlier run had finished."""
    line = {"model_id": report["model_id"], "status": report["status"], "line": one_line(report), "is_new": is_new}
    _append(out, line)


def report_doing(plans: Iterable[ModelPlan], stage: Stage) -> None:
    """Says that a stage begins with these models. Never raises: who cannot be told how it goes may still have the result."""
    for plan in plans:
        with contextlib.suppress(StorageError):
            _append(plan.out, {"doing": plan.model_id, "stage": stage.value, "since": time.time()})


def _append(out: str, line: Mapping[str, Any]) -> None:
    storage.append_line(storage.join(_folder(out), f"{os.getpid()}.jsonl"), json.dumps(line))


def _parsed(line: bytes) -> dict[str, Any]:
    """A line as it was written, or {}: a full disk may hold half of one."""
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) and ("doing" in parsed or "model_id" in parsed) else {}


class Watcher:
    """Reads the lines that have come since it last looked, and keeps what is being worked on: `running`, model_id -> its line."""

    def __init__(self, out: str) -> None:
        self._folder = _folder(out)
        self._offsets: dict[str, int] = {}
        self._finished: set[str] = set()
        self.running: dict[str, dict[str, Any]] = {}

    def new_lines(self) -> Iterator[dict[str, Any]]:
        """The models that were finished meanwhile."""
        for name in storage.list_directory(self._folder):
            path = storage.join(self._folder, name)
            with contextlib.suppress(OSError):  # somebody has removed it since
                yield from self._finished_in(self._new_in(name, path))

    def _new_in(self, name: str, path: str) -> list[dict[str, Any]]:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size < self._offsets.get(name, 0):
                self._offsets[name] = 0  # it is another file: the output was removed, and is written again
            file.seek(self._offsets.get(name, 0))
            whole, _, _ = file.read().rpartition(b"\n")
        if whole:
            self._offsets[name] = self._offsets.get(name, 0) + len(whole) + 1
        return [line for line in map(_parsed, whole.splitlines()) if line]

    def _finished_in(self, lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for line in lines:
            if "doing" not in line:
                self._finished.add(line["model_id"])
                self.running.pop(line["model_id"], None)
                yield line
            elif line["doing"] not in self._finished:
                self.running[line["doing"]] = line
