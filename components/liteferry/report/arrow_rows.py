"""Rows as an Arrow table, without pandas."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """The rows as a table of `schema`; a value that is missing or None is null.

    The rows go through Arrow's JSON reader, since `pyarrow.array` imports pandas for Python values: half a second
    of a run that has nothing else to do.

    Args:
      rows: values of a schema's type, or None: text, integers, floats, booleans.
    """
    import pyarrow as pa
    import pyarrow.json

    if not rows:
        return schema.empty_table()
    try:
        lines = "\n".join(json.dumps({name: row.get(name) for name in schema.names}, allow_nan=False) for row in rows).encode()
    except ValueError:  # NaN or infinity, for which JSON has no word
        return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    reading = pyarrow.json.ReadOptions(use_threads=False, block_size=len(lines) + 1)
    nullable = pa.schema([field.with_nullable(True) for field in schema])
    parsing = pyarrow.json.ParseOptions(explicit_schema=nullable, newlines_in_values=True)
    return pyarrow.json.read_json(io.BytesIO(lines), reading, parsing).cast(schema)
