"""Sample data -> batches of named arrays that fit a model's signature.

    sample_set = open_samples(spec)                                        # headers and digest: what is there
    binding = bind(sample_set, spec, signature, samples_name="digits")     # which column feeds which input, checked
    for shard in sample_set.shards:
        for batch in read_batches(shard, binding, batch_size=64): ...

Nothing is repaired: no nulls filled, no shapes changed, no lossy casts. The one liberty: a scalar column may feed an input of
shape (batch, 1). All records are frozen and picklable; files are local (`file://` is accepted).
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from liteferry import storage
from liteferry.errors import ReasonCode, SamplesError, StorageError
from liteferry.sample_binding import Binding, BoundInput, bind, cast_rows
from liteferry.sample_readers import ColumnSpec, Rows, describe_file, read_rows

if TYPE_CHECKING:
    from liteferry.config import SamplesSpec

__all__ = ["Batch", "Binding", "BoundInput", "ColumnSpec", "SampleSet", "Shard", "bind", "open_samples", "read_batches"]

ROWS_PER_SHARD = 65_536


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """Consecutive rows of one file. `first_row` counts over all files of the set, `row_in_file` over this file alone."""

    path: str
    first_row: int
    row_count: int
    row_in_file: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleSet:
    """What the files of one `samples` entry hold. `digest`: sha256:<hex> over the names and the bytes of the files."""

    path: str
    shards: tuple[Shard, ...]
    columns: Mapping[str, ColumnSpec]
    row_count: int
    digest: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Rows [first_row, first_row + len(ids)) of a set.

    `inputs`: input name -> C-contiguous array (rows, ...) in the signature's dtype, possibly read-only; strings are object
    arrays of bytes, as TensorFlow takes them. `label`, `extras`: (rows, ...) in the columns' own dtypes.
    """

    inputs: dict[str, np.ndarray]
    ids: tuple[str, ...]
    first_row: int
    label: np.ndarray | None
    extras: dict[str, np.ndarray]


def open_samples(spec: SamplesSpec) -> SampleSet:
    """Looks at the headers of every file, sorted by path, and reads all of them once for the digest.

    SamplesError: SAMPLES_MISSING if no file is there, SAMPLES_MISMATCH for one that cannot be read or has other columns than the
    first, SAMPLES_EMPTY if there is no row at all.
    """
    paths = _files(spec.path)
    shards: list[Shard] = []
    columns: dict[str, ColumnSpec] = {}
    row_count = 0
    for path in paths:
        facts = describe_file(path)
        columns = columns or facts.columns
        _check_same_columns(facts.columns, columns, path=path, first_path=paths[0])
        row_in_file = 0
        for size in _shard_sizes(facts.range_sizes):
            shards.append(Shard(path=path, first_row=row_count, row_count=size, row_in_file=row_in_file))
            row_count += size
            row_in_file += size
    if not row_count:
        raise SamplesError(ReasonCode.SAMPLES_EMPTY, f"{spec.path}: has no rows in {len(paths)} file(s); nothing could be proven")
    return SampleSet(path=spec.path, shards=tuple(shards), columns=columns, row_count=row_count, digest=_digest(paths))


def read_batches(shard: Shard, binding: Binding, batch_size: int) -> Iterator[Batch]:
    """Batches of at most `batch_size` rows, in order. Where they end depends on the shard and `batch_size` alone.

    Rows are cut every `batch_size` rows, and in between wherever a ragged column changes its shape, so no batch mixes shapes.
    Memory: one batch (Parquet) or the columns read (npz). SamplesError (SAMPLES_MISMATCH) names the column and the row of a null,
    of a value that its input's dtype cannot hold, or of a shape its input does not take.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    blocks = read_rows(
        shard.path,
        binding.columns(),
        start=shard.row_in_file,
        count=shard.row_count,
        first_row=shard.first_row,
        block_rows=batch_size,
    )
    first_row = shard.first_row
    for block in blocks:
        stop = 0
        for start, stop in _runs_of_one_shape(list(block.values())):
            yield _batch(block, start, stop, binding, first_row=first_row + start, path=shard.path)
        first_row += stop


def _files(path: str) -> list[str]:
    try:
        # A name with brackets in it may be meant as it stands.
        paths = [storage.require_local(path)] if storage.exists(path) else storage.glob(path)
    except StorageError as error:
        raise SamplesError(ReasonCode.SAMPLES_MISSING, str(error)) from error
    if not paths:
        raise SamplesError(ReasonCode.SAMPLES_MISSING, f"{path}: no such file; give a .parquet or .npz file, or a glob of them")
    for folder in filter(os.path.isdir, paths):
        raise SamplesError(ReasonCode.SAMPLES_MISSING, f"{folder}: is a folder; name the files in it, as in {folder}/*.parquet")
    return paths


def _shard_sizes(range_sizes: Sequence[int]) -> list[int]:
    """Neighbouring ranges together, up to ROWS_PER_SHARD rows each; a bigger range is a shard of its own."""
    sizes: list[int] = []
    for size in range_sizes:
        if sizes and sizes[-1] + size <= ROWS_PER_SHARD:
            sizes[-1] += size
        elif size:
            sizes.append(size)
    return sizes


def _check_same_columns(
    columns: Mapping[str, ColumnSpec], expected: Mapping[str, ColumnSpec], *, path: str, first_path: str
) -> None:
    for name in [*expected, *columns]:
        here, there = _column_text(columns.get(name)), _column_text(expected.get(name))
        if here != there:
            raise SamplesError(
                ReasonCode.SAMPLES_MISMATCH,
                f"{path}: column {name!r} is {here} here and {there} in {first_path}; files of one set need the same columns",
            )


def _column_text(column: ColumnSpec | None) -> str:
    return "absent" if column is None else f"{column.dtype} {column.shape}"


def _digest(paths: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        # The name without its folder: the same files elsewhere are the same samples.
        digest.update(f"{storage.digest(path)} {os.path.basename(path)}\n".encode(errors="surrogateescape"))
    return f"sha256:{digest.hexdigest()}"


def _runs_of_one_shape(columns: Sequence[Rows]) -> Iterator[tuple[int, int]]:
    """[start, stop) of the longest runs of rows in which no column changes its shape."""
    shapes = np.concatenate([rows.shapes for rows in columns], axis=1)
    cuts = np.flatnonzero((shapes[1:] != shapes[:-1]).any(axis=1)) + 1
    bounds = [0, *cuts.tolist(), len(shapes)]
    yield from itertools.pairwise(bounds)


def _batch(block: Mapping[str, Rows], start: int, stop: int, binding: Binding, *, first_row: int, path: str) -> Batch:
    inputs = {}
    for bound in binding.inputs:
        rows = block[bound.column].take(start, stop)
        inputs[bound.input.name] = cast_rows(rows, bound, samples_name=binding.samples_name, first_row=first_row, path=path)
    label = None if binding.label is None else np.ascontiguousarray(block[binding.label].take(start, stop))
    if binding.id is None:
        ids = tuple(str(row) for row in range(first_row, first_row + stop - start))
    else:
        ids = tuple(_text(name) for name in block[binding.id].take(start, stop).tolist())
    extras = {name: np.ascontiguousarray(block[name].take(start, stop)) for name in binding.extras}
    return Batch(inputs=inputs, ids=ids, first_row=first_row, label=label, extras=extras)


def _text(name: object) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
