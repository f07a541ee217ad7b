"""Sample files -> `SampleSet`: every header is read, no rows."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from liteferry import storage
from liteferry.errors import ReasonCode, SamplesError, StorageError
from liteferry.samples import sample_folders
from liteferry.samples.formats.registry import FORMATS, Describe, describe_files, is_tfrecord
from liteferry.samples.formats.rows import ColumnSpec, FileFacts, mismatch
from liteferry.samples.local_copies import readable
from liteferry.samples.sample_set import SampleSet, Shard
from liteferry.samples.subsampling import Selection, rows_to_take, select
from liteferry.storage import local_cache

if TYPE_CHECKING:
    from liteferry.config.job import SamplesSpec


ROWS_PER_SHARD = 65_536


_ROWS_PER_TAKEN_SHARD = 1024


_OPENED_AT_ONCE = 8  # files on stores are opened in parallel, since they wait for the network


def open_samples(spec: SamplesSpec, *, describe: Describe = describe_files) -> SampleSet:
    """Reads the headers of every file, sorted by path, and reads all files once for the digest.

    `describe`: reads the headers; `headers.describe_contained` does so in a child process.

    SamplesError: SAMPLES_MISSING if there is no file, SAMPLES_MISMATCH for a file that cannot be read or whose columns differ
    from the first one's, SAMPLES_EMPTY if there is no row at all, STORAGE_FAILED if a store fails.
    """
    paths = _files(spec.path)
    shards: list[Shard] = []
    columns: dict[str, ColumnSpec] = {}
    row_count = 0
    if spec.schema_file is not None and not any(map(is_tfrecord, paths)):
        raise mismatch(f"{spec.path}: schema_file is for TFRecord files, and none of these is one; remove the key")
    schema = _schema(spec) if any(map(is_tfrecord, paths)) else None
    with _local_schema(schema) as schema_file:
        opened = _open_all(paths, schema_file, describe)
        schema_digest = storage.digest(schema_file) if schema_file else None
    for path, file in zip(paths, opened, strict=True):
        columns = _same_columns(columns or file.facts.columns, file.facts.columns, path=path, first_path=paths[0])
        row_in_file = 0
        for size in _shard_sizes(file.facts.range_sizes):
            shards.append(Shard(path=path, first_row=row_count, row_count=size, row_in_file=row_in_file, stamp=file.stamp))
            row_count += size
            row_in_file += size
    columns = _with_defaults(columns, spec)
    if not row_count:
        raise SamplesError(
            ReasonCode.SAMPLES_EMPTY, f"{spec.path}: has no rows in {len(paths)} file(s), so nothing can be proven"
        )
    selection = select(row_count, rows_to_take(row_count, take=spec.take, fraction=spec.fraction), seed=spec.seed)
    chosen = shards if selection is None else _shards_of(selection, shards)
    return SampleSet(
        path=spec.path,
        shards=tuple(chosen),
        columns=columns,
        row_count=row_count if selection is None else sum(shard.taken() for shard in chosen),
        rows_in_files=None if selection is None else row_count,
        has_records=all(map(is_tfrecord, paths)),
        digest=_digest([*paths, *filter(None, [schema])], [*(at.digest for at in opened), *filter(None, [schema_digest])]),
    )


def _schema(spec: SamplesSpec) -> str | None:
    try:
        return sample_folders.schema_of(spec.path, spec.schema_file)
    except StorageError as error:
        raise SamplesError(ReasonCode.STORAGE_FAILED, f"{error}; correct schema_file of the samples entry") from error


def _with_defaults(columns: dict[str, ColumnSpec], spec: SamplesSpec) -> dict[str, ColumnSpec]:
    unknown = [name for name in spec.defaults if name not in columns]
    if unknown:
        raise mismatch(f"{spec.path}: defaults.{unknown[0]}: no column {unknown[0]!r}; the columns: {', '.join(sorted(columns))}")
    return {
        name: dataclasses.replace(column, default=spec.defaults[name]) if name in spec.defaults else column
        for name, column in columns.items()
    }


@dataclasses.dataclass(frozen=True)
class _Opened:
    facts: FileFacts
    digest: str
    stamp: str | None


def _open_all(paths: Sequence[str], schema_file: str | None, describe: Describe) -> list[_Opened]:
    if any(map(storage.is_remote, paths)):
        with concurrent.futures.ThreadPoolExecutor(_OPENED_AT_ONCE) as threads:
            return list(threads.map(lambda path: _open(path, schema_file, describe), paths))
    facts = list(describe(paths, schema_file=schema_file))
    return [_Opened(found, storage.digest(path), None) for path, found in zip(paths, facts, strict=True)]


def _open(path: str, schema_file: str | None, describe: Describe) -> _Opened:
    """Headers and digest of one file, and its version on the store (`stamp`) when they were taken."""
    try:
        stamp = local_cache.stamp_of([path])
        with readable(path, stamp=stamp) as local:
            if os.path.isdir(local):
                raise _is_folder(path)
            (facts,) = describe([local], schema_file=schema_file)
            return _Opened(facts, storage.digest(local), stamp)
    except StorageError as error:
        raise SamplesError(ReasonCode.STORAGE_FAILED, str(error)) from error


@contextlib.contextmanager
def _local_schema(uri: str | None) -> Iterator[str | None]:
    """A local path of the schema: the process that reads headers may have no network."""
    if uri is None or not storage.is_remote(uri):
        yield uri
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, uri.rpartition("/")[2])
        try:
            storage.download(uri, copy)
        except StorageError as error:
            raise SamplesError(ReasonCode.STORAGE_FAILED, f"{error}; correct schema_file of the samples entry") from error
        try:
            yield copy
        except SamplesError as error:
            raise SamplesError(error.reason.code, error.reason.message.replace(copy, uri)) from error


def _shards_of(selection: Selection, shards: Sequence[Shard]) -> list[Shard]:
    """The shards from which rows are taken. Neighbours with few rows are joined, since each shard costs one or two processes."""
    groups: list[list[Shard]] = []
    rows = 0
    for shard in (dataclasses.replace(shard, selection=selection) for shard in shards):
        taken = shard.taken()
        if groups and rows + taken <= _ROWS_PER_TAKEN_SHARD:
            groups[-1] += [shard] if taken else []
            rows += taken
        elif taken:
            groups.append([shard])
            rows = taken
    return [dataclasses.replace(first, more=tuple(more)) for first, *more in groups]


def _files(path: str) -> list[str]:
    try:
        # A name with brackets may be a literal name.
        paths = [path.removeprefix("file://")] if storage.exists(path) else storage.glob(path)
    except StorageError as error:
        raise SamplesError(ReasonCode.STORAGE_FAILED, str(error)) from error
    if not paths:
        raise SamplesError(ReasonCode.SAMPLES_MISSING, f"{path}: no such file; give a {FORMATS} file, or a glob of them")
    if storage.is_remote(path):
        return paths
    return [file for found in paths for file in (sample_folders.files_of(found) if os.path.isdir(found) else [found])]


def _is_folder(path: str) -> SamplesError:
    return SamplesError(
        ReasonCode.SAMPLES_MISSING, f"{path}: is a folder on a store; name the files in it, as in {path}/*.parquet"
    )


def _shard_sizes(range_sizes: Sequence[int]) -> list[int]:
    """Joins neighbouring ranges, up to ROWS_PER_SHARD rows each; a bigger range is a shard of its own."""
    sizes: list[int] = []
    for size in range_sizes:
        if sizes and sizes[-1] + size <= ROWS_PER_SHARD:
            sizes[-1] += size
        elif size:
            sizes.append(size)
    return sizes


def _same_columns(
    expected: Mapping[str, ColumnSpec], columns: Mapping[str, ColumnSpec], *, path: str, first_path: str
) -> dict[str, ColumnSpec]:
    """The columns, checked to be the same in all files; flat lists may have another length in another file."""
    same = {}
    for name in [*expected, *columns]:
        there, here = expected.get(name), columns.get(name)
        if there and here and there.is_flat and here.is_flat and there.dtype == here.dtype and there.shape != here.shape:
            here = there = dataclasses.replace(here, shape=(None,))
        if _column_text(here) != _column_text(there) or there is None:
            raise SamplesError(
                ReasonCode.SAMPLES_MISMATCH,
                f"{path}: column {name!r} is {_column_text(here)} here and {_column_text(there)} in {first_path}; files of one "
                "set need the same columns",
            )
        same[name] = there
    return same


def _column_text(column: ColumnSpec | None) -> str:
    return "absent" if column is None else f"{column.dtype} {column.shape}"


def _digest(paths: Sequence[str], digests: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for path, of_file in zip(paths, digests, strict=True):
        # Uses the name without its folder, so that the same files in another folder are the same samples.
        digest.update(f"{of_file} {os.path.basename(path)}\n".encode(errors="surrogateescape"))
    return f"sha256:{digest.hexdigest()}"
