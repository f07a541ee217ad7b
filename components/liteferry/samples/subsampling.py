"""Chooses random rows of a set by row number alone, so the choice is the same for every model, runner, shard and order of
reading.

Every row has a key, the row-th number that PCG64 draws from the seed, and the rows with the smallest keys are taken. NumPy keeps
the draws of a bit generator the same in all its releases, which it does not promise of `choice` or `permutation`.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows whose key is at most `threshold`. Each shard can decide by itself which of its rows are taken."""

    seed: int
    threshold: int

    def chosen(self, first_row: int, count: int) -> np.ndarray:
        """(count,) bool: which of the rows [first_row, first_row + count) are taken."""
        return np.asarray(_keys(self.seed, first_row, count) <= np.uint64(self.threshold))


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedRows:
    """These rows, by their numbers in the whole set."""

    rows: tuple[int, ...]

    def chosen(self, first_row: int, count: int) -> np.ndarray:
        """(count,) bool: which of the rows [first_row, first_row + count) are taken."""
        return np.isin(np.arange(first_row, first_row + count), self.rows)


def select(row_count: int, take: int, *, seed: int) -> Selection | None:
    """`take` of `row_count` rows; None for all of them."""
    if take >= row_count:
        return None
    keys = _keys(seed, 0, row_count)
    return Selection(seed=seed, threshold=int(np.partition(keys, take - 1)[take - 1]))


def rows_to_take(row_count: int, *, take: int | None, fraction: float | None) -> int:
    """How many rows a job asks for, at least one."""
    if take is not None:
        return take
    return row_count if fraction is None else max(1, round(fraction * row_count))


def _keys(seed: int, first_row: int, count: int) -> np.ndarray:
    generator = np.random.PCG64(seed)
    generator.advance(first_row)
    return np.asarray(generator.random_raw(count), dtype=np.uint64)
