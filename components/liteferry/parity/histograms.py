"""Quantiles and a histogram of errors from counts in fixed logarithmic buckets: a DDSketch-like sketch that merges to the same
bits in any order.

KLL and t-digest are smaller, but their answers depend on the order of merges or on a random generator. Counts in fixed buckets
are integers, which add up the same in any order. About 128 buckets for every factor of two that occurs are enough.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from liteferry.parity.exact_sum import finite_or_none

# A bucket is the exponent and the top 7 mantissa bits of a float64, so its edges lie less than 1 % apart.
_BUCKETS_PER_BINADE = 1 << 7
_BUCKET_SHIFT = 52 - 7
_INFINITE_BUCKET = 0x7FF * _BUCKETS_PER_BINADE
_BINCOUNT_BUCKETS = 32 * _BUCKETS_PER_BINADE
SHOWN_BINADES = 24


@dataclasses.dataclass(frozen=True)
class DistanceHistogram:
    """Counts of distances (float64, not negative, not NaN; infinite ones count) in logarithmic buckets, less than 1 % wide.

    Attributes:
      counts: bucket -> count. Bucket 0 is zero (and what lies below 2**-1029).
    """

    counts: Mapping[int, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, distances: npt.NDArray[np.float64]) -> DistanceHistogram:
        """Counts `distances`: any shape, C-contiguous."""
        buckets = distances.reshape(-1).view(np.int64) >> _BUCKET_SHIFT
        largest = int(buckets.max(initial=0))
        found: dict[int, int] = {}
        if largest >= _INFINITE_BUCKET:
            is_finite = buckets < _INFINITE_BUCKET
            found[_INFINITE_BUCKET] = buckets.size - int(np.count_nonzero(is_finite))
            buckets = buckets[is_finite]
            largest = int(buckets.max(initial=0))
        # np.bincount's time depends on the range. More than 32 binades below the largest distance there are usually only zeros.
        base = max(0, largest - _BINCOUNT_BUCKETS)
        counts = np.bincount(np.maximum(buckets - base, 0), minlength=1)
        if counts[0]:
            found |= _counted(buckets[buckets <= base]) if base else {0: int(counts[0])}
        high = np.flatnonzero(counts[1:]) + 1
        found |= dict(zip((high + base).tolist(), counts[high].tolist(), strict=True))
        return cls(found)

    def __add__(self, other: DistanceHistogram) -> DistanceHistogram:
        counts = dict(self.counts)
        for bucket, count in other.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
        return DistanceHistogram(counts)

    def quantile(self, per_mille: int) -> float | None:
        """Upper edge of the bucket that holds the quantile: never too low, less than 1 % too high. None without counts."""
        needed = -(-sum(self.counts.values()) * per_mille // 1000)  # in integers: 0.99 * n would round
        for bucket in sorted(self.counts):
            needed -= self.counts[bucket]
            if needed <= 0:
                return _lower_edge(min(bucket + 1, _INFINITE_BUCKET)) if bucket else 0.0
        return None

    def by_binade(self) -> list[dict[str, Any]]:
        """`[{from, to, count}, ...]`, small to large: zeros as 0 to 0, then one entry for each factor of two (to is excluded).

        Below the 24 largest binades that occur, all but the zeros is one entry. None is an edge beyond float64.
        """
        if not self.counts:
            return []
        last = max(self.counts) // _BUCKETS_PER_BINADE
        first = last - SHOWN_BINADES + 1
        binades: dict[int, int] = {}
        for bucket, count in self.counts.items():
            if bucket:
                binade = max(bucket // _BUCKETS_PER_BINADE, first - 1)
                binades[binade] = binades.get(binade, 0) + count
        zeros = [{"from": 0.0, "to": 0.0, "count": self.counts[0]}] if self.counts.get(0) else []
        return zeros + [
            {
                "from": finite_or_none(_lower_edge(binade * _BUCKETS_PER_BINADE)) if binade >= first else 0.0,
                "to": finite_or_none(_lower_edge(min(binade + 1, 0x7FF) * _BUCKETS_PER_BINADE)),
                "count": binades[binade],
            }
            for binade in sorted(binades)
        ]

    def to_json(self) -> list[list[int]]:
        """`[[bucket, count], ...]` in the order of buckets."""
        return sorted([bucket, count] for bucket, count in self.counts.items())

    @classmethod
    def from_json(cls, encoded: Sequence[Sequence[int]]) -> DistanceHistogram:
        """The inverse of `to_json`."""
        return cls(dict(encoded))  # type: ignore[arg-type]


def _counted(buckets: npt.NDArray[np.int64]) -> dict[int, int]:
    values, counts = np.unique(buckets, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _lower_edge(bucket: int) -> float:
    return float(np.int64(bucket << _BUCKET_SHIFT).view(np.float64))
