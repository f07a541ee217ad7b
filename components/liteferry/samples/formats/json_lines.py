"""Sample rows in JSON lines: one object a line, its keys the columns; numbers, texts, and lists of them at any depth.

Imports pyarrow, so only `registry` imports it, when it meets such a file.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from liteferry.samples.formats.arrow import columns_of, rows_of
from liteferry.samples.formats.rows import ColumnSpec, FileFacts, RowRange, Rows, changed, mismatch

_CONVERT = "`pandas.read_json(PATH).to_json('rows.jsonl', orient='records', lines=True)`"
SUFFIXES = (".jsonl", ".ndjson", ".jsonlines", ".jsonl.gz", ".ndjson.gz")
_LINES = 4096
_MOST_LINE_BYTES = 2**28


def describe_jsonl(path: str) -> FileFacts:
    """Reads the whole file once: a line may add a column, or a fraction to a column of whole numbers."""
    types: dict[str, pa.DataType] = {}
    rows = 0
    for lines in _blocks(_objects(path), _LINES):
        for name in dict.fromkeys(key for line in lines for key in line):
            found = _type_of(path, name, [line.get(name) for line in lines], rows)
            types[name] = _common(path, name, types[name], found) if name in types else found
        rows += len(lines)
    schema = pa.schema([(name, kind) for name, kind in types.items() if not _is_null(kind)])
    return FileFacts(columns=columns_of(schema, path), range_sizes=(rows,))


def read_jsonl(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """Memory: one block. Lines before the wanted ones are read and skipped."""
    lines = itertools.islice(_objects(path), wanted.start, wanted.start + wanted.count)
    row, left = wanted.first_row, wanted.count
    for block in _blocks(lines, wanted.block_rows):
        batch = pa.RecordBatch.from_arrays(
            [_array(path, name, [line.get(name) for line in block], spec, row) for name, spec in columns.items()],
            names=list(columns),
        )
        yield {name: rows_of([batch], name, row, path, default=spec.default) for name, spec in columns.items()}
        row, left = row + len(block), left - len(block)
    if left:
        raise changed(path, f"{wanted.start + wanted.count - left} rows, had {wanted.start + wanted.count} or more")


def _objects(path: str) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rb") if path.lower().endswith(".gz") else open(path, "rb") as file:
        row = 0
        while line := file.readline(_MOST_LINE_BYTES):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise mismatch(f"{path}: row {row}: is no JSON ({error}); every line has to be one object: {_CONVERT}") from error
            if not isinstance(found, dict):
                told = f'is a {type(found).__name__}, not an object such as {{"x": 1.5}}'
                raise mismatch(f"{path}: row {row}: {told}; write one object a line: {_CONVERT}")
            yield found
            row += 1


def _blocks(lines: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    while block := list(itertools.islice(lines, size)):
        yield block


def _type_of(path: str, name: str, values: list[Any], first_row: int) -> pa.DataType:
    try:
        return pa.array(values).type
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        what = f"holds values of several kinds in rows {first_row} to {first_row + len(values) - 1} ({error})"
        raise mismatch(f"{path}: column {name!r}: {what}; write numbers, or texts, or lists of one depth") from error


def _common(path: str, name: str, one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The common type of two: float if either has fractions; for lists, a list of the common type."""
    if one == other or _is_null(other):
        return one
    if _is_null(one):
        return other
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(_common(path, name, one.value_type, other.value_type))
    numbers = [pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (one, other)]
    if all(numbers):
        return pa.float64()
    raise mismatch(f"{path}: column {name!r}: holds {one} in some rows and {other} in others; write values of one kind")


def _is_null(kind: pa.DataType) -> bool:
    return bool(pa.types.is_null(kind) or (pa.types.is_list(kind) and _is_null(kind.value_type)))


def _array(path: str, name: str, values: list[Any], spec: ColumnSpec, first_row: int) -> pa.Array:
    kind = pa.string() if spec.dtype == "string" else pa.from_numpy_dtype(np.dtype(spec.dtype))
    for _ in spec.shape:
        kind = pa.list_(kind)
    try:
        return pa.array(values, type=kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise changed(path, f"column {name!r} from row {first_row} on is no {kind} ({error})") from error
