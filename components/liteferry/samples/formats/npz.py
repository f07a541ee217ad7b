"""Sample rows in `.npz` files: headers without their arrays, arrays in blocks."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from liteferry.samples.formats.rows import ColumnSpec, FileFacts, RowRange, Rows, changed, mismatch, one_length, rows_of_array

_SMALL_BYTES, _MAX_RATIO = 2**28, 500
_MOST_HEADER_BYTES = 2**17


def describe_npz(path: str) -> FileFacts:
    columns: dict[str, ColumnSpec] = {}
    lengths: dict[str, int] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            shape, dtype = _read_npy_header(archive, member)
            if dtype.hasobject:
                raise mismatch(f"{path}: array {name!r} holds Python objects, which are never unpickled; save numbers or text")
            if not shape:
                raise mismatch(f"{path}: array {name!r} is a single value; its first axis must be the rows")
            columns[name] = ColumnSpec(dtype="string" if dtype.kind in "US" else dtype.name, shape=shape[1:])
            lengths[name] = shape[0]
    if not columns:
        raise mismatch(f"{path}: holds no arrays; save one for each model input")
    rows = one_length(path, lengths, kind="array", opened="np.load(PATH)")
    return FileFacts(columns=columns, range_sizes=(rows,))


def _read_npy_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an array. Raises ValueError if the array would take more memory than a file of this size can hold."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"its member {member.filename!r} is packed by method {member.compress_type}, which NumPy does not write")
    if member.file_size > _SMALL_BYTES and member.file_size > _MAX_RATIO * member.compress_size:
        raise ValueError(f"the {member.compress_size:,} bytes of {member.filename!r} claim to unpack to {member.file_size:,}")
    with archive.open(member) as stream:
        file = io.BytesIO(stream.read(_MOST_HEADER_BYTES))  # a header may claim a size of gigabytes
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    claimed = math.prod(shape) * dtype.itemsize
    if claimed < 0 or (claimed > member.file_size and not dtype.hasobject):
        raise ValueError(f"{member.filename!r} claims {claimed:,} bytes and holds {member.file_size:,}")
    return shape, dtype


def read_npz(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """Memory: the columns read, since a zip member cannot be entered in the middle."""
    with np.load(path, allow_pickle=False) as archive:
        for name in columns:
            if name not in archive:
                raise changed(path, f"no array {name!r}")
        arrays = {name: archive[name] for name in columns}
    stop = wanted.start + wanted.count
    for name, array in arrays.items():
        if len(array) != stop:
            raise changed(path, f"array {name!r} has {len(array)} rows, had {stop}")
    for begin in range(wanted.start, stop, wanted.block_rows):
        end = min(begin + wanted.block_rows, stop)
        yield {name: rows_of_array(array[begin:end]) for name, array in arrays.items()}
