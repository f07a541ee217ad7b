"""Error and signal of each column, that is, each entry of an output's last axis. The signal is taken about the column's mean. A
single number over all columns would hide a bad one.

Sums over rows are exact, so they merge to the same bits in any order. They are computed for all columns at once: every value is
cut into integers on fixed grids, 26 bits apart, and sums of such integers do not round.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from liteferry.parity import exact_sum
from liteferry.parity.exact_sum import GRID_BITS, LEAST_GRID, MOST_GRID

MOST_COLUMNS = 256
"""Wider outputs are judged in so many groups of neighbours."""
LEAST_VALUES = 5
"""The spread of a column with fewer values is not meaningful."""
LEAST_SPREAD = 1e-5
"""A column that varies by less, relative to the output's largest answer, holds no signal that float32 could carry."""
UNIT_SPREAD = 0.05
"""Answers that all lie in 0 to 1 are shares or probabilities: there, a smaller variation counts as this much."""
MOST_DECIBELS = 300.0
_MIXED = -1

Grids = Mapping[int, npt.NDArray[np.int64]]
Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column, or a group of neighbours, after all rows. Powers are means over its `count` values."""

    first: int
    last: int
    count: int
    mean: float
    spread_power: float
    noise_power: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ColumnStats:
    """Mergeable sums over columns. `width`: of the last axis; 0 for no rows, -1 where batches had different widths.

    `counts`: compared elements of each group of columns. `sums`: of the reference, its squares and the squares of the
    differences, as integers on grids.
    """

    width: int = 0
    counts: tuple[int, ...] = ()
    sums: tuple[Grids, Grids, Grids] = dataclasses.field(default_factory=lambda: ({}, {}, {}))

    @classmethod
    def of(cls, parts: tuple[Floats, Floats, Floats], excluded: Floats | None, *, width: int, positions: int) -> ColumnStats:
        """The sums of one block.

        Args:
          parts: what `fold` made of the reference, its squares and the squares of the differences; (rows, groups) each.
          excluded: the same of ones where an element does not count; None where all do.
          width: of the last axis. positions: how many last axes a row has.
        """
        size = _group_size(width)
        full = len(parts[0]) * positions
        counts = [full * min(size, width - first) for first in range(0, width, size)]
        if excluded is not None:
            missing = excluded.sum(axis=0).tolist()
            counts = [count - int(gone) for count, gone in zip(counts, missing, strict=True)]
        reference, squares, errors = parts
        return cls(width=width, counts=tuple(counts), sums=(_grids(reference), _grids(squares), _grids(_shortened(errors))))

    def __add__(self, other: ColumnStats) -> ColumnStats:
        if not self.width or not other.width:
            return self if self.width else other
        if self.width != other.width:
            return ColumnStats(width=_MIXED)
        if self.width == _MIXED:
            return self
        counts = tuple(one + more for one, more in zip(self.counts, other.counts, strict=True))
        first, second, third = (_added(one, more) for one, more in zip(self.sums, other.sums, strict=True))
        return ColumnStats(width=self.width, counts=counts, sums=(first, second, third))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ColumnStats) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.width, self.counts))

    def columns(self) -> list[Column]:
        """The columns in order, finished; [] where there are none, or batches had different widths."""
        size = _group_size(self.width)
        found = []
        for index, count in enumerate(self.counts):
            if count == 0:
                continue
            total, squares, errors = (_exact(grids, index) for grids in self.sums)
            spread = max(0, count * squares * _ONE - total * total)  # exact: no cancellation, whatever the mean
            found.append(
                Column(
                    first=index * size,
                    last=min(self.width, (index + 1) * size) - 1,
                    count=count,
                    mean=total / (count * _ONE),
                    spread_power=spread / (count * count * _ONE * _ONE),
                    noise_power=errors / (count * _ONE),
                )
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` turns into equal sums."""
        sums = [[[grid, numbers.tolist()] for grid, numbers in sorted(grids.items())] for grids in self.sums]
        return {"width": self.width, "counts": list(self.counts), "sums": sums}

    @classmethod
    def from_json(cls, encoded: Mapping[str, Any]) -> ColumnStats:
        """The inverse of `to_json`."""
        first, second, third = ({grid: np.array(numbers, dtype=np.int64) for grid, numbers in grids} for grids in encoded["sums"])
        return cls(width=encoded["width"], counts=tuple(encoded["counts"]), sums=(first, second, third))


