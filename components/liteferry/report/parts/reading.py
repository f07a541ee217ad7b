"""Reads the facts of a fleet of either form: one fleet.json with everything, or a summary with parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from liteferry.errors import StorageError
from liteferry.report.fleet_check import sound_model
from liteferry.report.parts.table import read_models, read_rows

Part = Mapping[str, Any]


class InParts:
    """The models or the rows of a large fleet, read part by part each time that they are iterated over; never all at once."""

    def __init__(self, out: str, parts: list[dict[str, Any]], read: Callable[[str, Part], Iterator[dict[str, Any]]], count: int):
        self._out, self._parts, self._read, self._count = out, parts, read, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for part in self._parts:
            yield from self._read(self._out, part)


def with_models(out: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The summary with `models` and `rows` as in a smaller fleet's facts, read when they are iterated over: then StorageError is
    raised where a part is missing or is another one.
    """
    parts = facts["parts"]
    models = InParts(out, parts, _sound_models, facts["totals"]["models"])
    return {**facts, "models": models, "rows": InParts(out, parts, read_rows, sum(part["rows"] for part in parts))}


def _sound_models(out: str, part: Part) -> Iterator[dict[str, Any]]:
    found = list(read_models(out, part))
    if len(found) != part["models"]:
        raise StorageError(f"{part['path']} has {len(found)} models, fleet.json says {part['models']}")
    for place, model in enumerate(found):
        try:
            sound_model(place, model)
        except ValueError as error:
            raise StorageError(f"{part['path']}: {error}") from error
    yield from found


def json_chunks(facts: Mapping[str, Any]) -> Iterator[str]:
    """The facts as JSON text, piece by piece: models and rows are never all in memory."""
    yield "{"
    for place, (key, value) in enumerate(facts.items()):
        yield f"{',' if place else ''}\n {json.dumps(key)}: "
        if not isinstance(value, InParts):
            yield json.dumps(value, indent=1).replace("\n", "\n ")
            continue
        yield "["
        for number, item in enumerate(value):
            yield f"{',' if number else ''}\n  {json.dumps(item)}"
        yield "\n ]"
    yield "\n}"
