"""Reads a published model, on any storage. A model is published once its marker exists.

The marker holds the sha256 of `report.json`, and `report.json` holds the size and sha256 of every file. So a reader whose
marker, report and files agree has read one complete model, even if another process wrote to the folder meanwhile.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.json_records import parse
from liteferry.storage import beneath
from liteferry.storage.layout import BLESSED, LAST_GOOD, NOT_BLESSED, PAGE, REPORT
from liteferry.types import Status

MARKERS = (BLESSED, NOT_BLESSED)
BESIDE = (REPORT, PAGE, *MARKERS)
"""Files about a model that are not artifacts."""


def marker_of(report: Mapping[str, Any]) -> str:
    """The name of the marker that belongs to a report's status."""
    return BLESSED if report["status"] == Status.BLESSED.value else NOT_BLESSED


def vouch_for(report: bytes) -> bytes:
    """A marker's content."""
    return json.dumps({"report_sha256": hashlib.sha256(report).hexdigest()}).encode() + b"\n"


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """A model's folder as listed once. `sizes`: path -> bytes. Marker and report are read when they are first asked for, and
    then remembered; they may have changed since the listing. Callers do not change the reports that they get.
    """

    directory: str
    sizes: Mapping[str, int]

    def marker(self) -> bytes | None:
        """The content of the marker; None where there is not exactly one."""
        there = [name for name in MARKERS if name in self.sizes]
        return self._read(there[0]) if len(there) == 1 else None

    def raw_report(self) -> dict[str, Any]:
        """The report in the folder, whether the model is published or not; {} if it cannot be read."""
        return _parse(self._report_bytes or b"")

    def published_report(self) -> dict[str, Any]:
        """The report of a published model, else {}. Not published: no marker, two markers, a marker with another report's
        digest, or a marker that contradicts the report's status. Does not check the files.
        """
        return self._published

    def complete_report(self) -> dict[str, Any]:
        """As `published_report`; also checks that every file it lists exists with the right size."""
        report = self.published_report()
        files = report.get("files")
        if not isinstance(files, Mapping):
            return {}
        is_whole = all(isinstance(facts, Mapping) and self.sizes.get(name) == facts.get("bytes") for name, facts in files.items())
        return report if is_whole else {}

    @functools.cached_property
    def _report_bytes(self) -> bytes | None:
        return self._read(REPORT)

    @functools.cached_property
    def _published(self) -> dict[str, Any]:
        marker = self.marker()
        data = None if marker is None else self._report_bytes
        if data is None or marker != vouch_for(data):
            return {}
        report = _parse(data)
        return report if "status" in report and marker_of(report) in self.sizes else {}

    def versions(self) -> list[int]:
        """Version numbers: the names of the folders below saved_model/."""
        parts = [name.split("/") for name in self.sizes]
        names = {part[1] for part in parts if part[0] == "saved_model" and len(part) > 1}
        return sorted(int(name) for name in names if name.isdecimal())

    def _read(self, name: str) -> bytes | None:
        """A file's bytes, None where it is not there. Raises StorageError for a store that does not answer."""
        if name not in self.sizes:
            return None
        if storage.is_remote(self.directory):
            return storage.read_if_there(storage.join(self.directory, name))
        try:
            return beneath.read_bytes(self.directory, name)
        except StorageError:
            return None  # on a disk, checked again when the folder is moved into place


def scan(directory: str) -> ModelFolder:
    """Lists the files in a model's folder; does not follow links. Raises StorageError when it cannot be listed."""
    return ModelFolder(directory, beneath.sizes_of(directory))


def scan_good(directory: str) -> ModelFolder:
    """The folder in which a reader finds a blessed model: this one, or, on a store while a newer one is sent, `last_good` in it.
    Raises StorageError.
    """
    folder = scan(directory)
    if not storage.is_remote(directory) or folder.complete_report():
        return folder
    good = scan(storage.join(directory, LAST_GOOD))
    return good if good.complete_report() else folder


def _parse(data: bytes) -> dict[str, Any]:
    try:
        report = parse(data)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}
