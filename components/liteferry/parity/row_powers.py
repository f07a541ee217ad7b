"""Counts rows by the power of their answer and of their error, mergeable in any order, to find the rows that a candidate has
lost.

A row is lost where its error has at least half the power of its answer. The scale to compare with is known only after all rows,
so both powers of a row are counted in buckets of 1.5 dB, as a pair; rows are judged at the end.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from liteferry.parity.column_errors import Scale

LOST = 0.5
"""The ratio of error power to answer power from which a row counts as lost: 3 dB."""
NARROW = 8
"""A row of fewer elements may be near zero by chance: its error is compared with the spread over all rows, if there are enough.
If a group of rows is quiet, and not by chance, the group's errors are compared with its own power.
"""
LEAST_ROWS = 5
LEAST_ROW = 1e-6
"""A row whose power is below this share of the spread's power has no meaningful answer."""
_DEPTHS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Shares of the spread's power below which rows count as quiet."""
_LEAST_SHARE = 0.01
_GROUPED = 0.6
"""So many of the rows within 10 dB above a depth lie below it where there is a group; a third do where numbers pass zero."""
_CLAMP = 320  # 2**±160; no power of an output lies beyond
_DEEP = 80  # 120 dB: errors that are smaller still are no errors
_ZERO = -10_000
_NARROW = 20_000  # is added to the bucket of a narrow row's own power

_LOG_HALF = math.sqrt(0.5)


@dataclasses.dataclass(frozen=True)
class RowPowers:
    """(bucket of the error's power, bucket of the answer's) -> rows; the buckets of narrow rows' answers begin at 10,000."""

    counts: Mapping[tuple[int, int], int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, noise: npt.NDArray[np.float64], signal: npt.NDArray[np.float64], *, width: int) -> RowPowers:
        """Counts one block, from sums of squares of each row: (rows,) each, finite. `width`: elements of a row."""
        if not width or not len(noise):
            return cls()
        noises, signals = _buckets(noise / width), _buckets(signal / width)
        is_heard = (noises != _ZERO) & (signals != _ZERO)
        noises = np.where(is_heard, np.maximum(noises, signals - _DEEP), noises)
        signals = np.where(is_heard, np.maximum(signals, noises - _DEEP), signals)
        if width < NARROW:
            signals = signals + _NARROW
        keys, counts = np.unique(noises * 100_000 + signals + 50_000, return_counts=True)
        pairs = zip(keys.tolist(), counts.tolist(), strict=True)
        return cls({(key // 100_000, key % 100_000 - 50_000): count for key, count in pairs})

    def __add__(self, other: RowPowers) -> RowPowers:
        if not self.counts or not other.counts:
            return self if self.counts else other
        summed = collections.Counter(self.counts)
        summed.update(other.counts)
        return RowPowers(dict(summed))

    def row_count(self) -> int:
        """The number of rows that can be judged."""
        narrow = sum(count for (_, signal), count in self.counts.items() if _is_narrow(signal))
        return sum(self.counts.values()) if not 0 < narrow < LEAST_ROWS else 0

    def lost(self, scale: Scale) -> int:
        """The number of rows whose error has at least half the power of the answer.

        A row's answer counts with its own power, unless the means of the columns make up most of it; an answer that is little
        more than its offset counts with at most the spread over all rows.
        """
        spread, offset = scale.spread_power, math.sqrt(scale.mean_power)
        floor = max(scale.floor, LEAST_ROW * spread)
        lost = 0
        for (noise, signal), count in self.counts.items():
            if noise == _ZERO:
                continue
            own = spread if _is_narrow(signal) or signal == _ZERO else _power(signal)  # an answer of zeros cannot be lost
            if not scale.is_unit:
                own = max(min(own, spread), max(0.0, math.sqrt(own) - offset) ** 2)
            if _power(noise) >= LOST * max(own, floor):
                lost += count
        return max(lost, self._quiet_and_lost(spread, floor))

    def _quiet_and_lost(self, spread: float, floor: float) -> int:
        """Narrow rows of a quiet group whose errors together have at least half the power of their answers."""
        rows = [
            (_power(signal - _NARROW), 0.0 if noise == _ZERO else _power(noise), count)
            for (noise, signal), count in self.counts.items()
            if _is_narrow(signal) and signal != _ZERO + _NARROW
        ]
        lost = 0
        for depth in _DEPTHS:
            quiet = [row for row in rows if row[0] <= depth * spread]
            count = sum(row[2] for row in quiet)
            above = sum(row[2] for row in rows if row[0] <= 10 * depth * spread)
            is_group = count > max(LEAST_ROWS, _LEAST_SHARE * self.row_count()) and count >= _GROUPED * above
            answers, errors = (math.fsum(row[place] * row[2] for row in quiet) for place in (0, 1))
            if is_group and errors >= LOST * max(answers, floor * count):
                lost = max(lost, count)
        return lost

    def to_json(self) -> list[list[int]]:
        """A JSON value that `from_json` turns into equal counts."""
        return [[noise, signal, count] for (noise, signal), count in sorted(self.counts.items())]

    @classmethod
    def from_json(cls, encoded: Sequence[Sequence[Any]]) -> RowPowers:
        """The inverse of `to_json`."""
        return cls({(noise, signal): count for noise, signal, count in encoded})


def _is_narrow(signal: int) -> bool:
    return signal >= _NARROW // 2


def _buckets(powers: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Two for every factor of two."""
    fractions, exponents = np.frexp(powers)
    buckets = 2 * exponents.astype(np.int64) + (fractions >= _LOG_HALF)
    return np.where(powers > 0, np.clip(buckets, -_CLAMP, _CLAMP), _ZERO)


def _power(bucket: int) -> float:
    """The middle of a bucket."""
    return float(2.0 ** ((bucket - 1.5) / 2))
