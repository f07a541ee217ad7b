"""Sample data -> batches of named arrays that fit a model's signature.

    sample_set = open_samples(spec)                                        # headers and digest: what is there
    binding = bind(sample_set, spec, signature, samples_name="digits")     # which column feeds which input, checked
    for shard in sample_set.shards:
        for batch in read_batches(shard, binding, batch_size=64): ...

Nothing is repaired: no nulls filled, no shapes changed, no lossy casts. Two liberties: a scalar column may feed an input of shape
(batch, 1), and flat lists of tf.Examples, which have no other, take the input's shape. All records are frozen and picklable;
files on object stores are read from the local cache (`sample_copies`).
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from liteferry import local_cache, storage
from liteferry.errors import ReasonCode, SamplesError, StorageError
from liteferry.sample_binding import Binding, BoundInput, bind, cast_rows
from liteferry.sample_copies import readable
from liteferry.sample_images import decode_images
from liteferry.sample_readers import (
    FORMATS,
    ColumnSpec,
    Describe,
    FileFacts,
    Rows,
    describe_files,
    is_tfrecord,
    mismatch,
    read_rows,
)
from liteferry.sample_take import NamedRows, Selection, rows_to_take, select

if TYPE_CHECKING:
    from liteferry.config import SamplesSpec

__all__ = ["Batch", "Binding", "BoundInput", "ColumnSpec", "SampleSet", "Shard", "bind", "open_samples", "read_batches"]

ROWS_PER_SHARD = 65_536
_ROWS_PER_TAKEN_SHARD = 1024
_OPENED_AT_ONCE = 8  # files on stores: they wait for the network


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """Consecutive rows of one file, or those of them that are chosen. `first_row` counts over all files of the set, `row_in_file`
    over this file alone; `row_count` rows from there on are looked at. `more`: what is read with it, where `take` leaves few.
    `stamp`, `copy`: of a file on a store, what it was when it was opened, and where a copy of it is held.
    """

    path: str
    first_row: int
    row_count: int
    row_in_file: int = 0
    selection: Selection | NamedRows | None = None
    more: tuple[Shard, ...] = ()
    stamp: str | None = None
    copy: str | None = None

    def taken(self) -> int:
        """How many rows come out of it."""
        own = self.row_count
        if self.selection is not None:
            own = int(np.count_nonzero(self.selection.chosen(self.first_row, self.row_count)))
        return own + sum(part.taken() for part in self.more)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleSet:
    """What the files of one `samples` entry hold. `digest`: sha256:<hex> over the names and the bytes of the files. `row_count`:
    rows that are run; `rows_in_files`: rows that there are, where the job takes some of them.
    """

    path: str
    shards: tuple[Shard, ...]
    columns: Mapping[str, ColumnSpec]
    row_count: int
    digest: str
    rows_in_files: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Rows [first_row, first_row + len(ids)) of a set, or those that `rows` lists where the job takes some of them.

    `inputs`: input name -> C-contiguous array (rows, ...) in the signature's dtype, possibly read-only; strings are object
    arrays of bytes, as TensorFlow takes them. `label`, `extras`: (rows, ...) in the columns' own dtypes.
    """

    inputs: dict[str, np.ndarray]
    ids: tuple[str, ...]
    first_row: int
    label: np.ndarray | None
    extras: dict[str, np.ndarray]
    rows: np.ndarray | None = None


