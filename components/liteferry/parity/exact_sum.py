"""Sums and extremes that are the same in any order. All parity statistics are built from them.

Floating-point addition is not associative, so a sum over shards usually changes in its last bits when the shards change. Two
tools prevent that:

- `ExactSum` adds float64 values without any rounding, so that adding and merging are associative and commutative.
- `row_sums` reduces each row of a matrix in an order that depends on the row length alone, not on the rows around it, on the
  NumPy version or on the instruction set of the machine. It rounds, but always in the same way.

The functions around them begin or finish such sums with at most one rounding. Results without a finite value are None.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

_MANTISSA_BITS = 53
# A float64 is an integer of at most 53 bits times 2**(e - 53), where frexp gives e >= -1073. Counted in units of 2**-1126, every
# finite float64 is an integer.
_UNIT_EXPONENT = -1073 - _MANTISSA_BITS
_LOW_BITS = 27
# Values of usual size are cut into integers on grids 26 bits apart, which add up in float64 without rounding, a vector at a time.
GRID_BITS = 26
MOST_GRID = 19  # values beyond 2**494 are summed one by one
LEAST_GRID = -21
# np.bincount adds its weights in float64. Half a mantissa has at most 27 bits, so 2**20 of them stay below 2**53: no rounding.
_CHUNK_VALUES = 1 << 20

Extremes = tuple[int, int] | tuple[float, float]


@dataclasses.dataclass(frozen=True)
class ExactSum:
    """The exact sum of finite float64 values; immutable, hashable, equal exactly when the sums are equal.

    Attributes:
      units: the sum as an integer number of 2**-1126. A Python int cannot overflow, so there is nothing to normalise, and its
        size is at most some 300 bytes.
    """

    units: int = 0

    @classmethod
    def of(cls, values: npt.ArrayLike) -> ExactSum:
        """The sum of `values`: any shape, converted to float64. Raises ValueError if one of them is NaN or infinite."""
        flat = np.asarray(values, dtype=np.float64).reshape(-1)
        if not np.isfinite(flat).all():
            count = int(flat.size - np.isfinite(flat).sum())
            raise ValueError(
                f"ExactSum adds finite values only, got {count} of {flat.size} that are NaN or infinite; count them apart"
            )
        return cls(sum(_units_of(flat[start : start + _CHUNK_VALUES]) for start in range(0, flat.size, _CHUNK_VALUES)))

    def add(self, values: npt.ArrayLike) -> ExactSum:
        """This sum and `values`, as a new sum. Raises ValueError if a value is not finite."""
        return self + ExactSum.of(values)

    def merge(self, other: ExactSum) -> ExactSum:
        """This sum and `other`, as a new sum; the order does not matter."""
        return self + other

    def __add__(self, other: ExactSum) -> ExactSum:
        return ExactSum(self.units + other.units)

    def value(self) -> float:
        """The float64 nearest to the exact sum, ties to even; +0.0 for a zero. Raises OverflowError beyond float64."""
        return self.mean(1)

    def mean(self, count: int) -> float:
        """The float64 nearest to the exact sum divided by `count`, rounded once."""
        # True division of Python ints is correctly rounded, for subnormal results too.
        return self.units / (count << -_UNIT_EXPONENT)

    def to_json(self) -> dict[str, Any]:
        """`{"mantissa": "0x...", "exponent": e}`: the sum is mantissa * 2**e, with an odd mantissa (or 0)."""
        trailing_zeros = max((self.units & -self.units).bit_length() - 1, 0)
        exponent = trailing_zeros + _UNIT_EXPONENT if self.units else 0
        # Hexadecimal, since Python refuses decimal text of very long integers and JSON readers may round them.
        return {"mantissa": hex(self.units >> trailing_zeros), "exponent": exponent}

    @classmethod
    def from_json(cls, encoded: Mapping[str, Any]) -> ExactSum:
        """The inverse of `to_json`."""
        mantissa = int(encoded["mantissa"], 16)
        return cls(mantissa << (int(encoded["exponent"]) - _UNIT_EXPONENT) if mantissa else 0)


def grid_sums(
    values: npt.NDArray[np.float64],
) -> tuple[dict[int, npt.NDArray[np.int64]], npt.NDArray[np.float64] | None]:
    """The exact sums over the first axis of at most 2**20 finite values below 2**494.

    Returns:
      grid -> integers in units of 2**(26 grid), those that are not all zero; and what is finer than the finest grid, value by
      value, None where nothing is. A value's part on a grid depends on that value alone, so the sums of two parts add up to
      those of the whole.
    """
    found: dict[int, npt.NDArray[np.int64]] = {}
    largest = float(max(values.max(initial=0.0), -values.min(initial=0.0)))
    if largest == 0:
        return found, None
    ones, rest, numbers = np.ones(len(values)), values.copy(), np.empty_like(values)
    # The first grid on which the largest value is less than half of what the next coarser grid could hold.
    for grid in range(max(LEAST_GRID, math.ceil((math.frexp(largest)[1] + 1) / GRID_BITS) - 1), LEAST_GRID - 1, -1):
        np.rint(np.multiply(rest, 2.0 ** (-GRID_BITS * grid), out=numbers), out=numbers)
        sums = np.asarray(ones @ numbers).astype(np.int64)  # integers of at most 26 bits each: exact in any order
        if sums.any():
            found[grid] = sums
        rest -= np.multiply(numbers, 2.0 ** (GRID_BITS * grid), out=numbers)
        if rest.max() == 0 and rest.min() == 0:  # `any` is slow on floats
            return found, None
    return found, rest


def _units_of(values: npt.NDArray[np.float64]) -> int:
    """The exact sum of at most 2**20 finite values, in units of 2**-1126."""
    if max(values.max(), -values.min()) > 2.0 ** (GRID_BITS * MOST_GRID):
        return _units_of_any(values)
    sums, rest = grid_sums(values)
    units = sum(int(numbers) << (GRID_BITS * grid - _UNIT_EXPONENT) for grid, numbers in sums.items())
    return units if rest is None else units + _units_of_any(rest)


def _units_of_any(values: npt.NDArray[np.float64]) -> int:
    """The same, for values of any size."""
    fractions, exponents = np.frexp(values)
    mantissas = np.ldexp(fractions, _MANTISSA_BITS)
    high = np.floor(np.ldexp(mantissas, -_LOW_BITS))
    low = mantissas - np.ldexp(high, _LOW_BITS)  # exact, in [0, 2**27)
    first = int(exponents.min())
    bins = exponents - first
    high_sums = np.bincount(bins, weights=high)
    low_sums = np.bincount(bins, weights=low)
    units = 0
    for index in np.flatnonzero((high_sums != 0) | (low_sums != 0)).tolist():
        mantissa_sum = (int(high_sums[index]) << _LOW_BITS) + int(low_sums[index])
        units += mantissa_sum << (first + index - _MANTISSA_BITS - _UNIT_EXPONENT)
    return units


def decibels(*, signal: ExactSum, noise: ExactSum) -> float | None:
    """10 log10(signal / noise). None without noise or without signal: a ratio with zero has no decibels."""
    if signal.units <= 0 or noise.units <= 0:
        return None
    return 10 * (math.log10(signal.units) - math.log10(noise.units))  # of ints of any size: a huge ratio cannot overflow


def cosine(*, product: ExactSum, left_square: ExactSum, right_square: ExactSum) -> float | None:
    """The cosine of two vectors from their sums of products, in [-1, 1]. None if one is zero: it has no direction."""
    norms = left_square.units * right_square.units
    if norms == 0:
        return None
    # One rounded ratio of integers, so that equal sides give exactly 1. Sums of rounded row sums may pass 1 by a hair.
    size = min(1.0, math.sqrt(product.units**2 / norms))
    return -size if product.units < 0 else size


def row_sums(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sums each row of a (rows, columns) float64 matrix: (rows,) float64. OVERWRITES `matrix`.

    The second half of the row is added to the first until one column is left. That is plain element-wise addition, which IEEE 754
    defines to the last bit, in an order set by the number of columns; `np.sum` promises neither. The error grows with
    log2(columns), as in pairwise summation.
    """
    rows, columns = matrix.shape
    if columns == 0:
        return np.zeros(rows)
    while columns > 1:
        half = math.ceil(columns / 2)
        matrix[:, : columns - half] += matrix[:, half:columns]
        columns = half
    return matrix[:, 0].copy()


