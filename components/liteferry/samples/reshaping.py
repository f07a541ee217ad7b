"""Suggests a line of NumPy that reshapes rows to an input's shape, for the most frequent mismatches."""

from __future__ import annotations

import math
from collections.abc import Sequence


def reshaping(rows: Sequence[int | None], wanted: Sequence[int | None]) -> str | None:
    """The expression to store instead of rows `x` of shape (batch, *rows) for an input (batch, *wanted); None if none is
    obvious.
    """
    if _fit([*rows, 1], wanted):
        return "store x[..., None], which has the last axis"
    if len(rows) == len(wanted) + 1 and rows[-1] == 1 and _fit(rows[:-1], wanted):
        return "store x[..., 0], without the last axis"
    if len(rows) == len(wanted) == 3 and _fit([rows[1], rows[2], rows[0]], wanted):
        return "the rows have their channels first and the input takes them last: store np.transpose(x, (0, 2, 3, 1))"
    if len(rows) == len(wanted) == 3 and _fit([rows[2], rows[0], rows[1]], wanted):
        return "the rows have their channels last and the input takes them first: store np.transpose(x, (0, 3, 1, 2))"
    if wanted and len(rows) == len(wanted) + 1 and _fit(rows[1:], wanted):
        return "each row holds a batch of rows: store them one by one, as dataset.unbatch() does, or x.reshape(-1, *x.shape[2:])"
    sizes, target = [size for size in rows if size is not None], [size for size in wanted if size is not None]
    is_known = len(sizes) == len(rows) and len(target) == len(wanted)
    if is_known and rows and math.prod(sizes) == math.prod(target):
        return f"as many values a row: store x.reshape({', '.join(map(str, [-1, *target]))}) if they are in that order"
    return None


def _fit(rows: Sequence[int | None], wanted: Sequence[int | None]) -> bool:
    pairs = zip(rows, wanted, strict=False)
    return len(rows) == len(wanted) and all(have is None or want is None or have == want for have, want in pairs)
