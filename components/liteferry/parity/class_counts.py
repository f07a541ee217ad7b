"""For each class: how many of the positions that the reference assigns to it the candidate assigns to it, too.

Classes are the values of an integer output, or the places of the largest entries of a floating-point one. Counts are kept for at
most 4,096 classes, those with the smallest hashes, so a merge never drops a class that the final result keeps.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

CLASSES_KEPT = 4096
LEAST_POSITIONS = 6
"""A class with fewer positions is not judged; the report says so, with the count."""
RARE_SHOWN = 10
# In a mask, classes lie a millionth apart somewhere, and the order in which a kernel adds up decides between them: 5e-6 of the
# positions of a net with eight convolutions, more in a deeper one.
_MASK_POSITIONS = 100
_NEAR_TIES = 1e-4
_Z = 2.3263478740408408  # one-sided 99 %: among many classes, one always looks bad by chance
_BINCOUNT_RANGE = 1 << 16
_MASK = (1 << 64) - 1


@dataclasses.dataclass(frozen=True)
class ClassCounts:
    """class -> (positions that the reference assigns to it, those of them that the candidate assigns to it)."""

    counts: Mapping[int, tuple[int, int]] = dataclasses.field(default_factory=dict)
    is_complete: bool = True

    @classmethod
    def of(cls, classes: npt.NDArray[Any], is_kept: npt.NDArray[np.bool_]) -> ClassCounts:
        """Counts one block. Arguments of any shape: the reference's class at each position, and whether the candidate kept it."""
        if not classes.size:
            return _NONE
        flat, kept = classes.reshape(-1), is_kept.reshape(-1)
        if flat.dtype == np.bool_:
            flat = flat.astype(np.int64)
        low, high = int(flat.min()), int(flat.max())
        if high - low < _BINCOUNT_RANGE:
            places = flat if low == 0 and flat.dtype == np.int64 else (flat - flat.dtype.type(low)).astype(np.int64)
            seen = np.bincount(places)
            good = seen - np.bincount(places[np.flatnonzero(~kept)], minlength=len(seen))  # usually few positions are lost
            found = np.flatnonzero(seen)
            names = [low + place for place in found.tolist()]
            pairs = zip(names, zip(seen[found].tolist(), good[found].tolist(), strict=True), strict=True)
            return _bounded(dict(pairs), is_complete=True)
        values, inverse, seen = np.unique(flat, return_inverse=True, return_counts=True)
        good = np.bincount(inverse.reshape(-1)[kept], minlength=len(values))
        pairs = zip(values.tolist(), zip(seen.tolist(), good.tolist(), strict=True), strict=True)
        return _bounded(dict(pairs), is_complete=True)

    def __add__(self, other: ClassCounts) -> ClassCounts:
        if not self.counts or not other.counts:
            return self if self.counts else other
        counts = dict(self.counts)
        for name, (seen, kept) in other.counts.items():
            before = counts.get(name, (0, 0))
            counts[name] = (before[0] + seen, before[1] + kept)
        return _bounded(counts, is_complete=self.is_complete and other.is_complete)

    def report(self) -> dict[str, Any]:
        """`class_recall`, the class that it belongs to, the classes with too few positions, and how many classes, rare ones too,
        lost more than half of their positions; null and [] where there are none.
        """
        judged = [
            (upper_recall(seen, kept), name, seen, kept) for name, (seen, kept) in self.counts.items() if seen >= LEAST_POSITIONS
        ]
        worst = min(judged, default=None)
        rare = sorted((seen, name) for name, (seen, _) in self.counts.items() if seen < LEAST_POSITIONS)
        return {
            "class_recall": worst[0] if worst else None,
            "worst_class": worst[1] if worst else None,
            "worst_class_positions": worst[2] if worst else None,
            "worst_class_kept": worst[3] if worst else None,
            "classes_judged": len(judged),
            "classes_too_rare": len(rare),
            "classes_lost": sum(2 * kept < seen for seen, kept in self.counts.values()),
            "rare_classes": [f"class {name}: {seen}" for seen, name in rare[:RARE_SHOWN]],
        }

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` turns into equal counts."""
        counts: Sequence[Any] = [[name, *pair] for name, pair in sorted(self.counts.items())]
        return {"counts": counts, "is_complete": self.is_complete}

    @classmethod
    def from_json(cls, encoded: Mapping[str, Any]) -> ClassCounts:
        """The inverse of `to_json`."""
        return cls({name: (seen, kept) for name, seen, kept in encoded["counts"]}, encoded["is_complete"])


_NONE = ClassCounts()


def near_ties(element_count: int, example_count: int, *, classes_lost: int, classes: int) -> int:
    """How many whole numbers of an output may differ between two ways to compute the same floats before they are compared or
    rounded. None where an example has few, since an id, a class or a count is right or wrong; and none where a class lost more
    than half of its positions, or there are more values than are counted: that is no tie.
    """
    is_mask = element_count >= _MASK_POSITIONS * max(example_count, 1) and not classes_lost and classes < CLASSES_KEPT
    return math.floor(_NEAR_TIES * element_count) if is_mask else 0


def differ_in_near_ties(reference: npt.NDArray[Any], candidate: npt.NDArray[Any]) -> bool:
    """Whether arrays of whole numbers or bools, of one shape, are equal but for the near ties of a mask."""
    is_same = reference == candidate
    differing = int(np.count_nonzero(~is_same))
    if not differing or not reference.ndim:
        return not differing
    counts = ClassCounts.of(reference, is_same)
    lost = counts.report()["classes_lost"]
    return differing <= near_ties(reference.size, len(reference), classes_lost=lost, classes=len(counts.counts))


def upper_recall(seen: int, kept: int) -> float:
    """The upper end of Wilson's one-sided 99 % interval of kept / seen: the highest recall that is plausible for so few
    positions.
    """
    if kept == seen:
        return 1.0
    square = _Z * _Z
    middle, share = kept / seen + square / (2 * seen), kept / seen
    width = _Z * math.sqrt(share * (1 - share) / seen + square / (4 * seen * seen))
    return min(1.0, (middle + width) / (1 + square / seen))


def _bounded(counts: dict[int, tuple[int, int]], *, is_complete: bool) -> ClassCounts:
    if len(counts) <= CLASSES_KEPT:
        return ClassCounts(counts, is_complete)
    kept = sorted(counts, key=lambda name: (_hash(name), name))[:CLASSES_KEPT]
    return ClassCounts({name: counts[name] for name in kept}, False)


def _hash(name: int) -> int:
    """64 mixed bits (splitmix64): the same on every machine."""
    mixed = (name + 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)
