"""Sample rows in `.npy` files: one array, mapped and not read; the fields of a structured one are columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from liteferry.samples.formats.rows import ColumnSpec, FileFacts, RowRange, Rows, changed, mismatch, rows_of_array

ONLY_COLUMN = "array"  # the column name of a file's only array


def describe_npy(path: str) -> FileFacts:
    array = _opened(path)
    if array.dtype.hasobject:
        raise mismatch(f"{path}: holds Python objects, which are never unpickled; save numbers or text")
    if not array.ndim:
        raise mismatch(f"{path}: is a single value; its first axis must be the rows")
    columns = {name: _spec(part) for name, part in _columns(array).items()}
    return FileFacts(columns=columns, range_sizes=(len(array),))


def read_npy(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """Memory: one block; the file is mapped."""
    found = _columns(_opened(path))
    for name in columns:
        if name not in found or len(found[name]) < wanted.start + wanted.count:
            raise changed(path, f"no {wanted.start + wanted.count} rows of {name!r}")
    stop = wanted.start + wanted.count
    for begin in range(wanted.start, stop, wanted.block_rows):
        end = min(begin + wanted.block_rows, stop)
        yield {name: rows_of_array(np.asarray(found[name][begin:end])) for name in columns}


def _opened(path: str) -> np.ndarray:
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        dtype = read(file)[2]
    if dtype.hasobject:
        raise mismatch(f"{path}: holds Python objects, which are never unpickled; save numbers or text")
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _columns(array: np.ndarray) -> dict[str, np.ndarray]:
    return {name: array[name] for name in array.dtype.names} if array.dtype.names else {ONLY_COLUMN: array}


def _spec(array: np.ndarray) -> ColumnSpec:
    return ColumnSpec(dtype="string" if array.dtype.kind in "US" else array.dtype.name, shape=array.shape[1:])
