"""The few rows with the largest errors of a candidate, and the answers of both sides as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_SHOWN = 16  # values of one row; nobody reads more
_LARGEST_SHOWN, _MOST_SEARCHED = 3, 100_000
WORST_EXAMPLES = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorstExample:
    """One example with a large error. `is_broken`: it has a non-finite mismatch or unequal text, which no distance measures.
    `reference`, `candidate`: the answers as text, or their largest entries.
    """

    id: str
    row: int
    max_abs: float
    is_broken: bool
    reference: tuple[str, ...] = ()
    candidate: tuple[str, ...] = ()

    def order(self) -> tuple[bool, float, int, str]:
        """Sorts the worst first; ties go to the lower row of the whole sample set."""
        return (not self.is_broken, -self.max_abs, self.row, self.id)


def format_value(value: object) -> str:
    """A number with six digits; text cut to 40 characters."""
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    if isinstance(value, str):
        return value if len(value) <= 40 else f"{value[:39]}…"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _shown(row: Any) -> tuple[str, ...]:
    """A short answer; of a longer one in numbers, its largest entries with their places, `412: 0.87`."""
    if len(row) <= MOST_SHOWN:
        return tuple(map(format_value, row.tolist() if isinstance(row, np.ndarray) else row))
    if not isinstance(row, np.ndarray) or row.dtype.kind not in "fiu" or len(row) > _MOST_SEARCHED:
        return ()
    order = np.argsort(-row.astype(np.float64), kind="stable")[:_LARGEST_SHOWN].tolist()
    return tuple(f"{place}: {format_value(row[place].item())}" for place in order)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowErrors:
    """How far each row of a block is off, (rows,) each. `rows`: the numbers in the whole sample set. `max_abs`, `is_broken`: see
    `WorstExample`.
    """

    ids: Sequence[str]
    rows: npt.NDArray[np.int64]
    max_abs: npt.NDArray[np.float64]
    is_broken: npt.NDArray[np.bool_]


def worst_of(errors: RowErrors, reference: Any, candidate: Any) -> tuple[WorstExample, ...]:
    """The worst rows of a block, the worst first; rows that agree are left out.

    Args:
      reference, candidate: (rows, elements), arrays or lists: the values to show.
    """
    max_abs, is_broken = errors.max_abs, errors.is_broken
    likely = np.arange(len(max_abs))
    if len(max_abs) > WORST_EXAMPLES and not is_broken.any():  # sorting all rows of a block is slow
        likely = np.flatnonzero(max_abs >= np.partition(max_abs, -WORST_EXAMPLES)[-WORST_EXAMPLES])
    order = likely[np.lexsort((-max_abs[likely], ~is_broken[likely]))[:WORST_EXAMPLES]].tolist()  # stable: ties stay in row order
    return tuple(
        WorstExample(
            id=str(errors.ids[row]),
            row=int(errors.rows[row]),
            max_abs=float(max_abs[row]),
            is_broken=bool(is_broken[row]),
            reference=_shown(reference[row]),
            candidate=_shown(candidate[row]),
        )
        for row in order
        if is_broken[row] or max_abs[row] > 0
    )
