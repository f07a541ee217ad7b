"""One part of a large fleet's table, `fleet/part-NNNNN-<digest>.parquet`: the columns of fleet.parquet, `held_back`, and each
model's entry as JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liteferry import lenient
from liteferry.errors import StorageError
from liteferry.json_records import parse
from liteferry.report.fleet import COLUMNS, fleet_table
from liteferry.storage import beneath, layout

MORE_COLUMNS: Mapping[str, str] = {"held_back": "string", "model_json": "string"}
"""The columns that a part has after those of fleet.parquet: since when a model is held back, and the model's entry as `models` of
a smaller fleet's fleet.json has it, on the first of its rows.
"""


def write_part(out: str, number: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the rows of one part and returns its entry for fleet.json: `{path, models, rows, first, last, bytes, sha256}`. The
    name holds the digest, so files of different runs never mix, and the same rows take the same name.

    Args:
      facts: `fleet.fleet_facts` of the part's models, at least one.
    """
    import pyarrow as pa
    import pyarrow.parquet

    table = fleet_table(facts["rows"])
    for name, values in _more(facts).items():
        table = table.append_column(name, pa.array(values, type=pa.string()))
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    digest = hashlib.sha256(data).hexdigest()
    path = f"{layout.FLEET_PARTS}/part-{number:05}-{digest[:12]}.parquet"
    beneath.write_bytes(out, path, data)
    models = facts["models"]
    return {
        "path": path,
        "models": len(models),
        "rows": len(facts["rows"]),
        "first": models[0]["model_id"],
        "last": models[-1]["model_id"],
        "bytes": len(data),
        "sha256": digest,
    }


def _more(facts: Mapping[str, Any]) -> dict[str, list[str | None]]:
    by_id = {model["model_id"]: model for model in facts["models"]}
    held = {name: lenient.text(lenient.mapping(model.get("held_back")).get("since")) for name, model in by_id.items()}
    seen: set[str] = set()
    entries: list[str | None] = []
    for row in facts["rows"]:
        is_first = row["model_id"] not in seen
        seen.add(row["model_id"])
        entries.append(json.dumps(lenient.finite(by_id[row["model_id"]]), default=str) if is_first else None)
    return {"held_back": [held[row["model_id"]] for row in facts["rows"]], "model_json": entries}


def read_models(out: str, part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The entries of a part's models, in order. Raises StorageError where the file is not the one that fleet.json names."""
    for text in _read(out, part, ["model_json"]).column("model_json").to_pylist():
        if text is not None:
            yield parse(text)


def read_rows(out: str, part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of a part, as `rows` of a smaller fleet's fleet.json. Raises StorageError as `read_models`."""
    yield from _read(out, part, list(COLUMNS)).to_pylist()


def read_columns(out: str, part: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Some columns of a part's rows. Raises StorageError as `read_models`."""
    found: list[dict[str, Any]] = _read(out, part, list(names)).to_pylist()
    return found


def _read(out: str, part: Mapping[str, Any], names: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet

    path = str(part.get("path"))
    if not beneath.is_inside(path) or not path.startswith(f"{layout.FLEET_PARTS}/"):
        raise StorageError(f"{layout.FLEET_FACTS} names {path!r} as a part, which is not in {layout.FLEET_PARTS}/")
    data = beneath.read_bytes(out, path)
    if hashlib.sha256(data).hexdigest() != part.get("sha256"):
        raise StorageError(f"{path} has other bytes than {layout.FLEET_FACTS} says (sha256); run the job again to write it anew")
    try:
        table = pyarrow.parquet.read_table(pa.BufferReader(data), columns=names)
    except pa.ArrowException as error:
        raise StorageError(f"{path}: cannot be read: {error}") from error
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise StorageError(f"{path} has no column {missing[0]}; `liteferry report` writes it anew")
    return table
