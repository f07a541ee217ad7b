"""Problems of a job as sentences: each starts with its key path, states the value, and ends with the fix.

`sentences` words the errors that pydantic finds within keys, `disagreements` finds problems between keys. Both work on a raw
mapping of any shape, so one run of `liteferry check` shows all problems.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pydantic

from liteferry.errors import did_you_mean

SAVED_MODEL = "saved_model"
DISAGREEMENT = "job_keys_disagree"

_WANTED = {  # pydantic's error type -> the values that the key accepts
    "string_type": "text",
    "float_type": "a number",
    "int_type": "a whole number",
    "tuple_type": "a list",
    "mapping_type": "a mapping",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "bool_type": "true or false",
}
_FIXES = {
    "text": "write one value, in quotes if it looks like something else",
    "a number": "write a plain number such as {example}, without quotes or units",
    "a whole number": "write a whole number such as {example}, without quotes or units",
    "a list": "write [one, two] or a `- one` line for each",
    "a mapping": "write `key: value` lines under it",
    "true or false": "write true or false without quotes",
}


def sentences(error: pydantic.ValidationError, schema: Mapping[str, Any]) -> list[str]:
    """One sentence for each error. `schema`: the JSON Schema of the job, which tells the known keys and values of a place."""
    found = error.errors(include_url=False)
    # pydantic also calls a list too short when its items are bad; those are reported one by one
    told = [item for item in found if item["type"] != DISAGREEMENT and not (item["type"] == "too_short" and item["input"])]
    return [_sentence(item, schema) for item in told]


def _sentence(item: Any, schema: Mapping[str, Any]) -> str:
    kind, place, value, context = item["type"], item["loc"], item["input"], item.get("ctx", {})
    path, shown = key_path(place), _shown(value)
    if kind == "extra_forbidden":
        known = sorted(_at(schema, place[:-1]).get("properties", ()))
        return f"{path}: is an unknown key{nearest(place[-1], known)}; the keys here are {', '.join(known)}"
    if kind == "missing":
        return f"{path}: is missing; add it. {_at(schema, place).get('description', '')}".rstrip()
    if kind == "invalid_key" or place[-1:] == ("[key]",):
        return f"{path}: the key {shown} is not usable text; write it in quotes"
    if kind == "enum":
        known = _at(schema, place).get("enum", [])
        return f"{path}: {shown} is not one of {', '.join(known)}{nearest(value, known)}"
    if kind in _WANTED or kind == "int_from_float":
        return f"{path}: {_wrong_type(value, _WANTED.get(kind, 'a whole number'), place, schema)}"
    if kind in ("greater_than_equal", "less_than_equal"):
        limit = f"below {context['ge']:g}" if "ge" in context else f"above {context['le']:g}"
        return f"{path}: {shown} is {limit}; {_fix('a number', place, schema)}"
    if kind == "greater_than":
        return f"{path}: {shown} is not above {context['gt']:g}; {_fix('a number', place, schema)}"
    if kind == "finite_number":
        return f"{path}: {shown} is not a finite number; {_fix('a number', place, schema)}"
    if kind in ("too_short", "string_too_short"):
        return f"{path}: is empty; give it a value" + (" or remove the key" if kind == "string_too_short" else "")
    if kind == "value_error":
        return f"{path}: {shown} {context['error']}"
    return f"{path}: {shown} is not usable: {item['msg']}"


def _wrong_type(value: Any, wanted: str, place: Sequence[str | int], schema: Mapping[str, Any]) -> str:
    if value is None:
        return f"has no value; give it {wanted} or remove the {'item' if isinstance(place[-1], int) else 'key'}"
    return f"{_shown(value)} is not {wanted}; {_fix(wanted, place, schema)}"


def _fix(wanted: str, place: Sequence[str | int], schema: Mapping[str, Any]) -> str:
    example = _at(schema, place).get("default") or (10 if wanted == "a whole number" else 0.01)
    return _FIXES[wanted].format(example=f"{example:g}" if isinstance(example, (int, float)) else example)


def key_path(place: Sequence[str | int]) -> str:
    """("models", 0, "samples") -> models[0].samples"""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in place if part != "[key]"]
    return "".join(parts).lstrip(".") or "the job"


def _shown(value: Any) -> str:
    """A value as the job file would spell it, cut to 80 characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = "null" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def nearest(name: Any, known: Iterable[Any]) -> str:
    """`did_you_mean` for a key or value of any type; what is known is in small letters."""
    return did_you_mean(str(name).lower(), map(str, known))


def _at(schema: Mapping[str, Any], place: Sequence[str | int]) -> Mapping[str, Any]:
    """The part of a JSON Schema that describes `place`; {} where it says nothing."""
    node: Mapping[str, Any] = _resolved(schema, schema)
    for part in place:
        if isinstance(part, int):
            child = node.get("items", {})
        else:
            child = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
        node = _resolved(child, schema) if isinstance(child, Mapping) else {}
    return node


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follows $ref, and takes the branch of an optional value that is not null; keeps the keys beside either."""
    for option in node.get("anyOf", ()):
        if option.get("type") != "null":
            node = {**node, **option}
    if "$ref" not in node:
        return node
    return {**schema["$defs"][node["$ref"].rpartition("/")[2]], **node}


def as_flags(problems: Iterable[str]) -> list[str]:
    """The same problems under the command-line flag that each value came from: models[0].builder: -> --builder:"""
    flags = {"models": "checkpoints", "path": "samples"}
    renamed = []
    for problem in problems:
        place, colon, rest = problem.partition(": ")
        key = re.split(r"[.\[]", re.sub(r"^(models\[\d+\]|samples\.samples)\.", "", place))[0]
        renamed.append(f"--{flags.get(key, key)}{colon}{rest}")
    return list(dict.fromkeys(renamed))
