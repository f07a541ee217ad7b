"""report/records.py -> docs/schema/*.schema.json: `python -m tools.make_schemas`.

Keys that a schema does not know are allowed: new ones may come within one schema_version.
"""

from __future__ import annotations

import json
import pathlib
import types
import typing
from typing import Any

from liteferry.parity import statistics
from liteferry.report import records
from liteferry.report.fleet import COLUMNS

Schema = dict[str, Any]

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "docs" / "schema"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}
_COLUMN_TYPES = {"string": "string", "int64": "integer", "float64": "number", "bool": "boolean"}


def schema_of(kind: Any) -> Schema:
    """The JSON Schema of a type of records.py: a typed dictionary, a list, a dict, a union, or a plain type."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if typing.is_typeddict(kind):
        return _of_record(kind)
    if origin is typing.Annotated:
        return schema_of(parts[0]) | (parts[1] if isinstance(parts[1], dict) else {"enum": list(parts[1:])})
    if origin is list:
        return {"type": "array", "items": schema_of(parts[0])}
    if origin is dict:
        return {"type": "object"} | ({} if parts[1] is Any else {"additionalProperties": schema_of(parts[1])})
    if origin is types.UnionType or origin is typing.Union:
        return _of_union([schema_of(part) for part in parts])
    return {"type": _TYPES[kind]}


def _of_record(record: Any) -> Schema:
    hints = typing.get_type_hints(record, include_extras=True)
    if record is records.OutputParity:
        hints |= {metric.name: records.Number for metric in statistics.METRICS}
    properties, required = {}, []
    for name, hint in hints.items():
        is_required = record.__total__ and typing.get_origin(hint) is not typing.NotRequired
        properties[name] = schema_of(hint if typing.get_origin(hint) is not typing.NotRequired else typing.get_args(hint)[0])
        required += [name] if is_required else []
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _of_union(members: list[Schema]) -> Schema:
    """At most one member has more to say than its type."""
    merged: Schema = {"type": [member["type"] for member in members]}
    for member in members:
        merged |= {key: value for key, value in member.items() if key != "type"}
    return merged


def report_schema() -> Schema:
    """The schema of report.json."""
    about = {"$schema": DIALECT, "title": "LiteFerry report.json", "description": "One model. See docs/reports.md."}
    return about | schema_of(records.ModelReport)


def fleet_schema() -> Schema:
    """The schema of fleet.json."""
    about = {"$schema": DIALECT, "title": "LiteFerry fleet.json", "description": "The models of one run. See docs/reports.md."}
    schema: Schema = {**about, **schema_of(records.FleetReport)}
    columns: dict[str, Schema] = {name: {"type": [_COLUMN_TYPES[kind], "null"]} for name, kind in COLUMNS.items()}
    columns["model_id"] = {"type": "string"}
    schema["properties"]["rows"]["items"] = {"type": "object", "properties": columns, "required": list(columns)}
    return schema


def fleet_in_parts_schema() -> Schema:
    """The schema of fleet.json where the rows are in parts."""
    about = {"$schema": DIALECT, "title": "LiteFerry fleet.json, rows in parts", "description": "See docs/reports.md."}
    return about | schema_of(records.FleetSummary)


def texts() -> dict[str, str]:
    """File name -> what docs/schema must hold."""
    schemas = {
        "report.schema.json": report_schema(),
        "fleet.schema.json": fleet_schema(),
        "fleet_in_parts.schema.json": fleet_in_parts_schema(),
    }
    return {name: json.dumps(schema, indent=1, ensure_ascii=False) + "\n" for name, schema in schemas.items()}


if __name__ == "__main__":
    for name, text in texts().items():
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / name).write_text(text, encoding="utf-8")
