"""docs/schema holds for real reports and is what docs/reports.md says; fleet.parquet opens where people work."""

from __future__ import annotations

import copy
import json
import re

import duckdb
import jsonschema
import pytest

from tests.docs.test_docs import documented_paths
from tools import make_schemas


@pytest.fixture(scope="module")
def validators():
    found = {}
    for name in ("report", "fleet"):
        schema = json.loads((make_schemas.FOLDER / f"{name}.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        found[name] = jsonschema.Draft202012Validator(schema)
    return found


def problems(validator, value):
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(value)]


def test_the_schemas_are_those_of_the_records():
    for name, text in make_schemas.texts().items():
        assert (make_schemas.FOLDER / name).read_text(encoding="utf-8") == text, "run: python -m tools.make_schemas"


# The page says of these, in the words beside their members, that they are null at times.
NULL_IN_WORDS = {"ops", "weights", "limit", "interval", "shape"}
JSON_TYPES = {"text": "string", "integer": "integer", "number": "number", "object": "object", "true": "boolean", "null": "null"}


def paths_of(schema, path=""):
    """Path -> JSON types, of everything that a schema describes; `<>` stands for any name."""
    types = schema["type"]
    found = {path: {types} if isinstance(types, str) else set(types)}
    for name, child in schema.get("properties", {}).items():
        found |= paths_of(child, f"{path}.{name}" if path else name)
    for key, mark in (("items", "[]"), ("additionalProperties", ".<>")):
        if key in schema:
            found |= paths_of(schema[key], f"{path}{mark}")
    return found


def test_docs_have_the_keys_and_types_of_the_records():
    described = {path: types for path, types in paths_of(make_schemas.report_schema()).items() if path}
    documented = {re.sub(r"<[^>]*>", "<>", path): kind for path, kind in documented_paths().items()}
    leaves = {path for path in described if not any(other.startswith((f"{path}.", f"{path}[")) for other in described)}
    assert leaves - documented.keys() == set(), "not in docs/reports.md"
    assert documented.keys() - described.keys() == set(), "in docs/reports.md, but in no record"
    for path, kind in documented.items():
        said = {json_type for word, json_type in JSON_TYPES.items() if word in kind}
        is_container = path not in leaves
        name = path.rpartition(".")[2]
        in_words = {"null"} if name in NULL_IN_WORDS and "null" not in said else set()
        containers = {"array", "object"} if is_container else set()
        allowed = described[path] - in_words - containers
        assert allowed == said - containers, f"{path}: docs say {kind!r}, the record {described[path]}"


def test_real_reports_hold_to_the_schema(demo, validators):
    found = {model_id: problems(validators["report"], demo.report(model_id)) for model_id in demo.model_ids()}
    assert len(found) == 13 and {model_id: told for model_id, told in found.items() if told} == {}


def test_the_real_fleet_holds_to_the_schema(demo, validators):
    assert problems(validators["fleet"], json.loads((demo.out / "fleet.json").read_text())) == []


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("status",), "Blessed"),
        (("schema_version",), 2),
        (("reason",), "text"),
        (("checkpoint", "bytes"), "many"),
        (("saved_model", "fidelity"), None),
        (("variants", "float32", "status"), "ok"),
        (("variants", "float32", "bytes"), 1.5),
        (("variants", "float32", "contract", "inputs"), {}),
        (("variants", "float32", "gates", 0, "is_within"), "yes"),
        (("variants", "float32", "parity", "digit", "max_abs"), "NaN"),
        (("warnings",), None),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else repr(value),
)
def test_a_wrong_report_is_refused(demo, validators, path, wrong):
    report = demo.report("two_halves")
    replaced, left_out = copy.deepcopy(report), copy.deepcopy(report)
    _inside(replaced, path[:-1])[path[-1]] = wrong
    assert problems(validators["report"], replaced), "another type"
    del _inside(left_out, path[:-1])[path[-1]]
    assert problems(validators["report"], left_out), "left out"


def _inside(value, path):
    for key in path:
        value = value[key]
    return value


def test_duckdb_and_pandas_read_typed_columns(demo):
    path = str(demo.out / "fleet.parquet")
    with duckdb.connect() as connection:
        described = "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_parquet(?))"
        types = dict(connection.execute(described, [path]).fetchall())
        wanted = {"model_id": "VARCHAR", "bytes": "BIGINT", "worst_max_abs": "DOUBLE", "recommended": "BOOLEAN"}
        assert {name: types[name] for name in wanted} == wanted
        query = "SELECT model_id, variant FROM read_parquet(?) WHERE status = 'blessed' AND recommended ORDER BY model_id"
        shipped = connection.execute(query, [path]).fetchall()
        assert ("cnn", "dynamic_int8") in shipped and len(shipped) == 9
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(path)
    assert str(frame.dtypes["bytes"]) == "float64" or str(frame.dtypes["bytes"]) == "Int64"  # NumPy has no missing integer
    assert frame["worst_max_abs"].dtype == "float64" and frame[frame["recommended"]]["model_id"].nunique() == 9
