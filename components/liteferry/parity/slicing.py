"""Parity statistics of slices: the rows that share the values of some sample columns, for example all rows of one label.

At most `SLICES_KEPT` slices are kept for one list of columns, the first in the order of their values. A slice that is among the
first of all rows is among the first of any part of them, so a kept slice has all its rows, for any shards and any order of
merging.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from liteferry.parity.output_stats import OutputStats

SLICES_KEPT = 100
Value = bool | int | float | str
Key = tuple[Value, ...]
Columns = tuple[str, ...]


def slice_name(columns: Columns, key: Key) -> str:
    """TFMA's name of the slice: `label:3`, `country_X_label:CH_X_3`."""
    return f"{'_X_'.join(columns)}:{'_X_'.join(map(str, key))}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slices:
    """Statistics of one candidate in the slices of one list of columns. Merges as `OutputStats` does.

    Attributes:
      stats: values of the columns -> output -> statistics; at most `SLICES_KEPT`. Without worst examples.
      row_count: all rows, also those of slices that are not kept.
      is_complete: whether every slice is there.
    """

    stats: Mapping[Key, Mapping[str, OutputStats]] = dataclasses.field(default_factory=dict)
    row_count: int = 0
    is_complete: bool = True

    def __add__(self, other: Slices) -> Slices:
        merged = {key: dict(outputs) for key, outputs in self.stats.items()}
        for key, outputs in other.stats.items():
            merged[key] = merge_outputs(merged.get(key, {}), outputs)
        kept = sorted(merged, key=_order)[:SLICES_KEPT]
        is_complete = self.is_complete and other.is_complete and len(kept) == len(merged)
        return Slices(
            stats={key: merged[key] for key in kept}, row_count=self.row_count + other.row_count, is_complete=is_complete
        )

    def is_beyond(self, key: Key) -> bool:
        """Whether a slice with this key would be dropped."""
        return len(self.stats) >= SLICES_KEPT and _order(key) > _order(list(self.stats)[-1])

    def rows_not_listed(self) -> int:
        """The number of rows in slices that are not kept."""
        return self.row_count - sum(_row_count(outputs) for outputs in self.stats.values())

    def report(self, columns: Columns) -> dict[str, dict[str, Any]]:
        """`{slice: {row_count, parity: {output: statistics}}}` in the order of values."""
        return {
            slice_name(columns, key): {
                "row_count": _row_count(outputs),
                "parity": {name: stats.report() for name, stats in outputs.items()},
            }
            for key, outputs in self.stats.items()
        }

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` turns into equal statistics."""
        stats = [[list(key), {name: one.to_json() for name, one in outputs.items()}] for key, outputs in self.stats.items()]
        return {"stats": stats, "row_count": self.row_count, "is_complete": self.is_complete}

    @classmethod
    def from_json(cls, encoded: Mapping[str, Any]) -> Slices:
        """The inverse of `to_json`."""
        stats = {
            tuple(key): {name: OutputStats.from_json(one) for name, one in outputs.items()} for key, outputs in encoded["stats"]
        }
        return cls(stats=stats, row_count=encoded["row_count"], is_complete=encoded["is_complete"])


def merge_outputs(one: Mapping[str, OutputStats], other: Mapping[str, OutputStats]) -> dict[str, OutputStats]:
    """Merges statistics output by output; an output that one side lacks is taken from the other."""
    empty = OutputStats.empty()
    return {name: one.get(name, empty).merge(other.get(name, empty)) for name in sorted(one.keys() | other.keys())}


def group_rows(values: Sequence[npt.NDArray[Any]]) -> list[tuple[Key, npt.NDArray[np.intp]]]:
    """The rows of each slice, by its values; `values`: for each column an array of shape (rows,) or (rows, 1)."""
    codes = np.zeros(len(values[0]), dtype=np.int64)
    of_column = []
    for column in values:
        found, inverse = np.unique(_plain(column), return_inverse=True)
        of_column.append(found)
        codes = np.unique(codes * len(found) + inverse, return_inverse=True)[1]  # dense codes again, so that they cannot overflow
    order = np.argsort(codes, kind="stable")
    ends = np.flatnonzero(np.diff(codes[order])) + 1
    groups = np.split(order, ends)
    return [(tuple(_value(_plain(column)[rows[0]]) for column in values), rows) for rows in groups if len(rows)]


def _plain(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    flat = column.reshape(len(column))
    if flat.dtype.kind in "OS":  # decoded first: bytes and str that read the same are one slice
        return np.array([_value(value) for value in flat.tolist()], dtype=np.str_)
    return flat + 0.0 if flat.dtype.kind == "f" else flat  # zeros of either sign are one slice


def _value(value: Any) -> Value:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bytes):
        return plain.decode("utf-8", "backslashreplace")
    if isinstance(plain, float) and not math.isfinite(plain):
        return str(plain)
    return plain if isinstance(plain, bool | int | float | str) else str(plain)


def _order(key: Key) -> tuple[tuple[bool, float, str], ...]:
    """Sorts numbers by size, before text."""
    return tuple((isinstance(v, str), 0.0 if isinstance(v, str) else v, str(v)) for v in key)


def _row_count(outputs: Mapping[str, OutputStats]) -> int:
    return max((stats.example_count for stats in outputs.values()), default=0)
