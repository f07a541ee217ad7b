"""Reads sample data as batches of named arrays that fit a model's signature.

    sample_set = open_samples(spec) # reads headers and digest
    binding = bind(sample_set, spec, signature, samples_name="digits") # decides which column feeds which input, and checks it
    for shard in sample_set.shards:
        for batch in read_batches(shard, binding, batch_size=64): ...

Nothing is repaired: nulls are not filled, shapes are not changed, casts are never lossy. There are two exceptions: a scalar
column may feed an input of shape (batch, 1), and the flat lists of tf.Examples take the input's shape. All records are frozen and
picklable; files on object stores are read from the local cache (`local_copies`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.samples.binding import Binding, cast_rows
from liteferry.samples.formats.registry import read_rows
from liteferry.samples.formats.rows import RowRange, Rows
from liteferry.samples.images import decode_images
from liteferry.samples.local_copies import readable
from liteferry.samples.sample_set import Batch, Shard


def read_batches(shard: Shard, binding: Binding, batch_size: int) -> Iterator[Batch]:
    """Batches of at most `batch_size` rows, in order. Batch boundaries depend on the shard and `batch_size` alone.

    A batch ends after `batch_size` rows, and earlier where a ragged column changes its shape, so no batch mixes shapes. Memory:
    one batch (Parquet) or the columns read (npz). SamplesError (SAMPLES_MISMATCH) names the column and row of a null, of a value
    that the input's dtype cannot hold, or of a shape that the input does not take.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    for part in (shard, *shard.more):
        with readable(part.path, stamp=part.stamp, copy=part.copy) as local:
            for numbers, block in _blocks(part, local, binding, batch_size):
                yield from _cut(block, numbers, binding, path=part.path, is_some=part.selection is not None)


def _blocks(shard: Shard, path: str, binding: Binding, batch_size: int) -> Iterator[tuple[np.ndarray, dict[str, Rows]]]:
    """(rows,) row numbers in the whole set, and their columns; of every `batch_size` rows only the chosen ones are left."""
    wanted = RowRange(start=shard.row_in_file, count=shard.row_count, first_row=shard.first_row, block_rows=batch_size)
    blocks = read_rows(path, binding.columns(), wanted)
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
    fed = {bound.input.name: block[bound.column] for bound in binding.inputs if not bound.stacked}
    for bound in binding.inputs:
        if bound.image is not None:
            where = f"{path}: column {bound.column!r}"
            fed[bound.input.name] = decode_images(fed[bound.input.name], bound.image, where=where, numbers=numbers.tolist())
    for start, stop in _runs_of_one_shape([*fed.values(), *block.values()]):
        at: dict[str, Any] = {"samples_name": binding.samples_name, "numbers": numbers[start:stop], "path": path}
        inputs = {
            bound.input.name: np.concatenate(
                [cast_rows(_as_columns(block[part.column], start, stop), part, **at) for part in bound.side_by_side()], axis=1
            )
            if bound.stacked
            else cast_rows(fed[bound.input.name].take(start, stop), bound, **at)
            for bound in binding.inputs
        }
        yield Batch(
            inputs=inputs,
            ids=_ids(block, binding, numbers, start, stop),
            first_row=int(numbers[start]),
            label=None if binding.label is None else np.ascontiguousarray(block[binding.label].take(start, stop)),
            extras={name: np.ascontiguousarray(block[name].take(start, stop)) for name in binding.extras},
            rows=numbers[start:stop] if is_some else None,
            filled={name: count for name, rows in block.items() if (count := _filled(rows, start, stop))},
        )


def _filled(rows: Rows, start: int, stop: int) -> int:
    return 0 if rows.filled is None else int(np.count_nonzero(rows.filled[start:stop]))


def _as_columns(rows: Rows, start: int, stop: int) -> np.ndarray:
    """Rows [start, stop) of single values or vectors, as (rows, values)."""
    return rows.take(start, stop).reshape(stop - start, -1)


def _ids(block: Mapping[str, Rows], binding: Binding, numbers: np.ndarray, start: int, stop: int) -> tuple[str, ...]:
    if binding.id is None:
        return tuple(map(str, numbers[start:stop].tolist()))
    return tuple(_text(name) for name in block[binding.id].take(start, stop).tolist())


def _runs_of_one_shape(columns: Sequence[Rows]) -> Iterator[tuple[int, int]]:
    """[start, stop) of the longest runs of rows in which no column changes its shape."""
    shapes = np.concatenate([rows.shapes for rows in columns], axis=1)
    cuts = np.flatnonzero((shapes[1:] != shapes[:-1]).any(axis=1)) + 1
    bounds = [0, *cuts.tolist(), len(shapes)]
    yield from itertools.pairwise(bounds)


def _text(name: object) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
