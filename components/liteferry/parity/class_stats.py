"""Statistics for outputs that are read as classes or probabilities: agreement of the largest entries, flips, KL divergence.

The last axis counts as classes; a *position* is one row of entries along it. All statistics merge to the same bits in any order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from liteferry.parity import exact_sum
from liteferry.parity.class_counts import ClassCounts
from liteferry.parity.exact_sum import ExactSum, share

TOP_K = 5
"""k of `topk_agreement`, for outputs with more classes than that: with five classes or fewer it would always agree."""
DISTRIBUTION_TOLERANCE = 1e-3
"""How far from 1 a reference's probabilities may sum up; float16 needs that much."""
FLIP_PAIRS_KEPT = 10_000
FLIPS_SHOWN = 10
TIE = 2.0**-20
"""Entries closer than this share of a position's largest one are tied: float32 cannot tell them apart after a few layers."""
NEAR = 1 / 16
"""Share of a position's range (or of its largest entry, where the candidate answers one same number for all classes) within which
the reference itself hardly prefers one class to another.
"""
MOST_NEAR = 0.25
"""At most this difference: for logits, odds of four to three, no matter how far below the largest entry the others are."""
_ZERO = ExactSum()
_NO_COUNTS = ClassCounts()
_MASK = (1 << 64) - 1


