"""Sample file formats: what columns a file has, and its rows in blocks. One pair of functions per format, chosen by suffix.

Rows are handed on as flat values and a shape for each row, since rows of a Parquet list column need not share one.
Every error is a SamplesError that names the file: SAMPLES_MISMATCH, with what the format's own library said.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import math
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from liteferry.errors import LiteFerryError, ReasonCode, SamplesError

FORMATS = ".parquet, .npz, .arrow, .feather or .tfrecord"
# Deflate reaches 1,032 to 1 on zeros; rows that are mostly zeros reach fifty.
_SMALL_BYTES, _MAX_RATIO = 2**28, 500
_MOST_HEADER_BYTES = 2**17
_IPC_SUFFIXES = (".arrow", ".arrows", ".ipc", ".feather")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnSpec:
    """`dtype`: NumPy name, "string" for text and bytes, Arrow's name for others. `shape` of one row, None where ragged.

    `is_flat`: the format knows lists only and not what shape they stand for, so that of the input they feed holds.
    """

    dtype: str
    shape: tuple[int | None, ...]
    is_flat: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileFacts:
    """Columns of one file and the sizes of the row ranges it can be cut at (row groups, record batches; npz has one)."""

    columns: dict[str, ColumnSpec]
    range_sizes: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Rows:
    """Consecutive rows of one column: `values` one after the other, (elements,), and `shapes`, (rows, rank) int64."""

    values: np.ndarray
    shapes: np.ndarray

    @functools.cached_property
    def _offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(np.prod(self.shapes, axis=1, dtype=np.int64))])

    def take(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop), which share one shape, as (stop - start, *shape)."""
        values = self.values[self._offsets[start] : self._offsets[stop]]
        return values.reshape(stop - start, *self.shapes[start])

    def pick(self, places: np.ndarray) -> Rows:
        """The rows at these places, in this order."""
        offsets = self._offsets
        if len(self.shapes) and (self.shapes == self.shapes[0]).all():
            return Rows(self.values.reshape(len(self.shapes), -1)[places].reshape(-1), self.shapes[places])
        values = [self.values[offsets[place] : offsets[place + 1]] for place in places.tolist()]
        return Rows(np.concatenate(values) if values else self.values[:0], self.shapes[places])

    @staticmethod
    def join(parts: Sequence[Rows]) -> Rows:
        """The rows of all parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return Rows(np.concatenate([part.values for part in parts]), np.concatenate([part.shapes for part in parts]))


def describe_file(path: str, *, schema_file: str | None = None) -> FileFacts:
    """Columns and row ranges of one sample file, from its headers; a TFRecord file has none and is walked through.

    `schema_file`: a TensorFlow Metadata schema, for TFRecord files only.
    """
    describe, _ = _format(path)
    with _readable(path):
        if is_tfrecord(path):
            return describe(path, schema_file=schema_file)
        return describe(path)


class Describe(Protocol):
    """What looks at the headers of sample files: facts for each path, in order."""

    def __call__(self, paths: Sequence[str], *, schema_file: str | None) -> Iterable[FileFacts]: ...


def describe_files(paths: Sequence[str], *, schema_file: str | None) -> Iterator[FileFacts]:
    """Columns and row ranges of sample files, looked at in this process."""
    for path in paths:
        yield describe_file(path, schema_file=schema_file)


def read_rows(
    path: str, columns: Mapping[str, ColumnSpec], *, start: int, count: int, first_row: int, block_rows: int
) -> Iterator[dict[str, Rows]]:
    """Rows [start, start + count) of a file in blocks of `block_rows` rows (the last may have fewer), all of one length.

    `first_row` is the number that errors give to row `start`.
    """
    _, read = _format(path)
    with _readable(path):
        yield from read(path, columns, start, count, first_row, block_rows)


def _format(path: str) -> tuple[Callable[..., FileFacts], Callable[..., Iterator[dict[str, Rows]]]]:
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".npz":
        return _describe_npz, _read_npz
    if suffix == ".parquet":
        from liteferry import sample_parquet

        return sample_parquet.describe_parquet, sample_parquet.read_parquet
    if suffix in _IPC_SUFFIXES:
        from liteferry import sample_ipc

        return sample_ipc.describe_ipc, sample_ipc.read_ipc
    if is_tfrecord(path):
        from liteferry import sample_tfrecord

        return sample_tfrecord.describe_tfrecord, sample_tfrecord.read_tfrecord
    raise mismatch(f"{path}: {suffix or 'no suffix'} is not a sample format; use {FORMATS}")


def is_tfrecord(path: str) -> bool:
    """By its name, whatever comes after: rows.tfrecord, rows.tfrecord.gz, data_tfrecord-00000-of-00002.gz."""
    return ".tfrec" in os.path.basename(path).lower() or "_tfrecord" in os.path.basename(path).lower()


def mismatch(message: str) -> SamplesError:
    return SamplesError(ReasonCode.SAMPLES_MISMATCH, message)


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    """Whatever the libraries below raise for a damaged file, as an error that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise SamplesError(ReasonCode.SAMPLES_MISSING, f"{path}: is no longer there; put it back and start again") from error
    except LiteFerryError:
        raise
    except Exception as error:  # whatever a damaged file brings its reader to, native ones above all
        why = " ".join(str(error).split()) or type(error).__name__
        kind = ".tfrecord" if is_tfrecord(path) else os.path.splitext(path)[1]
        raise mismatch(f"{path}: cannot be read as {kind}: {why}; write the file again") from error


