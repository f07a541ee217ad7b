"""Detects outputs that are constant over all rows, as a collapsed variant's are. Mergeable."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

VARIES = ""
"""The result of merging two different rows. A digest means that all rows are equal, None that there are no rows."""


def of_numbers(
    rows: npt.NDArray[np.int64] | npt.NDArray[np.uint64] | npt.NDArray[np.float64], shape: Sequence[int]
) -> str | None:
    """The digest of the only row of a (rows, elements) matrix of int64, uint64 or float64; VARIES where rows differ, None without
    rows. Zeros of either sign are equal, so are NaNs.

    `shape`: the shape of one row in the output; rows of different shapes differ.
    """
    if not len(rows):
        return None
    if not _same(rows[0], rows[-1]) or not (len(rows) == 1 or _same(rows, rows[:1])):
        return VARIES
    only = rows[0]
    if only.dtype == np.float64:
        only = np.where(np.isnan(only), np.nan, only) + 0.0
    return _digest(shape, only.dtype.kind.encode() + only.tobytes())


def of_text(rows: Sequence[Sequence[object]], shape: Sequence[int]) -> str | None:
    """The same for rows of text."""
    if not rows:
        return None
    if any(row != rows[0] for row in rows):
        return VARIES
    return _digest(shape, b"\0".join(repr(element).encode() for element in rows[0]))


def merge(one: str | None, other: str | None) -> str | None:
    """Merges two shards' constant-row digests; VARIES if they differ."""
    if one is None or other is None:
        return other if one is None else one
    return one if one == other else VARIES


def _same(left: npt.NDArray[np.generic], right: npt.NDArray[np.generic]) -> bool:
    return bool(np.array_equal(np.broadcast_to(right, left.shape), left, equal_nan=left.dtype.kind == "f"))


def _digest(shape: Sequence[int], content: bytes) -> str:
    return hashlib.blake2b(repr(tuple(shape)).encode() + content, digest_size=16).hexdigest()
