"""The judge's own comparison, which shares nothing with the product: what is wrong with answers, as text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

Table = dict[str, np.ndarray]


def table_of(path: Path) -> Table:
    with np.load(path, allow_pickle=True) as file:
        return {name: file[name] for name in file}


def distance(expected: np.ndarray, got: np.ndarray) -> float | str:
    """The largest difference over the largest expected value, or words where no number tells it."""
    if expected.shape != got.shape:
        return f"shape {expected.shape} became {got.shape}"
    if expected.dtype.kind in "OSU" or got.dtype.kind in "OSU":
        return 0.0 if _bytes(expected) == _bytes(got) else "text differs"
    if expected.dtype.kind in "iub" and got.dtype.kind in "iub":
        return 0.0 if np.array_equal(expected, got) else f"{np.mean(expected != got):.0%} of whole numbers differ"
    one, other = expected.astype(np.float64), got.astype(np.float64)
    if not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return "NaN or infinity in other places"
    finite = np.isfinite(one)
    largest = max(np.abs(one[finite]).max(initial=0.0), 1e-9)
    return float(np.abs(one - other)[finite].max(initial=0.0) / largest)


def faults(expected: Table, got: Table, tolerance: float) -> str | None:
    """None if all is right. Outputs are matched by name; those whose names the exporter chose, by the nearest of one shape."""
    if len(got) != len(expected):
        return f"{len(got)} outputs of {len(expected)}"
    left, bad = dict(got), []
    by_name = all(name in got for name in expected)
    for name, value in expected.items():
        one = name if by_name else _nearest(value, left)
        found = distance(value, left.pop(one))
        if isinstance(found, str) or found > tolerance:
            bad.append(f"{name}: {found if isinstance(found, str) else format(found, '.3g') + ' off'}")
    return "; ".join(bad) or None


def _nearest(expected: np.ndarray, left: Table) -> str:
    def rank(name: str) -> float:
        found = distance(expected, left[name])
        return float("inf") if isinstance(found, str) else found

    return min(left, key=rank)


def _bytes(values: np.ndarray) -> list[bytes]:
    return [value if isinstance(value, bytes) else str(value).encode() for value in values.ravel()]
