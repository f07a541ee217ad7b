"""Batches of a reference and its candidates -> statistics, several batches at a time.

NumPy's calls cost the same for ten rows as for a thousand, and statistics are the same bits however rows are cut: so batches wait
until there is a block's worth of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.parity import BLOCK_ELEMENTS, OutputStats, check_comparable
from liteferry.scatter import ScatterSample
from liteferry.slicing import Columns, Slices, group_rows

Arrays = Mapping[str, npt.NDArray[np.generic]]
_BLOCK_ROWS = 8192


class Comparison:
    """One candidate against the reference, output by output. Memory: one block, or one batch if that is larger.

    An output that one side lacks is left out here; the judge counts what is missing.
    """

    def __init__(self, slices: Sequence[Columns] = ()) -> None:
        """`slices`: lists of columns whose values cut the rows into slices."""
        self._slices = {columns: Slices() for columns in slices}
        self._waiting: list[_Batch] = []
        self._rows = self._elements = 0
        self._layout: object = None
        self._stats: dict[str, OutputStats] = {}

    def add(
        self,
        expected: Arrays,
        observed: Arrays,
        *,
        ids: Sequence[str],
        first_row: int,
        rows: npt.NDArray[np.int64] | None = None,
        columns: Arrays | None = None,
    ) -> None:
        """Adds one batch: arrays (examples, ...) by output name, one id for each example, and the columns that cut slices.
        `rows`: ascending numbers of the examples in the whole set, where they do not count up from `first_row`.

        Raises:
          ModelError: PARITY_OUT_OF_TOLERANCE when shapes or kinds of dtype differ; the batch then counts nowhere.
        """
        both = {name: (wanted, observed[name]) for name, wanted in expected.items() if name in observed}
        for name, (wanted, seen) in both.items():
            try:
                check_comparable(wanted, seen, ids)
            except ValueError as error:
                raise ModelError(ReasonCode.PARITY_OUT_OF_TOLERANCE, Stage.EVALUATE, f"output {name!r}: {error}") from error
        layout = [(name, side.shape[1:], side.dtype) for name, sides in both.items() for side in sides]
        if layout != self._layout or (self._waiting and self._waiting[-1].rows[-1] >= first_row):
            self._compare_waiting()
        self._layout = layout
        numbers = np.arange(first_row, first_row + len(ids)) if rows is None else rows
        self._waiting.append(_Batch(both, tuple(ids), numbers, columns or {}))
        self._rows += len(ids)
        self._elements += max((wanted.size for wanted, _ in both.values()), default=0)
        if self._rows >= _BLOCK_ROWS or self._elements >= BLOCK_ELEMENTS:
            self._compare_waiting()

    def finish(self) -> dict[str, OutputStats]:
        """Statistics by output, over all that was added."""
        self._compare_waiting()
        return dict(self._stats)

    def finish_slices(self) -> dict[Columns, Slices]:
        """Statistics of slices by their columns, over all that was added."""
        self._compare_waiting()
        return dict(self._slices)

    def _compare_waiting(self) -> None:
        waiting, self._waiting, self._rows, self._elements = self._waiting, [], 0, 0
        if not waiting:
            return
        ids = [name for batch in waiting for name in batch.ids]
        both = {
            output: tuple(np.concatenate([batch.outputs[output][side] for batch in waiting]) for side in (0, 1))
            for output in waiting[0].outputs
        }
        for columns in self._slices:
            values = [np.concatenate([batch.columns[name] for batch in waiting]) for name in columns]
            self._slices[columns] += _sliced(both, values, ids, so_far=self._slices[columns])
        rows = np.concatenate([batch.rows for batch in waiting])
        for output, (reference, candidate) in both.items():
            stats = OutputStats.compare(reference=reference, candidate=candidate, ids=ids, rows=rows)
            self._stats[output] = self._stats[output].merge(stats) if output in self._stats else stats


def _sliced(
    both: Mapping[str, tuple[npt.NDArray[np.generic], ...]], values: Sequence[Any], ids: Sequence[str], *, so_far: Slices
) -> Slices:
    """The slices of one block; none that would be dropped when it is merged into what there is."""
    found: dict[Any, dict[str, OutputStats]] = {}
    is_complete = True
    for key, rows in group_rows(values):
        if so_far.is_beyond(key):
            is_complete = False
            continue
        found[key] = {}
        for output, (reference, candidate) in both.items():
            names = [ids[row] for row in rows.tolist()]
            stats = OutputStats.compare(reference=reference[rows], candidate=candidate[rows], ids=names)
            found[key][output] = dataclasses.replace(stats, worst=(), scatter=ScatterSample())  # a slice shows neither
    return Slices() + Slices(stats=found, row_count=len(ids), is_complete=is_complete)


class _Batch:
    def __init__(
        self,
        outputs: Mapping[str, tuple[npt.NDArray[np.generic], ...]],
        ids: tuple[str, ...],
        rows: npt.NDArray[np.int64],
        columns: Arrays,
    ) -> None:
        self.outputs, self.ids, self.rows, self.columns = outputs, ids, rows, columns