def changed(path: str, what: str) -> SamplesError:
    return mismatch(f"{path}: has changed since it was opened: {what}; start the run again")


def _describe_npz(path: str) -> FileFacts:
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
    first = next(iter(lengths))
    for name, length in lengths.items():
        if length != lengths[first]:
            raise mismatch(
                f"{path}: array {first!r} has {lengths[first]} rows and array {name!r} has {length}; "
                "the first axis is the rows, and every array needs the same number"
            )
    return FileFacts(columns=columns, range_sizes=(lengths[first],))


def _read_npy_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an array. Raises ValueError for one that would take more memory than its file can be about."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"its member {member.filename!r} is packed by method {member.compress_type}, which NumPy does not write")
    if member.file_size > _SMALL_BYTES and member.file_size > _MAX_RATIO * member.compress_size:
        raise ValueError(f"the {member.compress_size:,} bytes of {member.filename!r} claim to unpack to {member.file_size:,}")
    with archive.open(member) as stream:
        file = io.BytesIO(stream.read(_MOST_HEADER_BYTES))  # a header may claim to have gigabytes
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    claimed = math.prod(shape) * dtype.itemsize
    if claimed < 0 or (claimed > member.file_size and not dtype.hasobject):
        raise ValueError(f"{member.filename!r} claims {claimed:,} bytes and holds {member.file_size:,}")
    return shape, dtype


def _read_npz(
    path: str, columns: Mapping[str, ColumnSpec], start: int, count: int, first_row: int, block_rows: int
) -> Iterator[dict[str, Rows]]:
    """Memory: the columns read, since a zip member cannot be entered in the middle."""
    with np.load(path, allow_pickle=False) as archive:
        for name in columns:
            if name not in archive:
                raise changed(path, f"no array {name!r}")
        arrays = {name: archive[name] for name in columns}
    for name, array in arrays.items():
        if len(array) != start + count:
            raise changed(path, f"array {name!r} has {len(array)} rows, had {start + count}")
    for begin in range(start, start + count, block_rows):
        end = min(begin + block_rows, start + count)
        yield {name: _npz_rows(array[begin:end]) for name, array in arrays.items()}


def _npz_rows(array: np.ndarray) -> Rows:
    shapes = np.broadcast_to(np.array(array.shape[1:], np.int64), (len(array), array.ndim - 1))
    if array.dtype.kind == "U":
        array = np.char.encode(array, "utf-8")
    if array.dtype.kind == "S":
        array = array.astype(object)
    return Rows(np.ascontiguousarray(array).reshape(-1), shapes)
