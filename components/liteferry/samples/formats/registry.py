"""Sample file formats: what columns a file has, and its rows in blocks. One pair of functions per format, chosen by suffix.

Rows are handed on as flat values and a shape for each row, since rows of a Parquet list column need not share one.
Every error is a SamplesError that names the file: SAMPLES_MISMATCH, with what the format's own library said.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from liteferry.errors import LiteFerryError, ReasonCode, SamplesError
from liteferry.samples.formats.rows import ColumnSpec, FileFacts, RowRange, Rows, mismatch

FORMATS = ".parquet, .npz, .npy, .csv, .tsv, .jsonl, .h5, .arrow, .feather or .tfrecord"
# Deflate reaches 1,032 to 1 on zeros; rows that are mostly zeros reach fifty.
_IPC_SUFFIXES = (".arrow", ".arrows", ".ipc", ".feather")


def describe_file(path: str, *, schema_file: str | None = None) -> FileFacts:
    """Columns and row ranges of one sample file, from its headers; a TFRecord file has none and is walked through.

    `schema_file`: a TensorFlow Metadata schema, for TFRecord files only.
    """
    with _readable(path):
        describe, _ = _format(path)
        if is_tfrecord(path):
            return describe(path, schema_file=schema_file)
        return describe(path)


class Describe(Protocol):
    """Reads the headers of sample files: facts for each path, in order."""

    def __call__(self, paths: Sequence[str], *, schema_file: str | None) -> Iterable[FileFacts]: ...


def describe_files(paths: Sequence[str], *, schema_file: str | None) -> Iterator[FileFacts]:
    """Columns and row ranges of sample files, read in this process."""
    for path in paths:
        yield describe_file(path, schema_file=schema_file)


def read_rows(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """The `wanted` rows of a file, block by block. Within a block all columns have the same number of rows."""
    _, read = _format(path)
    with _readable(path):
        yield from read(path, columns, wanted)


_Reader = tuple[Callable[..., FileFacts], Callable[..., Iterator[dict[str, Rows]]]]


def is_known(path: str) -> bool:
    """Whether a file has the name of a sample format. A .json file is one where the job names it; in a folder it tells of
    others.
    """
    return _module_of(path) is not None and not path.lower().endswith(".json") and not os.path.isdir(path)


def is_saved_dataset(path: str) -> bool:
    """Whether a folder is what `tf.data.Dataset.save` writes."""
    return all(os.path.isfile(os.path.join(path, name)) for name in ("dataset_spec.pb", "snapshot.metadata"))


def _format(path: str) -> _Reader:
    if os.path.lexists(path) and not (os.path.isdir(path) or os.path.isfile(path)):
        raise mismatch(f"{path}: is no file but a pipe, a socket, a device or a link to nothing")  # reading it may never end
    if os.path.isdir(path):
        module, name = ("tf_dataset", "dataset") if is_saved_dataset(path) else ("media_folder", "media")
    else:
        found = _module_of(path)
        if found is None:
            raise mismatch(f"{path}: {_what_it_is(path)}")
        module, name = found
    reader = importlib.import_module(f"liteferry.samples.formats.{module}")  # at the leaf: pyarrow and h5py are heavy
    return getattr(reader, f"describe_{name}"), getattr(reader, f"read_{name}")


# Suffix -> the module that reads such files, and the suffix of its two functions `describe_...` and `read_...`.
_MODULES = {
    ".npz": ("npz", "npz"),
    ".npy": ("numpy_file", "npy"),
    ".parquet": ("parquet", "parquet"),
    **dict.fromkeys(_IPC_SUFFIXES, ("ipc", "ipc")),
    **dict.fromkeys((".csv", ".tsv", ".csv.gz", ".tsv.gz"), ("csv_file", "csv")),
    **dict.fromkeys((".jsonl", ".ndjson", ".jsonlines", ".jsonl.gz", ".ndjson.gz", ".json"), ("json_lines", "jsonl")),
    **dict.fromkeys((".h5", ".hdf5"), ("hdf5", "hdf5")),
}
# Other file types, and a line of Python that converts each to a supported format.
_CONVERSIONS = {
    **dict.fromkeys((".pkl", ".pickle"), "pandas.read_pickle(PATH).to_parquet('rows.parquet'), where you trust the file"),
    **dict.fromkeys((".xlsx", ".xls"), "pandas.read_excel(PATH).to_parquet('rows.parquet')"),
    ".mat": "np.savez('rows.npz', **{k: v for k, v in scipy.io.loadmat(PATH).items() if k[0] != '_'})",
    ".orc": "pyarrow.parquet.write_table(pyarrow.orc.read_table(PATH), 'rows.parquet')",
    ".avro": "pandas.DataFrame(fastavro.reader(open(PATH, 'rb'))).to_parquet('rows.parquet')",
    ".pt": "np.savez('rows.npz', x=torch.load(PATH).numpy())",
    ".array_record": "np.savez('rows.npz', ...) of the rows that tfds.data_source gives",
    ".txt": "pandas.read_csv(PATH, sep=...).to_parquet('rows.parquet')",
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".wav"), "no conversion is needed: name the folder that holds such files"),
}


def _module_of(path: str) -> tuple[str, str] | None:
    name = os.path.basename(path).lower()
    for suffix in sorted(_MODULES, key=len, reverse=True):
        if name.endswith(suffix):
            return _MODULES[suffix]
    return ("tfrecord", "tfrecord") if is_tfrecord(path) else None


def _what_it_is(path: str) -> str:
    suffix = os.path.splitext(path)[1].lower()
    convert = _CONVERSIONS.get(suffix)
    fix = f"convert it: {convert}" if convert else f"use {FORMATS}"
    return f"{suffix or 'no suffix'} is not a sample format; {fix}"


def is_tfrecord(path: str) -> bool:
    """By name; shard numbers and compression suffixes may follow: rows.tfrecord, rows.tfrecord.gz,
    data_tfrecord-00000-of-00002.gz; and the examples that TFX's Transform writes, transformed_examples-00000-of-00002.gz.
    """
    name = os.path.basename(path).lower()
    return ".tfrec" in name or "_tfrecord" in name or name.startswith("transformed_examples-")


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    """Turns any error that the libraries raise for a damaged file into one that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise SamplesError(ReasonCode.SAMPLES_MISSING, f"{path}: is no longer there; put it back and start again") from error
    except LiteFerryError:
        raise
    except Exception as error:  # readers, above all native ones, may raise anything for a damaged file
        why = " ".join(str(error).split()) or type(error).__name__
        kind = ".tfrecord" if is_tfrecord(path) else os.path.splitext(path)[1]
        raise mismatch(f"{path}: cannot be read as {kind}: {why}; write the file again") from error
