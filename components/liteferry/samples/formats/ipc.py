"""Arrow IPC sample files, in the file format (Feather is one) and in the stream format. The content says which one a file is.

Imports pyarrow, so only `registry` imports this module, when it reads such a file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from liteferry.samples.formats.arrow import columns_of, regroup, rows_of
from liteferry.samples.formats.rows import ColumnSpec, FileFacts, RowRange, Rows, changed

_FILE_MAGIC = b"ARROW1"


def describe_ipc(path: str) -> FileFacts:
    """The file's own record batches are its row ranges. Compressed batches are unpacked one at a time."""
    with _batches(path, None) as (schema, batches):
        columns = columns_of(schema, path)
        return FileFacts(columns=columns, range_sizes=tuple(batch.num_rows for batch in batches))


def read_ipc(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """Memory: one record batch of the file, and one block; files are mapped, not read, where they are not compressed."""
    with _batches(path, list(columns)) as (_, batches):
        row = wanted.first_row
        for parts in regroup(_cut(batches, wanted.start, wanted.count, path), wanted.block_rows):
            yield {name: rows_of(parts, name, row, path, default=spec.default) for name, spec in columns.items()}
            row += sum(part.num_rows for part in parts)


@contextlib.contextmanager
def _batches(path: str, names: Sequence[str] | None) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """The schema, and the record batches in order, with the columns `names` alone."""
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(pa.memory_map(path))
        is_file = source.read(len(_FILE_MAGIC)) == _FILE_MAGIC
        source.seek(0)
        reader = stack.enter_context((pa.ipc.open_file if is_file else pa.ipc.open_stream)(source))
        schema = reader.schema
        if names is not None:
            missing = [name for name in names if name not in schema.names]
            if missing:
                raise changed(path, f"no column {missing[0]!r}")
            options = pa.ipc.IpcReadOptions(included_fields=[schema.get_field_index(name) for name in names])
            source.seek(0)
            reader = stack.enter_context((pa.ipc.open_file if is_file else pa.ipc.open_stream)(source, options=options))
        numbers = range(reader.num_record_batches) if is_file else ()
        batches = (reader.get_batch(number) for number in numbers) if is_file else iter(reader)
        yield schema, batches if names is None else map(_checked, batches)


def _checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Checks a batch fully. Arrow takes the offsets of lists and texts as the file has them: damaged ones point anywhere in
    memory, or claim lists of gigabytes.
    """
    batch.validate(full=True)
    return batch


def _cut(batches: Iterator[pa.RecordBatch], start: int, count: int, path: str) -> Iterator[pa.RecordBatch]:
    """Rows [start, start + count)."""
    seen = 0
    for batch in batches:
        if seen >= start + count:
            return
        first, stop = max(start - seen, 0), min(start + count - seen, batch.num_rows)
        if first < stop:
            yield batch.slice(first, stop - first)
        seen += batch.num_rows
    if seen < start + count:
        raise changed(path, f"{seen} rows, had {start + count} or more")
