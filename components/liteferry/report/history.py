"""What the next run is compared with, OUT/.history: one file, or for a large fleet a file for each part and one that names them.

Every model of any earlier run in this OUT is remembered, with its last verdicts and numbers and the contracts of its last blessed
report. Files of parts have the digest of their content in their names; the last step of a run lets `last_run.json` name its own.
Those of the run before stay one run longer, since a runner may repeat a step of a run that has just ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from liteferry import lenient, storage
from liteferry.errors import StorageError
from liteferry.json_records import parse
from liteferry.report.parts.dealing import EVERYTHING, Span
from liteferry.storage import beneath, layout

_WHOLE, _IN_PARTS = 1, 2
_BY_MODEL = ("models", "blessed_contracts")
_MOST_BYTES = 2**30  # of one part, unpacked

History = dict[str, Any]


def read(out: str, span: Span = EVERYTHING, *, run_id: str | None = None) -> History:
    """`{run_id, runs, models, of_last_run, blessed_contracts}` of the models in the span; {} where there is no earlier run, or
    its history was damaged by hand.

    Args:
      run_id: the run that asks. If it has written its history already, the answer is the one before it, where the rows are in
        parts.
    """
    found = _last_run(out)
    if not found or found.get("schema_version") == _WHOLE:
        return found if span is EVERYTHING or not found else _cut(found, span)
    parts = _parts_of(found, "before" if found.get("run_id") == run_id else "parts")
    merged: History = {"models": {}, "blessed_contracts": {}, "of_last_run": []}
    for part in parts:
        if span.meets(part["first"], part["last"]):
            cut = _cut(_read_part(out, part["path"]), span)
            for key in _BY_MODEL:
                merged[key] |= cut[key]
            merged["of_last_run"] += cut["of_last_run"]
    return {**{key: found.get(key) for key in ("run_id", "runs")}, **merged} if parts else {}


def last_runs(out: str) -> History:
    """`{run_id, runs}` of the history, without its models; {} where there is none."""
    found = _last_run(out)
    return {key: found.get(key) for key in ("run_id", "runs")} if found else {}


def write(out: str, history: Mapping[str, Any]) -> None:
    """Writes the history of a fleet that is not in parts."""
    data = json.dumps({**history, "schema_version": _WHOLE}, sort_keys=True).encode()
    beneath.write_bytes(out, layout.LAST_RUN, data)
    storage.remove_tree(storage.join(out, layout.HISTORY_PARTS))


def write_part(out: str, history: Mapping[str, Any]) -> dict[str, Any] | None:
    """Writes the history of the models of one part. Returns its entry for `name_parts`; None where there is no model."""
    ids = sorted(lenient.mapping(history.get("models")).keys() | lenient.mapping(history.get("blessed_contracts")).keys())
    if not ids:
        return None
    content = {key: history.get(key) for key in (*_BY_MODEL, "of_last_run")}
    data = zlib.compress(json.dumps(content, sort_keys=True).encode(), 1)
    path = f"{layout.HISTORY_PARTS}/{hashlib.sha256(data).hexdigest()[:24]}.json.z"
    beneath.write_bytes(out, path, data)
    return {"path": path, "first": ids[0], "last": ids[-1]}


def name_parts(out: str, run_id: str, runs: Sequence[Any], parts: Sequence[Mapping[str, Any]]) -> None:
    """Makes these parts the history. A step that is repeated changes nothing."""
    found = _last_run(out)
    if found.get("run_id") == run_id:
        return
    before = _as_parts(out, found)
    data = {"schema_version": _IN_PARTS, "run_id": run_id, "runs": list(runs), "parts": list(parts), "before": before}
    beneath.write_bytes(out, layout.LAST_RUN, json.dumps(data, sort_keys=True).encode())
    named = {part["path"].rpartition("/")[2] for part in (*parts, *before)}
    for name in storage.list_directory(storage.join(out, layout.HISTORY_PARTS)):
        if name not in named:
            storage.remove_tree(storage.join(out, layout.HISTORY_PARTS, name))


def _as_parts(out: str, found: History) -> list[dict[str, Any]]:
    if found.get("schema_version") == _WHOLE:
        return [part for part in (write_part(out, found),) if part is not None]
    return _parts_of(found)


def _parts_of(found: History, key: str = "parts") -> list[dict[str, Any]]:
    """The parts that a history names; entries that were damaged by hand are left out."""
    parts = map(lenient.mapping, lenient.listing(found.get(key)))
    return [part for part in parts if all(isinstance(part.get(name), str) for name in ("path", "first", "last"))]


def forget_models(out: str, model_ids: Iterable[str]) -> None:
    """Removes models from the history, after the user has removed them. Raises StorageError."""
    found, gone = _last_run(out), set(model_ids)
    if found.get("schema_version") == _WHOLE:
        write(out, _without(found, gone))
    elif found:
        parts = list(_parts_without(out, found, gone))
        data = {**found, "parts": parts, "before": []}
        beneath.write_bytes(out, layout.LAST_RUN, json.dumps(data, sort_keys=True).encode())


def _parts_without(out: str, found: History, gone: set[str]) -> Iterator[dict[str, Any]]:
    for part in _parts_of(found):
        if not any(part["first"] <= model_id <= part["last"] for model_id in gone):
            yield part
            continue
        left = write_part(out, _without(_read_part(out, part["path"]), gone))
        if left is not None:
            yield left


def _without(history: Mapping[str, Any], gone: set[str]) -> History:
    kept = {
        key: {name: facts for name, facts in lenient.mapping(history.get(key)).items() if name not in gone} for key in _BY_MODEL
    }
    return {**history, **kept}


def _cut(history: Mapping[str, Any], span: Span) -> History:
    kept = {key: {name: facts for name, facts in lenient.mapping(history.get(key)).items() if name in span} for key in _BY_MODEL}
    roster = history.get("of_last_run")
    return {**history, **kept, "of_last_run": [name for name in roster if name in span] if isinstance(roster, list) else None}


def _read_part(out: str, path: str) -> History:
    empty: History = {"models": {}, "blessed_contracts": {}, "of_last_run": []}
    if not beneath.is_inside(path) or not path.startswith(f"{layout.HISTORY_PARTS}/"):
        return empty
    with contextlib.suppress(StorageError, ValueError, RecursionError, zlib.error):
        data = zlib.decompressobj().decompress(beneath.read_bytes(out, path), _MOST_BYTES)
        found = lenient.mapping(parse(data))
        return {**empty, **{key: found[key] for key in empty if isinstance(found.get(key), type(empty[key]))}}
    return empty


def _last_run(out: str) -> History:
    """The file itself; {} if it is missing, was damaged by hand or is of a version that this one does not know."""
    try:
        found = lenient.mapping(parse(beneath.read_bytes(out, layout.LAST_RUN)))
    except (StorageError, ValueError, RecursionError):
        return {}
    return found if found.get("schema_version") in (_WHOLE, _IN_PARTS) else {}