def open_samples(spec: SamplesSpec, *, describe: Describe = describe_files) -> SampleSet:
    """Looks at the headers of every file, sorted by path, and reads all of them once for the digest.

    `describe`: what looks; `sample_headers.describe_contained` does it in a process that may die.

    SamplesError: SAMPLES_MISSING if no file is there, SAMPLES_MISMATCH for one that cannot be read or has other columns than the
    first, SAMPLES_EMPTY if there is no row at all, STORAGE_FAILED if a store does not give it.
    """
    paths = _files(spec.path)
    shards: list[Shard] = []
    columns: dict[str, ColumnSpec] = {}
    row_count = 0
    if spec.schema_file is not None and not any(map(is_tfrecord, paths)):
        raise mismatch(f"{spec.path}: schema_file is for TFRecord files, and none of these is one; remove the key")
    with _local_schema(spec.schema_file) as schema_file:
        opened = _open_all(paths, schema_file, describe)
        schema_digest = storage.digest(schema_file) if schema_file else None
    for path, file in zip(paths, opened, strict=True):
        columns = _same_columns(columns or file.facts.columns, file.facts.columns, path=path, first_path=paths[0])
        row_in_file = 0
        for size in _shard_sizes(file.facts.range_sizes):
            shards.append(Shard(path=path, first_row=row_count, row_count=size, row_in_file=row_in_file, stamp=file.stamp))
            row_count += size
            row_in_file += size
    if not row_count:
        raise SamplesError(ReasonCode.SAMPLES_EMPTY, f"{spec.path}: has no rows in {len(paths)} file(s); nothing could be proven")
    selection = select(row_count, rows_to_take(row_count, take=spec.take, fraction=spec.fraction), seed=spec.seed)
    chosen = shards if selection is None else _shards_of(selection, shards)
    return SampleSet(
        path=spec.path,
        shards=tuple(chosen),
        columns=columns,
        row_count=row_count if selection is None else sum(shard.taken() for shard in chosen),
        rows_in_files=None if selection is None else row_count,
        digest=_digest(
            [*paths, *filter(None, [spec.schema_file])], [*(at.digest for at in opened), *filter(None, [schema_digest])]
        ),
    )


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
    """Headers and digest of one file, and what it was on its store when these were taken."""
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
    """Where a schema can be read: what looks at headers may have no network."""
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
    """The shards that anything is taken of; neighbours of which little is taken become one, since each is a process or two."""
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


