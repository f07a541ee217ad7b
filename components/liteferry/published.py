"""How a published model is read, on any storage: no marker, no model; and the marker vouches for the report, the report for the
files.

A marker holds the sha256 of `report.json`, and `report.json` holds sizes and sha256 of every file. So whoever has read a marker,
a report and files that agree has one whole model, whatever was written in between.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.json_text import parse
from liteferry.manifest import BLESSED, NOT_BLESSED, REPORT
from liteferry.types import Status

MARKERS = (BLESSED, NOT_BLESSED)


def marker_of(report: Mapping[str, Any]) -> str:
    """The name of the marker that a report calls for."""
    return BLESSED if report["status"] == Status.BLESSED.value else NOT_BLESSED


def vouch_for(report: bytes) -> bytes:
    """A marker's content."""
    return json.dumps({"report_sha256": hashlib.sha256(report).hexdigest()}).encode() + b"\n"


def read_report(directory: str) -> dict[str, Any]:
    """The report that lies in a model's folder, whether the model is whole or not; {} where none can be read."""
    try:
        return _parse(storage.read_bytes(storage.join(directory, REPORT)))
    except StorageError:
        return {}


def read(directory: str) -> dict[str, Any]:
    """The report of a model that is published, {} where none is: no marker, two of them, one that speaks of another report, or a
    report that calls for the other. Files are not looked at.
    """
    return _read_if(directory, storage.list_directory(directory))


def read_whole(directory: str) -> dict[str, Any]:
    """As `read`, and every file that the report names is there with its size."""
    sizes = storage.sizes_under(directory)
    report = _read_if(directory, sizes)
    files = report.get("files")
    if not isinstance(files, Mapping):
        return {}
    is_whole = all(isinstance(facts, Mapping) and sizes.get(name) == facts.get("bytes") for name, facts in files.items())
    return report if is_whole else {}


def marker(directory: str) -> bytes | None:
    """The content of the marker that stands in a model's folder; None where there is not exactly one."""
    return _marker(directory, storage.list_directory(directory))


def _marker(directory: str, names: Iterable[str]) -> bytes | None:
    there = set(MARKERS).intersection(names)
    try:
        return storage.read_bytes(storage.join(directory, there.pop())) if len(there) == 1 else None
    except StorageError:
        return None


def _read_if(directory: str, names: Iterable[str]) -> dict[str, Any]:
    there = set(MARKERS).intersection(names)
    content = _marker(directory, there)
    if content is None:
        return {}
    try:
        data = storage.read_bytes(storage.join(directory, REPORT))
    except StorageError:
        return {}
    report = _parse(data)
    return report if report and content == vouch_for(data) and "status" in report and there == {marker_of(report)} else {}


def _parse(data: bytes) -> dict[str, Any]:
    try:
        report = parse(data)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}
