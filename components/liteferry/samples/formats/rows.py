"""The records that readers of sample files return: columns of a file, and values of one column for a block of rows."""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from liteferry.errors import ReasonCode, SamplesError

NAMED_BY_PLACE = ("x", "y", "sample_weight")  # the columns of a tuple (features, labels, weights), as `Model.fit` takes it
RECORD = "@record"  # the serialized record of a TFRecord file itself, in place of one of its features


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnSpec:
    """`dtype`: NumPy name, "string" for text and bytes, Arrow's name for others. `shape` of one row, None where ragged.

    `is_flat`: the format has only lists without shapes, so the shape of the input that they feed applies. `default`: replaces a
    value that is missing in a row; None: a missing value is an error. `is_image`: encoded images, which are decoded
    automatically for inputs of numbers. `origin`: what a column of TFRecord files is made of, see `tf_structures`.
    """

    dtype: str
    shape: tuple[int | None, ...]
    is_flat: bool = False
    default: str | float | bytes | None = None
    is_image: bool = False
    origin: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileFacts:
    """Columns of one file and the sizes of the row ranges it can be cut at (row groups, record batches; npz has one)."""

    columns: dict[str, ColumnSpec]
    range_sizes: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowRange:
    """Rows [start, start + count) of a file, to be read in blocks of `block_rows` rows (the last may have fewer).

    `first_row`: the number of row `start` over all files of the sample set, as errors give it.
    """

    start: int
    count: int
    first_row: int
    block_rows: int


@dataclasses.dataclass(frozen=True)
class Rows:
    """Consecutive rows of one column: `values` one after the other, (elements,), and `shapes`, (rows, rank) int64. `filled`: rows
    that had no value and got the column's default; None where there is none.
    """

    values: np.ndarray
    shapes: np.ndarray
    filled: np.ndarray | None = None

    @functools.cached_property
    def _offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(np.prod(self.shapes, axis=1, dtype=np.int64))])

    def take(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop), which share one shape, as (stop - start, *shape)."""
        values = self.values[self._offsets[start] : self._offsets[stop]]
        return values.reshape(stop - start, *self.shapes[start])

    def pick(self, places: np.ndarray) -> Rows:
        """The rows at these indices, in this order."""
        offsets = self._offsets
        filled = None if self.filled is None else self.filled[places]
        if len(self.shapes) and (self.shapes == self.shapes[0]).all():
            return Rows(self.values.reshape(len(self.shapes), -1)[places].reshape(-1), self.shapes[places], filled)
        values = [self.values[offsets[place] : offsets[place + 1]] for place in places.tolist()]
        return Rows(np.concatenate(values) if values else self.values[:0], self.shapes[places], filled)

    @staticmethod
    def join(parts: Sequence[Rows]) -> Rows:
        """The rows of all parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        filled = [part.filled for part in parts if part.filled is not None]
        return Rows(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.shapes for part in parts]),
            np.concatenate(filled) if len(filled) == len(parts) else None,
        )


def rows_of_array(array: np.ndarray) -> Rows:
    """An array, (rows, ...), as rows; texts become bytes."""
    shapes = np.broadcast_to(np.array(array.shape[1:], np.int64), (len(array), array.ndim - 1))
    if array.dtype.kind == "U":
        array = np.char.encode(array, "utf-8")
    if array.dtype.kind == "S":
        array = array.astype(object)
    return Rows(np.ascontiguousarray(array).reshape(-1), shapes)


def one_length(path: str, lengths: Mapping[str, int], *, kind: str, opened: str) -> int:
    """The number of rows that all arrays of a file have.

    Args:
      kind: what the file calls an array. opened: the expression that opens it, for the line that mends it.

    Raises:
      SamplesError: SAMPLES_MISMATCH if they differ, with a line that keeps the arrays of one length.
    """
    first = next(iter(lengths))
    other = next((name for name, length in lengths.items() if length != lengths[first]), None)
    if other is None:
        return lengths[first]
    groups = collections.defaultdict(list)
    for name, length in lengths.items():
        groups[length].append(name)
    kept = max(groups.values(), key=lambda names: (len(names), -lengths[names[0]]))
    together = ", ".join(f"{re.sub(r'[^A-Za-z0-9_]', '_', name)}=f[{name!r}]" for name in kept[:6])
    raise mismatch(
        f"{path}: {kind} {first!r} has {lengths[first]} rows and {kind} {other!r} has {lengths[other]}; the first axis is the "
        f"rows, and every {kind} needs the same number. Keep those that belong together: f = {opened}; "
        f"np.savez('rows.npz', {together})"
    )


def mismatch(message: str) -> SamplesError:
    return SamplesError(ReasonCode.SAMPLES_MISMATCH, message)


def changed(path: str, what: str) -> SamplesError:
    return mismatch(f"{path}: has changed since it was opened: {what}; start the run again")
