"""Reads JSON from other processes and untrusted files: limits the nesting depth, decodes into records with checked types."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

# A model inside a model takes four levels, a report has about ten.
MOST_LEVELS = 200


@functools.cache
def _adapter(record: Any) -> Any:
    import pydantic

    return pydantic.TypeAdapter(record)


def decode(record: type[T], plain: Any) -> T:
    """The record from which `dataclasses.asdict` made `plain`. Raises pydantic.ValidationError where types do not fit."""
    decoded: T = _adapter(record).validate_python(plain)  # type: ignore[arg-type]
    return decoded


def parse(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for text that is not JSON or is nested deeper than `MOST_LEVELS`."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"it nests more than {MOST_LEVELS} levels deep") from None
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MOST_LEVELS:
            raise ValueError(f"it nests more than {MOST_LEVELS} levels deep")
        children = (node.values() if isinstance(node, dict) else node for node in level if isinstance(node, (dict, list)))
        level = [child for inside in children for child in inside]
    return value


_LEVELS_OF_LINES = 2
_SCALARS = frozenset({int, float, str, bool, type(None)})


def in_lines(record: Mapping[str, Any]) -> bytes:
    """Strict JSON with a line for each key of the record and of the mappings in it. The encoder that indents every level is in
    Python, and takes ten times as long. Raises ValueError for NaN and infinity.
    """
    return f"{_lines(record, 1)}\n".encode()


def _lines(value: Any, level: int) -> str:
    if level > _LEVELS_OF_LINES or not isinstance(value, Mapping) or not value:
        return json.dumps(value, allow_nan=False)
    lines = [f"{'  ' * level}{json.dumps(str(key))}: {_lines(item, level + 1)}" for key, item in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{'  ' * (level - 1)}}}"


def tagged(record: Any) -> dict[str, Any]:
    """A dataclass record as JSON that says which one it is; `decode_tagged` is the way back."""
    return {"record": type(record).__name__, **_plain(record)}


def _plain(value: Any) -> Any:
    """As `dataclasses.asdict`, which copies each number of a histogram; here a list of numbers or texts stays the same list."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if not isinstance(value, (list, tuple)) or all(type(item) in _SCALARS for item in value):
        return value
    return [_plain(item) for item in value]


def decode_tagged(records: Sequence[type[Any]], plain: Any) -> Any:
    """The record from which `tagged` made `plain`. Raises ValueError where it is none of `records`, or types do not fit."""
    fields = dict(plain) if isinstance(plain, dict) else {}
    name = fields.pop("record", None)
    for record in records:
        if record.__name__ == name:
            return decode(record, fields)
    raise ValueError(f"a message that is none of {', '.join(record.__name__ for record in records)}: {name!r}")
