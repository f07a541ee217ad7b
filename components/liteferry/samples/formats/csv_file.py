"""Sample rows in CSV and TSV files, streamed by pyarrow: the first line names the columns, column types are inferred from all
rows.

Imports pyarrow, so only `registry` imports it, when it meets such a file.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.csv as pc

from liteferry.samples.formats.arrow import columns_of, regroup, rows_of
from liteferry.samples.formats.rows import ColumnSpec, FileFacts, RowRange, Rows, changed, mismatch

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_BLOCK_BYTES = 4 << 20
_HEADER_BYTES = 1 << 20
_CONVERSION = re.compile(r"CSV column #(\d+)")
_WIDER = {pa.int64(): pa.float64(), pa.bool_(): pa.string(), pa.float64(): pa.string()}


def describe_csv(path: str) -> FileFacts:
    """Reads the whole file once: a column that begins with whole numbers may hold a fraction at the end."""
    names, delimiter = _header(path)
    types: dict[str, pa.DataType] = {}
    rows = 0
    for _ in range(2 * len(names) + 1):
        try:
            with _opened(path, delimiter, types) as reader:
                types = {field.name: _plain(field.type) for field in reader.schema}
            with _opened(path, delimiter, types) as reader:
                rows = sum(batch.num_rows for batch in reader)
            break
        except pa.ArrowInvalid as error:
            if str(error).startswith("Empty CSV"):
                types, rows = dict.fromkeys(names, pa.float64()), 0
                break
            wrong = _CONVERSION.search(str(error))
            name = names[int(wrong[1])] if wrong and int(wrong[1]) < len(names) else None
            if name is None or types.get(name) not in _WIDER:
                raise
            types = {**types, name: _WIDER[types[name]]}
    schema = pa.schema([(name, types[name]) for name in names])
    return FileFacts(columns=columns_of(schema, path), range_sizes=(rows,))


def read_csv(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """Memory: one block of the file. Rows before the wanted ones are read and skipped, since a text file has no index."""
    names, delimiter = _header(path)
    missing = [name for name in columns if name not in names]
    if missing:
        raise changed(path, f"no column {missing[0]!r}")
    types = {name: pa.string() if spec.dtype == "string" else pa.from_numpy_dtype(spec.dtype) for name, spec in columns.items()}
    row, seen = wanted.first_row, 0
    with _opened(path, delimiter, types, only=list(columns)) as reader:
        for parts in regroup(_cut(reader, wanted), wanted.block_rows):
            count = sum(part.num_rows for part in parts)
            yield {name: rows_of(parts, name, row, path, default=spec.default) for name, spec in columns.items()}
            row, seen = row + count, seen + count
    if seen < wanted.count:
        raise changed(path, f"{wanted.start + seen} rows, had {wanted.start + wanted.count} or more")


def _cut(batches: Iterator[pa.RecordBatch], wanted: RowRange) -> Iterator[pa.RecordBatch]:
    seen, stop = 0, wanted.start + wanted.count
    for batch in batches:
        first, last = max(wanted.start - seen, 0), min(stop - seen, batch.num_rows)
        if first < last:
            yield batch.slice(first, last - first)
        seen += batch.num_rows
        if seen >= stop:
            return


def _opened(path: str, delimiter: str, types: Mapping[str, pa.DataType], only: list[str] | None = None) -> pc.CSVStreamingReader:
    return pc.open_csv(
        path,
        read_options=pc.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
        parse_options=pc.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pc.ConvertOptions(column_types=dict(types), include_columns=only, strings_can_be_null=False),
    )


def _plain(found: pa.DataType) -> pa.DataType:
    """The type that a column is read as: text for dates and similar values, since inputs accept no other form of them; float64
    for a column without values.
    """
    if pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_boolean(found):
        return found
    return pa.float64() if pa.types.is_null(found) else pa.string()


def _header(path: str) -> tuple[list[str], str]:
    """The names in the first line, and the separator."""
    with gzip.open(path, "rb") if path.lower().endswith(".gz") else open(path, "rb") as file:
        line = file.readline(_HEADER_BYTES).decode("utf-8-sig", "replace").rstrip("\r\n")
    delimiter = max("\t,;", key=line.count) if any(mark in line for mark in "\t,;") else ","
    options = pc.ParseOptions(delimiter=delimiter)
    source = pa.BufferReader(line.encode() + b"\n")
    names = pc.read_csv(source, parse_options=options).column_names if line else []
    if not names:
        raise mismatch(f"{path}: is empty; its first line has to name the columns")
    if all(_is_number(name) for name in names):
        raise mismatch(
            f"{path}: its first line holds numbers ({', '.join(names[:5])}) where the names of the columns belong; write a first "
            f"line such as {delimiter.join(f'x{number}' for number in range(1, min(len(names), 3) + 1))}"
        )
    return names, delimiter


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
