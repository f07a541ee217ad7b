"""Sample rows in CSV and TSV files, streamed by pyarrow: the first line names the columns, column types are inferred from all
rows.

Imports pyarrow, so only `registry` imports it, when it meets such a file.
"""

from __future__ import annotations

import dataclasses
import gzip
import re
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.csv as pc

from liteferry.errors import SamplesError
from liteferry.samples.formats.arrow import columns_of, regroup, rows_of
from liteferry.samples.formats.rows import ColumnSpec, FileFacts, RowRange, Rows, changed, mismatch

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_BLOCK_BYTES = 4 << 20
_HEADER_BYTES = 1 << 20
_CONVERSION = re.compile(r"CSV column #(\d+)")
_COMMA, _POINT = re.compile(rb"[-+]?\d+,\d+([eE][-+]?\d+)?"), re.compile(rb"[-+]?\d+\.\d+([eE][-+]?\d+)?")
_QUOTED = re.compile(r'"[^"]*"')
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_WIDER = {pa.int64(): pa.float64(), pa.bool_(): pa.string(), pa.float64(): pa.string()}


def describe_csv(path: str) -> FileFacts:
    """Reads the whole file once: a column that begins with whole numbers may hold a fraction at the end."""
    header = _header(path)
    columns_of(pa.schema([(name, pa.null()) for name in header.names]), path)  # names that occur twice are told first
    types: dict[str, pa.DataType] = {}
    rows = 0
    for _ in range(2 * len(header.names) + 1):
        try:
            with _opened(path, header, types) as reader:
                types = {field.name: _plain(field.type) for field in reader.schema}
            with _opened(path, header, types) as reader:
                rows = sum(batch.num_rows for batch in reader)
            break
        except pa.ArrowInvalid as error:
            if str(error).startswith("Empty CSV"):
                types, rows = dict.fromkeys(header.names, pa.float64()), 0
                break
            if "invalid UTF8" in str(error):
                raise _other_encoding(path) from error
            wrong = _CONVERSION.search(str(error))
            name = header.names[int(wrong[1])] if wrong and int(wrong[1]) < len(header.names) else None
            if name is None or types.get(name) not in _WIDER:
                raise
            types = {**types, name: _WIDER[types[name]]}
    schema = pa.schema([(name, types[name]) for name in header.names])
    return FileFacts(columns=columns_of(schema, path), range_sizes=(rows,))


def read_csv(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """Memory: one block of the file. Rows before the wanted ones are read and skipped, since a text file has no index."""
    header = _header(path)
    missing = [name for name in columns if name not in header.names]
    if missing:
        raise changed(path, f"no column {missing[0]!r}")
    types = {name: pa.string() if spec.dtype == "string" else pa.from_numpy_dtype(spec.dtype) for name, spec in columns.items()}
    row, seen = wanted.first_row, 0
    with _opened(path, header, types, only=list(columns)) as reader:
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Header:
    """The first line: the names of the columns, whether they had spaces around them there, and the separator. `decimal`: the mark
    before a fraction, by the second line.
    """

    names: list[str]
    had_spaces: bool
    delimiter: str
    decimal: str = "."


def _opened(path: str, header: _Header, types: Mapping[str, pa.DataType], only: list[str] | None = None) -> pc.CSVStreamingReader:
    named = {"column_names": header.names, "skip_rows": 1} if header.had_spaces else {}
    return pc.open_csv(
        path,
        read_options=pc.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False, **named),
        parse_options=pc.ParseOptions(delimiter=header.delimiter, newlines_in_values=True),
        convert_options=pc.ConvertOptions(
            column_types=dict(types), include_columns=only, strings_can_be_null=False, decimal_point=header.decimal
        ),
    )


def _plain(found: pa.DataType) -> pa.DataType:
    """The type that a column is read as: text for dates and similar values, since inputs accept no other form of them; float64
    for a column without values.
    """
    if pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_boolean(found):
        return found
    return pa.float64() if pa.types.is_null(found) else pa.string()


def _header(path: str) -> _Header:
    with gzip.open(path, "rb") if path.lower().endswith(".gz") else open(path, "rb") as file:
        content, first_row = file.readline(_HEADER_BYTES), file.readline(_HEADER_BYTES)
    if content.startswith(_BYTE_ORDER_MARKS):
        raise _other_encoding(path, "utf-16")
    try:
        line = content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise _other_encoding(path) from error
    unquoted = _QUOTED.sub("", line)
    delimiter = max("\t,;", key=unquoted.count) if any(mark in unquoted for mark in "\t,;") else ","
    source = pa.BufferReader(line.encode() + b"\n")
    raw = pc.read_csv(source, parse_options=pc.ParseOptions(delimiter=delimiter)).column_names if line else []
    if not raw:
        raise mismatch(f"{path}: is empty; its first line has to name the columns")
    names = [name.strip() for name in raw]
    if all(map(_is_number, names)) and not _are_counted(names):
        raise mismatch(
            f"{path}: its first line holds numbers ({', '.join(names[:5])}) where the names of the columns belong; write a first "
            f"line such as {delimiter.join(f'x{number}' for number in range(1, min(len(names), 3) + 1))}"
        )
    decimal = "," if delimiter != "," and _has_decimal_commas(first_row, delimiter) else "."
    return _Header(names=names, had_spaces=names != raw, delimiter=delimiter, decimal=decimal)


def _has_decimal_commas(row: bytes, delimiter: str) -> bool:
    """Whether a row has numbers such as 5,1, as spreadsheets of many languages write them, and none such as 5.1."""
    values = [value.strip(b' "\r\n') for value in row.split(delimiter.encode())]
    return any(map(_COMMA.fullmatch, values)) and not any(map(_POINT.fullmatch, values))


def _are_counted(names: list[str]) -> bool:
    """Whether these are the names 0, 1, 2, ... that pandas gives to the columns of an array."""
    return len(names) > 1 and names == [str(number) for number in range(len(names))]


def _other_encoding(path: str, encoding: str = "latin-1") -> SamplesError:
    fix = f"pandas.read_csv(PATH, sep=None, engine='python', encoding='{encoding}').to_csv('rows.csv', index=False)"
    return mismatch(f"{path}: is not in UTF-8; convert it: {fix}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
