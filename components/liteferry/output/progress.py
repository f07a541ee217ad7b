"""The progress of a run, for the live display and other readers: JSON lines under OUT/.staging, appended at once or, on a
store, written now and then.

A line says that a model's report is in place (`line`, `status`, `is_new`), or that work on models has begun (`doing`, `stage`).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from liteferry import storage
from liteferry.errors import Stage, StorageError
from liteferry.json_records import parse
from liteferry.report.terminal import one_line
from liteferry.storage import beneath, layout
from liteferry.storage.append_log import StoreLog

if TYPE_CHECKING:
    from liteferry.plan.model_plan import ModelPlan


def _folder(out: str) -> str:
    return storage.join(out, layout.STAGING, "progress")


def report_finished(out: str, report: Mapping[str, Any], *, is_new: bool) -> None:
    """Writes that a model's report is in place. `is_new` is False for a report of an earlier run."""
    line = {"model_id": report["model_id"], "status": report["status"], "line": one_line(report), "is_new": is_new}
    _append(out, line)


def report_doing(plans: Iterable[ModelPlan], stage: Stage) -> None:
    """Writes that a stage begins with these models. Never raises: progress is best effort."""
    for plan in plans:
        with contextlib.suppress(StorageError):
            _append(plan.out, {"doing": plan.model_id, "stage": stage.value, "since": time.time(), "host": socket.gethostname()})


def _append(out: str, line: Mapping[str, Any]) -> None:
    if storage.is_remote(out):
        _log_of(out).append(json.dumps(line))
    else:
        storage.append_line(storage.join(_folder(out), f"{os.getpid()}.jsonl"), json.dumps(line))


_logs: dict[str, StoreLog] = {}
_logs_lock = threading.Lock()


def _log_of(out: str) -> StoreLog:
    with _logs_lock:
        if out not in _logs:
            _logs[out] = StoreLog(_folder(out))
        return _logs[out]


def flush() -> None:
    """Writes what this process has buffered for stores: when a bundle ends, the process may be ended with it."""
    for log in list(_logs.values()):
        log.flush()


def forget(out: str) -> None:
    """Drops what this process has buffered for an OUT: a run begins there, or has ended."""
    with _logs_lock:
        log = _logs.pop(out, None)
    if log is not None:
        log.close()


def _read_from(path: str, offset: int) -> bytes:
    if storage.is_remote(path):
        return storage.read_bytes(path)[offset:]  # these objects are small
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        file.seek(offset)
        return file.read()


def _parsed(line: bytes) -> dict[str, Any]:
    """A line as it was written, or {} where it is damaged: a full disk may hold half of a line, or
    somebody may have edited it.
    """
    try:
        parsed = parse(line)
    except ValueError:
        return {}
    if not isinstance(parsed, dict):
        return {}
    texts = ("doing", "stage") if "doing" in parsed else ("model_id", "status", "line")
    is_sound = all(isinstance(parsed.get(key), str) for key in texts) and isinstance(parsed.get("since", 0.0), (int, float))
    is_sound = is_sound and isinstance(parsed.get("host", ""), str)
    return parsed if is_sound and isinstance(parsed.get("is_new", True), bool) else {}


class Watcher:
    """Reads the lines added since the last call, and keeps the models in progress: `running`, model_id -> its line."""

    def __init__(self, out: str) -> None:
        self._folder = _folder(out)
        self._offsets: dict[str, int] = {}
        self._finished: set[str] = set()
        self.running: dict[str, dict[str, Any]] = {}

    def new_lines(self) -> Iterator[dict[str, Any]]:
        """The lines of models that were finished in the meantime."""
        sizes = beneath.sizes_of(self._folder)
        for name in sorted(sizes):
            with contextlib.suppress(OSError, StorageError):  # it was removed in the meantime
                yield from self._finished_in(self._new_in(name, sizes[name]))

    def _new_in(self, name: str, size: int) -> list[dict[str, Any]]:
        if size < self._offsets.get(name, 0):
            self._offsets[name] = 0  # it is a new file: the output was removed and is written again
        if size == self._offsets.get(name, 0):
            return []
        whole, _, _ = _read_from(storage.join(self._folder, name), self._offsets.get(name, 0)).rpartition(b"\n")
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
