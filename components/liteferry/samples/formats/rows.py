"""What readers of sample files hand over: columns of a file, and values of one column for a block of rows."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from liteferry.errors import ReasonCode, SamplesError


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowRange:
    """Rows [start, start + count) of a file, to be read in blocks of `block_rows` rows (the last may have fewer).

    `first_row`: the number that errors give to row `start`, counted over all files of the sample set.
    """

    start: int
    count: int
    first_row: int
    block_rows: int


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


def mismatch(message: str) -> SamplesError:
    return SamplesError(ReasonCode.SAMPLES_MISMATCH, message)


def changed(path: str, what: str) -> SamplesError:
    return mismatch(f"{path}: has changed since it was opened: {what}; start the run again")
