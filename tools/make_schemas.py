"""docs/reports.md -> docs/schema/report.schema.json and fleet.schema.json: `python -m tools.make_schemas`.

The page for people is the one place where keys and types are written down; real reports are held against both. Keys that a schema
does not know are allowed: new ones may come within one schema_version.
"""

from __future__ import annotations

import json
from typing import Any

from liteferry.report.fleet import COLUMNS
from tests.docs.test_docs import DOCS, documented_paths

Schema = dict[str, Any]

FOLDER = DOCS / "schema"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
JSON_TYPES = {"text": "string", "integer": "integer", "number": "number", "object": "object", "true": "boolean", "null": "null"}
ENUMS = {
    "schema_version": [1],
    "status": ["blessed", "not_blessed", "failed"],
    "saved_model.status": ["blessed", "not_blessed"],
    "saved_model.second_opinion.status": ["equal", "different", "none"],
    "variants.<variant>.status": ["blessed", "not_blessed", "unverifiable", "failed"],
}
# The page says of these, in the words beside their members, that they are null or absent at times.
NULLABLE = {"ops", "weights", "limit", "interval", "shape"}
OPTIONAL = {"interval"}
# Keys that reports of 0.1.0 have not.
SINCE_0_2 = {"rules_version", "judged_by", "judged_before", "nonfinite", "held", "kind", "rank", "compared_count"}
SINCE_0_2 |= {
    "column_sqnr_db",
    "worst_column",
    "worst_column_last",
    "worst_column_spread",
    "worst_column_rmse",
    "columns_judged",
    "row_agreement",
    "rows_lost",
}
SINCE_0_2 |= {
    "class_recall",
    "worst_class",
    "worst_class_positions",
    "worst_class_kept",
    "classes_judged",
    "classes_too_rare",
    "rare_classes",
}
OPTIONAL |= SINCE_0_2
MAY_BE_EMPTY = {"latency_ms"}
VARIANT_COLUMNS = ("path", "bytes", "batch", "worst_max_abs", "min_argmax_agreement", "example_count", "latency_ms")


def report_schema() -> Schema:
    """The schema of report.json."""
    tree: dict[str, Any] = {}
    for path in documented_paths():
        node = tree
        for segment in path.replace("[]", ".[]").split("."):
            node = node.setdefault(segment, {})
    about = {"$schema": DIALECT, "title": "LiteFerry report.json", "description": "One model. See docs/reports.md."}
    return about | _schema(tree, "", documented_paths())


def _schema(node: dict[str, Any], path: str, kinds: dict[str, str]) -> Schema:
    schema: Schema = {"type": _types(node, path, kinds.get(path, ""))}
    if path in ENUMS:
        schema["enum"] = ENUMS[path]
    if "[]" in node:
        schema["items"] = _schema(node["[]"], f"{path}[]", kinds)
    members = {name: child for name, child in node.items() if name != "[]"}
    named = {name: _schema(child, f"{path}.{name}" if path else name, kinds) for name, child in members.items()}
    free = [found for name, found in named.items() if name.startswith("<")]
    if free:
        schema["additionalProperties"] = free[0]
    elif named:
        schema["properties"] = named
        schema["required"] = [name for name in named if name not in OPTIONAL and path.rpartition(".")[2] not in MAY_BE_EMPTY]
    return schema


def _types(node: dict[str, Any], path: str, kind: str) -> str | list[str]:
    words = [json_type for word, json_type in JSON_TYPES.items() if word in kind]
    if not set(words) - {"null"}:
        words = ["array" if "[]" in node else "object", *words]
    if path.rpartition(".")[2] in NULLABLE and "null" not in words:
        words.append("null")
    return words[0] if len(words) == 1 else words


def fleet_schema() -> Schema:
    """The schema of fleet.json."""
    count: Schema = {"type": "integer", "minimum": 0}
    counts: Schema = {"type": "object", "additionalProperties": count}
    text: Schema = {"type": ["string", "null"]}
    report = report_schema()["properties"]
    kinds = {"string": "string", "int64": "integer", "float64": "number", "bool": "boolean"}
    columns: dict[str, Schema] = {name: {"type": [kinds[kind], "null"]} for name, kind in COLUMNS.items()}
    columns["model_id"] = {"type": "string"}
    variant = {name: columns[name] for name in VARIANT_COLUMNS}
    variant |= {"status": report["variants"]["additionalProperties"]["properties"]["status"], "reason": report["reason"]}
    model = {
        "model_id": {"type": "string"},
        "checkpoint_uri": text,
        "kind": text,
        "status": report["status"],
        "reason": report["reason"],
        "recommended_variant": text,
        "saved_model": {"type": ["object", "null"]},
        "variants": {"type": "object", "additionalProperties": _closed(variant)},
        "warnings": {"type": "array", "items": {"type": "string"}},
    }
    totals = dict.fromkeys(("models", "blessed", "not_blessed", "failed"), count)
    totals |= {"by_reason": counts, "by_variant": {"type": "object", "additionalProperties": counts}}
    whole = {
        "schema_version": {"type": "integer", "enum": [1]},
        "totals": _closed(totals),
        "models": {"type": "array", "items": _closed(model)},
        "rows": {"type": "array", "items": _closed(columns)},
        "run": {"type": ["object", "null"]},
    }
    about = {"$schema": DIALECT, "title": "LiteFerry fleet.json", "description": "The models of one run. See docs/reports.md."}
    return about | _closed(whole)


def _closed(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def texts() -> dict[str, str]:
    """File name -> what docs/schema must hold."""
    schemas = {"report.schema.json": report_schema(), "fleet.schema.json": fleet_schema()}
    return {name: json.dumps(schema, indent=1, ensure_ascii=False) + "\n" for name, schema in schemas.items()}


if __name__ == "__main__":
    for name, text in texts().items():
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / name).write_text(text, encoding="utf-8")