@dataclasses.dataclass(frozen=True)
class Flips:
    """How often the largest entry moved from one class to another: exact counts of at most 10,000 pairs.

    Where more pairs occur, those with the smallest hashes are kept. So a merge never drops a pair that the final result keeps,
    whatever the order.
    """

    counts: Mapping[tuple[int, int], int] = dataclasses.field(default_factory=dict)
    is_complete: bool = True

    @classmethod
    def of(cls, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Flips:
        """From the class of each flipped position on both sides: two integer arrays of shape (flips,)."""
        if not len(before):
            return _NO_FLIPS
        pairs, counts = np.unique(np.stack([before, after], axis=1), axis=0, return_counts=True)
        return _bounded(dict(zip(map(tuple, pairs.tolist()), counts.tolist(), strict=True)), is_complete=True)

    def __add__(self, other: Flips) -> Flips:
        if not other.counts or not self.counts:
            return self if not other.counts else other
        counts = dict(self.counts)
        for pair, count in other.counts.items():
            counts[pair] = counts.get(pair, 0) + count
        return _bounded(counts, is_complete=self.is_complete and other.is_complete)

    def biggest(self) -> list[dict[str, int]]:
        """At most ten `{from, to, count}`, the most frequent first."""
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return [{"from": pair[0], "to": pair[1], "count": count} for pair, count in ordered[:FLIPS_SHOWN]]


_NO_FLIPS = Flips()


def _bounded(counts: dict[tuple[int, int], int], *, is_complete: bool) -> Flips:
    if len(counts) <= FLIP_PAIRS_KEPT:
        return Flips(counts, is_complete)
    kept = sorted(counts, key=lambda pair: (_hash(pair), pair))[:FLIP_PAIRS_KEPT]
    return Flips({pair: counts[pair] for pair in kept}, False)


def _hash(pair: tuple[int, int]) -> int:
    """64 mixed bits (splitmix64): the same on every machine, unlike Python's own hash of other things."""
    mixed = (pair[0] * 0x9E3779B97F4A7C15 + pair[1] + 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassStats:
    """Mergeable statistics over positions. `kl_*` are kept as long as every position of the reference is a distribution."""

    positions: int = 0
    agreeing: int = 0  # positions whose largest entry is the same on both sides, or one of those that tie for it
    topk_slots: int = 0  # k for each position with more than k classes
    topk_shared: int = 0  # of those, classes that are among the k largest on both sides
    flip_count: int = 0  # positions without NaN whose largest entry differs
    flips: Flips = _NO_FLIPS
    distributions: int = 0  # equals `positions`, or is 0
    kl_sum: ExactSum = _ZERO
    kl_max: float = 0.0
    kl_infinite: int = 0
    recall: ClassCounts = _NO_COUNTS

    @classmethod
    def of_values(cls, values: npt.NDArray[Any], is_same: npt.NDArray[np.bool_]) -> ClassStats:
        """Statistics of an integer output, whose values are classes and which has no largest entries: only `recall`."""
        return cls(recall=ClassCounts.of(values, is_same))

    @classmethod
    def of(
        cls, left: npt.NDArray[np.float64], right: npt.NDArray[np.float64], broken: npt.NDArray[np.bool_] | None, *, classes: int
    ) -> ClassStats:
        """Compares groups of `classes` neighbours of (rows, elements) matrices.

        `broken`: what is NaN or infinite on one side only or in different ways, of the same shape; None where all is finite.
        A group with a broken element disagrees, and so does one with NaN unless all of it is the same on both sides.
        """
        left, right = left.reshape(-1, classes), right.reshape(-1, classes)
        before, after = left.argmax(axis=1), right.argmax(axis=1)
        agreeing = before == after
        undecided = _settle_ties(left, right, before, after, agreeing)
        flipped = ~agreeing
        is_odd: npt.NDArray[np.bool_] | None = None
        if broken is not None:
            odd = np.asarray(broken.reshape(-1, classes).any(axis=1) | np.isnan(left).any(axis=1))
            agreeing[odd] = exact_sum.same(left[odd], right[odd]).all(axis=1)
            flipped, undecided = flipped & ~odd, undecided & ~odd
            is_odd = odd
        slots, shared = _count_top(left, right, is_odd, agreeing) if classes > TOP_K else (0, 0)
        stats = cls(
            positions=len(left),
            agreeing=int(np.count_nonzero(agreeing)),
            topk_slots=slots,
            topk_shared=shared,
            flip_count=int(np.count_nonzero(flipped)),
            flips=Flips.of(before[flipped], after[flipped]),
            recall=ClassCounts.of(before, (agreeing & ~undecided) | _hardly_preferred(left, before, after, flipped | undecided)),
        )
        return dataclasses.replace(stats, **_divergence(left, right)) if _are_distributions(left) else stats

    def __add__(self, other: ClassStats) -> ClassStats:
        merged = ClassStats(**{name: getattr(self, name) + getattr(other, name) for name in _ADDED}, kl_max=0.0)
        if merged.distributions != merged.positions:
            return dataclasses.replace(merged, distributions=0, kl_sum=_ZERO, kl_infinite=0)
        return dataclasses.replace(merged, kl_max=max(self.kl_max, other.kl_max))

    @property
    def has_distributions(self) -> bool:
        return self.distributions > 0

    def report(self) -> dict[str, Any]:
        """The finished metrics, null where they are not defined."""
        is_known = self.has_distributions and not self.kl_infinite
        return {
            "argmax_agreement": share(self.agreeing, self.positions),
            "topk": TOP_K if self.topk_slots else None,
            "topk_agreement": share(self.topk_shared, self.topk_slots),
            "flip_count": self.flip_count if self.positions else None,
            "flips": self.flips.biggest(),
            "flip_pairs": (len(self.flips.counts) if self.flips.is_complete else None) if self.positions else None,
            "kl_mean": self.kl_sum.mean(self.distributions) if is_known else None,
            "kl_max": self.kl_max if is_known else None,
            "kl_infinite": self.kl_infinite if self.has_distributions else None,
            **self.recall.report(),
        }

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` turns into equal statistics."""
        return {
            **{name: getattr(self, name) for name in _COUNTS},
            "flips": [[*pair, count] for pair, count in sorted(self.flips.counts.items())],
            "flips_are_complete": self.flips.is_complete,
            "kl_sum": self.kl_sum.to_json(),
            "kl_max": self.kl_max.hex(),
            "recall": self.recall.to_json(),
        }

    @classmethod
    def from_json(cls, encoded: Mapping[str, Any]) -> ClassStats:
        """The inverse of `to_json`."""
        pairs = {(before, after): count for before, after, count in encoded["flips"]}
        return cls(
            **{name: encoded[name] for name in _COUNTS},
            flips=Flips(pairs, encoded["flips_are_complete"]),
            kl_sum=ExactSum.from_json(encoded["kl_sum"]),
            kl_max=float.fromhex(encoded["kl_max"]),
            recall=ClassCounts.from_json(encoded["recall"]),
        )


_COUNTS = ("positions", "agreeing", "topk_slots", "topk_shared", "flip_count", "distributions", "kl_infinite")
_ADDED = (*_COUNTS, "flips", "kl_sum", "recall")


def _settle_ties(
    left: npt.NDArray[np.float64],
    right: npt.NDArray[np.float64],
    before: npt.NDArray[np.intp],
    after: npt.NDArray[np.intp],
    agreeing: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Marks positions as agreeing where the largest entry of either side is tied with the other side's choice. Marks them as not
    agreeing where all entries of the candidate are equal and the reference's are not: such a candidate would agree with every
    class. Returns the positions that agree by the candidate's tie alone: its first largest entry is of another class.
    """
    undecided = np.zeros_like(agreeing)
    flat = np.flatnonzero(right[:, 0] == right[:, -1])  # usually few: only these are compared whole
    flat = flat[right[flat].min(axis=1) == right[flat].max(axis=1)] if len(flat) else flat
    if len(flat):
        lowest, highest = left[flat].min(axis=1), left[flat, before[flat]]
        agreeing[flat] = highest - lowest <= NEAR * np.maximum(np.abs(highest), np.abs(lowest))
    odd = np.flatnonzero(~agreeing)
    if not len(odd):
        return undecided
    is_flat = np.isin(odd, flat, assume_unique=True)
    with np.errstate(invalid="ignore"):
        for side, own, others in ((left, before, after), (right, after, before)):
            best, there = side[odd, own[odd]], side[odd, others[odd]]
            tied = (best - there <= TIE * np.abs(best)) & np.isfinite(best) & ~is_flat
            undecided[odd[tied]] = (side is right) & ~agreeing[odd[tied]]
            agreeing[odd[tied]] = True
    return undecided


def _hardly_preferred(
    left: npt.NDArray[np.float64], before: npt.NDArray[np.intp], after: npt.NDArray[np.intp], flipped: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Marks flips to a class that the reference rated nearly as high: they do not show that a class has died."""
    marked = np.zeros_like(flipped)
    odd = np.flatnonzero(flipped)
    if len(odd):
        best, chosen = left[odd, before[odd]], left[odd, after[odd]]
        with np.errstate(invalid="ignore"):
            marked[odd] = best - chosen <= np.minimum(NEAR * (best - left[odd].min(axis=1)), MOST_NEAR)
    marked[odd[after[odd] == before[odd]]] = False  # all entries of the candidate are equal: it chose no class
    return marked


def _count_top(
    left: npt.NDArray[np.float64],
    right: npt.NDArray[np.float64],
    is_odd: npt.NDArray[np.bool_] | None,
    agreeing: npt.NDArray[np.bool_],
) -> tuple[int, int]:
    """k for each position, and how many classes are among the k largest on both sides; positions with NaN share all classes or
    none.
    """
    odd_shared = 0
    slots = TOP_K * len(left)
    if is_odd is not None and is_odd.any():
        odd_shared = TOP_K * int(np.count_nonzero(agreeing & is_odd))
        left, right = left[~is_odd], right[~is_odd]
    return slots, odd_shared + int(np.count_nonzero(_top(left) & _top(right)))


def _top(entries: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Marks the k largest entries of each row; among equal ones the first."""
    place = entries.shape[1] - TOP_K
    limit = np.partition(entries, place, axis=1)[:, place : place + 1]
    chosen = entries >= limit
    if np.count_nonzero(chosen) > TOP_K * len(entries):  # more than k of some row: ties at the limit
        above, tied = entries > limit, entries == limit
        missing = TOP_K - np.count_nonzero(above, axis=1)
        chosen = above | (tied & (np.cumsum(tied, axis=1) <= missing[:, None]))
    return chosen


def _are_distributions(left: npt.NDArray[np.float64]) -> bool:
    """Whether no row has a negative entry and every row sums up to 1, within the tolerance."""
    if not len(left) or not _sums_to_one(left[:1]).all():  # the first row rules most outputs out
        return False
    return bool((left.min(axis=1) >= 0).all() and _sums_to_one(left).all())


def _sums_to_one(left: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    with np.errstate(over="ignore", invalid="ignore"):
        sums: npt.NDArray[np.bool_] = np.abs(exact_sum.row_sums(left.copy()) - 1) <= DISTRIBUTION_TOLERANCE  # NaN is not
    return sums


def _divergence(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Kullback-Leibler divergence of each row, in nats: the sum of r log(r/c) - r + c, as `scipy.special.kl_div` has it.

    For two distributions that is the usual sum of r log(r/c). Where the reference has a chance and the candidate none, it is
    infinite, and so it is where the candidate has a negative one.
    """
    with np.errstate(all="ignore"):
        change = (right - left) / left
        # r (d - log(1 + d)) with d = (c - r) / r: nothing cancels where both are nearly equal.
        terms = np.where(left > 0, left * (change - np.log1p(change)), right)
        terms[(right < 0) | np.isnan(terms)] = np.inf
        rows = exact_sum.row_sums(terms)
    is_finite = np.isfinite(rows)
    return {
        "distributions": len(left),
        "kl_sum": ExactSum.of(rows[is_finite]),
        "kl_max": float(rows[is_finite].max(initial=0.0)),
        "kl_infinite": len(rows) - int(np.count_nonzero(is_finite)),
    }