def fold(matrix: Floats, *, width: int) -> Floats:
    """(rows, elements) with `width` entries in the last axis -> (rows, groups): sums over positions and over the neighbours of a
    group. The order of each row's sum depends on its length alone. May return `matrix` itself, and OVERWRITES it.
    """
    elements = matrix.shape[1]
    while elements > width:
        half = math.ceil(elements // width / 2) * width
        matrix[:, : elements - half] += matrix[:, half:elements]
        elements = half
    folded = matrix[:, :elements]
    size = _group_size(width)
    if size == 1:
        return folded
    grouped = folded[:, ::size].copy()
    for step in range(1, size):
        part = folded[:, step::size]
        grouped[:, : part.shape[1]] += part
    return grouped


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """The scale of an output, with which errors are compared. It depends on the reference only; powers are means over all
    elements.

    `spread_power`: about each column's mean. `mean_power`: of those means. `floor`: the least power that counts as signal in a
    column or in a row. `is_unit`: whether every answer lies in 0 to 1, where the mean is no offset.
    """

    spread_power: float
    mean_power: float
    floor: float
    is_unit: bool
    largest: float

    @property
    def varies(self) -> bool:
        """Whether the reference varies at all."""
        return self.is_unit or self.spread_power > (LEAST_SPREAD * self.largest) ** 2


def scale_of(found: Sequence[Column], *, low: float, high: float, width: int) -> Scale:
    """The scale of an output's columns, whose finite answers lie between `low` and `high`."""
    count = sum(column.count for column in found) or 1
    is_unit = low >= 0 and high <= 1
    largest = max(abs(low), abs(high))
    return Scale(
        spread_power=sum(column.spread_power * column.count for column in found) / count,
        mean_power=sum(column.mean**2 * column.count for column in found) / count,
        # Of many classes each has a small share of the whole: the floor shrinks as the mean share does.
        floor=UNIT_SPREAD**2 * min(1.0, 4 / max(1, width)) if is_unit else 0.0,
        is_unit=is_unit,
        largest=largest,
    )


def worst_column(found: Sequence[Column], scale: Scale) -> tuple[float | None, Column | None, int]:
    """Signal to noise of the worst column in dB, at most 300; that column; and how many columns could be measured. None where
    none could.
    """
    least = (LEAST_SPREAD * scale.largest) ** 2
    measured = [column for column in found if column.count >= LEAST_VALUES and (scale.is_unit or column.spread_power > least)]
    worst, least_db = None, MOST_DECIBELS
    for column in measured:
        signal = max(column.spread_power, scale.floor)
        if column.noise_power > 0:
            own = decibels(signal, column.noise_power)
            if worst is None or own < least_db:
                worst, least_db = column, own
    return (least_db if measured else None), worst, len(measured)


def decibels(signal: float, noise: float) -> float:
    """The ratio of two powers in dB, between -300 and 300."""
    if noise <= 0 or signal <= 0:
        return MOST_DECIBELS if noise <= 0 else -MOST_DECIBELS
    return max(-MOST_DECIBELS, min(MOST_DECIBELS, 10 * (math.log10(signal) - math.log10(noise))))


_ONE = 1 << (GRID_BITS * -LEAST_GRID)
"""1.0 on the finest grid."""


def _group_size(width: int) -> int:
    return max(1, math.ceil(width / MOST_COLUMNS))


def _shortened(values: Floats) -> Floats:
    """Non-negative values rounded to 26 bits: too little to change a decibel, and one grid less to sum."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = values * float(2**27 + 1)
        short: Floats = scaled - (scaled - values)
    return np.where(np.isfinite(short), short, values)


def _grids(values: Floats) -> dict[int, npt.NDArray[np.int64]]:
    """Exact column sums of (rows, groups) finite values. Values beyond 2**±494, which no model's output reaches, are left out."""
    most = 2.0 ** (GRID_BITS * MOST_GRID)
    if max(values.max(initial=0.0), -values.min(initial=0.0)) > most:
        values = np.where(np.abs(values) > most, 0.0, values)
    return exact_sum.grid_sums(values)[0]


def _added(one: Grids, other: Grids) -> dict[int, npt.NDArray[np.int64]]:
    summed = dict(one)
    for grid, numbers in other.items():
        summed[grid] = summed[grid] + numbers if grid in summed else numbers
    return {grid: numbers for grid, numbers in summed.items() if numbers.any()}


def _exact(grids: Grids, index: int) -> int:
    """The sum of one column in units of the finest grid."""
    return sum(int(numbers[index]) << (GRID_BITS * (grid - LEAST_GRID)) for grid, numbers in grids.items())
