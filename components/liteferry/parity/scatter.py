"""A bounded sample of (reference, candidate) pairs of one output, for a chart: the same pairs for any order, batches and shards.

Rows are chosen by a hash of their number: those with the smallest hashes are kept, so a merge never drops a row that the final
sample keeps. A few elements are taken from each row, again by its number. No verdict uses this sample.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

ROWS = 64
ELEMENTS_PER_ROW = 3
_DIGITS = 6


@dataclasses.dataclass(frozen=True)
class ScatterSample:
    """At most 64 rows, each `(hash, row, pairs)`, by rising hash. A pair holds the values of both sides at one element, both
    finite.
    """

    rows: tuple[tuple[int, int, tuple[tuple[float, float], ...]], ...] = ()

    @classmethod
    def of(
        cls, reference: npt.NDArray[np.float64], candidate: npt.NDArray[np.float64], *, rows: npt.NDArray[np.int64]
    ) -> ScatterSample:
        """The sample of one block: two (rows, elements) matrices, and the rows' numbers in the whole set."""
        width = reference.shape[1]
        if width == 0 or len(reference) == 0:
            return cls()
        hashes = _hashes(rows.astype(np.uint64))
        kept = np.argsort(hashes, kind="stable")[:ROWS].tolist()
        return cls(
            tuple((int(hashes[row]), int(rows[row]), _pairs(reference[row], candidate[row], int(hashes[row]))) for row in kept)
        )

    def __add__(self, other: ScatterSample) -> ScatterSample:
        if not other.rows or not self.rows:
            return self if not other.rows else other
        return ScatterSample(tuple(sorted((*self.rows, *other.rows))[:ROWS]))

    def report(self) -> dict[str, list[float]]:
        """`{reference: [...], candidate: [...]}` with six digits, in order of rows."""
        pairs = [pair for _, _, of_row in sorted(self.rows, key=lambda row: row[1]) for pair in of_row]
        return {
            side: [float(f"{pair[place]:.{_DIGITS}g}") for pair in pairs] for place, side in enumerate(("reference", "candidate"))
        }

    def to_json(self) -> list[list[Any]]:
        """A JSON value that `from_json` turns into an equal sample; floats in hex."""
        return [[key, row, [[left.hex(), right.hex()] for left, right in pairs]] for key, row, pairs in self.rows]

    @classmethod
    def from_json(cls, encoded: list[list[Any]]) -> ScatterSample:
        """The inverse of `to_json`."""
        return cls(
            tuple(
                (key, row, tuple((float.fromhex(left), float.fromhex(right)) for left, right in pairs))
                for key, row, pairs in encoded
            )
        )


def scatter_of(samples: Mapping[str, ScatterSample]) -> dict[str, dict[str, list[float]]]:
    """The report's entry: output -> pairs; outputs without pairs are left out."""
    found = {name: sample.report() for name, sample in samples.items()}
    return {name: pairs for name, pairs in found.items() if pairs["reference"]}


def _pairs(reference: npt.NDArray[np.float64], candidate: npt.NDArray[np.float64], key: int) -> tuple[tuple[float, float], ...]:
    width = len(reference)
    places = sorted({(key + step * width // ELEMENTS_PER_ROW) % width for step in range(ELEMENTS_PER_ROW)})
    # `+ 0.0` turns -0.0 into 0.0: the order of two zeros with different signs would not be defined.
    pairs = ((float(reference[place]) + 0.0, float(candidate[place]) + 0.0) for place in places)
    return tuple(pair for pair in pairs if math.isfinite(pair[0]) and math.isfinite(pair[1]))


def _hashes(rows: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """63 mixed bits of each row's number (splitmix64): the same on every machine."""
    mixed = rows + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1)