def read_batches(shard: Shard, binding: Binding, batch_size: int) -> Iterator[Batch]:
    """Batches of at most `batch_size` rows, in order. Where they end depends on the shard and `batch_size` alone.

    Rows are cut every `batch_size` rows, and in between wherever a ragged column changes its shape, so no batch mixes shapes.
    Memory: one batch (Parquet) or the columns read (npz). SamplesError (SAMPLES_MISMATCH) names the column and the row of a null,
    of a value that its input's dtype cannot hold, or of a shape its input does not take.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    for part in (shard, *shard.more):
        with readable(part.path, stamp=part.stamp, copy=part.copy) as local:
            for numbers, block in _blocks(part, local, binding, batch_size):
                yield from _cut(block, numbers, binding, path=part.path, is_some=part.selection is not None)


def _blocks(shard: Shard, path: str, binding: Binding, batch_size: int) -> Iterator[tuple[np.ndarray, dict[str, Rows]]]:
    """(rows,) numbers of the rows in the whole set, and their columns; `batch_size` rows of which the chosen ones are left."""
    blocks = read_rows(
        path,
        binding.columns(),
        start=shard.row_in_file,
        count=shard.row_count,
        first_row=shard.first_row,
        block_rows=batch_size,
    )
    first_row = shard.first_row
    waiting: list[tuple[np.ndarray, dict[str, Rows]]] = []
    for block in blocks:
        size = len(next(iter(block.values())).shapes)
        numbers = np.arange(first_row, first_row + size)
        first_row += size
        if shard.selection is None:
            yield numbers, block
            continue
        chosen = np.flatnonzero(shard.selection.chosen(int(numbers[0]), size))
        if len(chosen):
            waiting.append((numbers[chosen], {name: rows.pick(chosen) for name, rows in block.items()}))
        if sum(len(numbers) for numbers, _ in waiting) >= batch_size:
            numbers, block = _joined(waiting)
            yield numbers[:batch_size], {name: rows.pick(np.arange(batch_size)) for name, rows in block.items()}
            rest = np.arange(batch_size, len(numbers))
            waiting = [(numbers[rest], {name: rows.pick(rest) for name, rows in block.items()})] if len(rest) else []
    if waiting:
        yield _joined(waiting)


def _joined(parts: Sequence[tuple[np.ndarray, dict[str, Rows]]]) -> tuple[np.ndarray, dict[str, Rows]]:
    numbers = np.concatenate([numbers for numbers, _ in parts])
    return numbers, {name: Rows.join([block[name] for _, block in parts]) for name in parts[0][1]}


def _cut(block: dict[str, Rows], numbers: np.ndarray, binding: Binding, *, path: str, is_some: bool) -> Iterator[Batch]:
    """Batches of one block: one, unless rows differ in shape."""
    fed = {bound.input.name: block[bound.column] for bound in binding.inputs}
    for bound in binding.inputs:
        if bound.image is not None:
            where = f"{path}: column {bound.column!r}"
            fed[bound.input.name] = decode_images(fed[bound.input.name], bound.image, where=where, numbers=numbers.tolist())
    for start, stop in _runs_of_one_shape([*fed.values(), *block.values()]):
        inputs = {
            bound.input.name: cast_rows(
                fed[bound.input.name].take(start, stop),
                bound,
                samples_name=binding.samples_name,
                numbers=numbers[start:stop],
                path=path,
            )
            for bound in binding.inputs
        }
        yield Batch(
            inputs=inputs,
            ids=_ids(block, binding, numbers, start, stop),
            first_row=int(numbers[start]),
            label=None if binding.label is None else np.ascontiguousarray(block[binding.label].take(start, stop)),
            extras={name: np.ascontiguousarray(block[name].take(start, stop)) for name in binding.extras},
            rows=numbers[start:stop] if is_some else None,
        )


def _ids(block: Mapping[str, Rows], binding: Binding, numbers: np.ndarray, start: int, stop: int) -> tuple[str, ...]:
    if binding.id is None:
        return tuple(map(str, numbers[start:stop].tolist()))
    return tuple(_text(name) for name in block[binding.id].take(start, stop).tolist())


def _files(path: str) -> list[str]:
    try:
        # A name with brackets in it may be meant as it stands.
        paths = [path.removeprefix("file://")] if storage.exists(path) else storage.glob(path)
    except StorageError as error:
        raise SamplesError(ReasonCode.STORAGE_FAILED, str(error)) from error
    if not paths:
        raise SamplesError(ReasonCode.SAMPLES_MISSING, f"{path}: no such file; give a {FORMATS} file, or a glob of them")
    for folder in filter(os.path.isdir, paths):
        raise _is_folder(folder)
    return paths


def _is_folder(path: str) -> SamplesError:
    return SamplesError(ReasonCode.SAMPLES_MISSING, f"{path}: is a folder; name the files in it, as in {path}/*.parquet")


def _shard_sizes(range_sizes: Sequence[int]) -> list[int]:
    """Neighbouring ranges together, up to ROWS_PER_SHARD rows each; a bigger range is a shard of its own."""
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
    """The columns that all files have; lists that say nothing of their shape may have another length in another file."""
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
        # The name without its folder: the same files elsewhere are the same samples.
        digest.update(f"{of_file} {os.path.basename(path)}\n".encode(errors="surrogateescape"))
    return f"sha256:{digest.hexdigest()}"


def _runs_of_one_shape(columns: Sequence[Rows]) -> Iterator[tuple[int, int]]:
    """[start, stop) of the longest runs of rows in which no column changes its shape."""
    shapes = np.concatenate([rows.shapes for rows in columns], axis=1)
    cuts = np.flatnonzero((shapes[1:] != shapes[:-1]).any(axis=1)) + 1
    bounds = [0, *cuts.tolist(), len(shapes)]
    yield from itertools.pairwise(bounds)


def _text(name: object) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
