"""Parquet sample files: their columns, and their rows block by block.

Imports pyarrow, so only `registry` imports this module, when it reads such a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow.parquet as pq

from liteferry.samples.formats.arrow import columns_of, regroup, rows_of
from liteferry.samples.formats.rows import ColumnSpec, FileFacts, RowRange, Rows, changed

_READ_BUFFER_BYTES = 1 << 20


def describe_parquet(path: str) -> FileFacts:
    with _open_parquet(path) as file:
        schema = file.schema_arrow
        columns = columns_of(schema, path)
        groups = tuple(file.metadata.row_group(index).num_rows for index in range(file.metadata.num_row_groups))
    return FileFacts(columns=columns, range_sizes=groups)


def _open_parquet(path: str) -> pq.ParquetFile:
    # pyarrow's defaults (pre_buffer, no buffer_size) hold whole column chunks: 85 MB for batches of 0.3 MB; these take 4.
    return pq.ParquetFile(path, buffer_size=_READ_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)


def read_parquet(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """Memory: one block, and pages of the columns read."""
    with _open_parquet(path) as file:
        start, count = wanted.start, wanted.count
        sizes = [file.metadata.row_group(index).num_rows for index in range(file.metadata.num_row_groups)]
        ends = np.cumsum(sizes, dtype=np.int64)
        groups = [index for index, end in enumerate(ends) if start < end <= start + count]
        if sum(sizes[index] for index in groups) != count:
            raise changed(path, f"{sum(sizes)} rows in {len(sizes)} row groups, none of which hold {start} to {start + count}")
        for name in columns:
            if name not in file.schema_arrow.names:
                raise changed(path, f"no column {name!r}")
        batches = file.iter_batches(wanted.block_rows, row_groups=groups, columns=list(columns))
        row = wanted.first_row
        for parts in regroup(batches, wanted.block_rows):
            yield {name: rows_of(parts, name, row, path, default=spec.default) for name, spec in columns.items()}
            row += sum(part.num_rows for part in parts)