def relative(max_abs: float, max_abs_reference: float | None) -> float | None:
    """The largest error against the largest reference, so that elements near zero do not decide. 0/0 is 0; x/0 is None."""
    if max_abs == 0:
        return 0.0
    return finite_or_none(max_abs / max_abs_reference) if max_abs_reference else None


def share(part: int, whole: int) -> float | None:
    """part / whole; None when whole is 0."""
    return part / whole if whole else None


def finite_or_none(number: float) -> float | None:
    """`number`, or None if it is not finite, which JSON cannot express."""
    return number if math.isfinite(number) else None


def extremes_of(numbers: npt.NDArray[Any], is_included: npt.NDArray[np.bool_]) -> Extremes | None:
    """The smallest and the largest of the included numbers: ints of integers, else floats. None without numbers."""
    included = numbers if is_included.all() else numbers[is_included]
    if included.size == 0:
        return None
    low, high = included.min().item(), included.max().item()
    return (low, high) if isinstance(low, int) else (low + 0.0, high + 0.0)  # else -0.0 or 0.0 would depend on the order


def merge_extremes(one: Extremes | None, other: Extremes | None) -> Extremes | None:
    """The extremes of both together."""
    return (min(one[0], other[0]), max(one[1], other[1])) if one and other else one or other


def as_matrix(array: npt.NDArray[Any], *, is_integer: bool) -> npt.NDArray[Any]:
    """(examples, elements of one), C-contiguous: int64 or uint64 of integers, else float64; a complex element becomes two."""
    flat = np.ascontiguousarray(array).reshape(len(array), math.prod(array.shape[1:]))
    if is_integer:
        return flat.astype(np.uint64 if array.dtype == np.uint64 else np.int64, copy=False)
    return flat.astype(np.complex128).view(np.float64) if array.dtype.kind == "c" else flat.astype(np.float64, copy=False)


def same(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Element by element: equal, where NaN equals NaN."""
    return np.equal(left, right) | (np.isnan(left) & np.isnan(right))


def integer_distances(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """|left - right| of int64 or uint64 arrays as float64, rounded once: no overflow, and never zero where the two differ."""
    if left.dtype != right.dtype:
        objects: npt.NDArray[Any] = np.abs(left.astype(object) - right.astype(object))  # Python ints: rare, slow and right
        return objects.astype(np.float64)
    # In uint64 the larger minus the smaller wraps to the true distance, which always fits.
    distances: npt.NDArray[np.uint64] = np.maximum(left, right).view(np.uint64) - np.minimum(left, right).view(np.uint64)
    return distances.astype(np.float64)
