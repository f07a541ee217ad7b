"""Sample file formats: what columns a file has, and its rows in blocks. One pair of functions per format, chosen by suffix.

Rows are handed on as flat values and a shape for each row, since rows of a Parquet list column need not share one.
Every error is a SamplesError that names the file: SAMPLES_MISMATCH, with what the format's own library said.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from liteferry.errors import LiteFerryError, ReasonCode, SamplesError
from liteferry.samples.formats.npz import describe_npz, read_npz
from liteferry.samples.formats.rows import ColumnSpec, FileFacts, RowRange, Rows, mismatch

FORMATS = ".parquet, .npz, .arrow, .feather or .tfrecord"
# Deflate reaches 1,032 to 1 on zeros; rows that are mostly zeros reach fifty.
_IPC_SUFFIXES = (".arrow", ".arrows", ".ipc", ".feather")


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


def read_rows(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """The `wanted` rows of a file, block by block. Within a block all columns have the same number of rows."""
    _, read = _format(path)
    with _readable(path):
        yield from read(path, columns, wanted)


def _format(path: str) -> tuple[Callable[..., FileFacts], Callable[..., Iterator[dict[str, Rows]]]]:
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".npz":
        return describe_npz, read_npz
    if suffix == ".parquet":
        from liteferry.samples.formats import parquet

        return parquet.describe_parquet, parquet.read_parquet
    if suffix in _IPC_SUFFIXES:
        from liteferry.samples.formats import ipc

        return ipc.describe_ipc, ipc.read_ipc
    if is_tfrecord(path):
        from liteferry.samples.formats import tfrecord

        return tfrecord.describe_tfrecord, tfrecord.read_tfrecord
    raise mismatch(f"{path}: {suffix or 'no suffix'} is not a sample format; use {FORMATS}")


def is_tfrecord(path: str) -> bool:
    """By its name, whatever comes after: rows.tfrecord, rows.tfrecord.gz, data_tfrecord-00000-of-00002.gz."""
    return ".tfrec" in os.path.basename(path).lower() or "_tfrecord" in os.path.basename(path).lower()


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
