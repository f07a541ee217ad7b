"""Batches of a reference and its candidates -> statistics, several batches at a time.

A NumPy call costs the same for ten rows as for a thousand, and the statistics do not depend on batch boundaries. So batches are
collected until they fill a block.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading.call_groups import Calls, aligned, is_uneven
from liteferry.parity.output_stats import BLOCK_ELEMENTS, OutputStats, check_comparable
from liteferry.parity.scatter import ScatterSample
from liteferry.parity.slicing import Columns, Slices, group_rows

Arrays = Mapping[str, npt.NDArray[np.generic]]
_BLOCK_ROWS = 8192


class StatsAccumulator:
    """Compares one candidate with the reference, output by output. Memory: one block, or one batch if that is larger.

    An output that one side lacks is ignored here; the judge counts missing outputs.
    """

    def __init__(self, slices: Sequence[Columns] = (), *, calls: Calls | None = None) -> None:
        """`slices`: lists of columns whose values cut the rows into slices. `calls`: how the model takes rows; an output with one
        answer for a call of many rows is compared call by call, and is in no slice.
        """
        self._calls = calls or Calls()
        self._rows_of_calls: dict[str, int] = {}
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
        rows: npt.NDArray[np.int64],
        columns: Arrays | None = None,
    ) -> None:
        """Adds one batch: arrays (examples, ...) by output name. `ids`, `rows`: the name of each example, and its number in the
        whole sample set, ascending. `columns`: values of the columns that cut slices; others are ignored.

        Raises:
          ModelError: PARITY_OUT_OF_TOLERANCE when shapes or kinds of dtype differ; the batch then counts nowhere.
        """
        both = {name: (wanted, observed[name]) for name, wanted in expected.items() if name in observed}
        of_calls = {
            name: both.pop(name) for name in [*both] if name in self._calls.without_rows() or any(map(is_uneven, both[name]))
        }
        compared = {name: self._of_calls(name, *sides, ids=ids, rows=rows) for name, sides in of_calls.items()}
        for name, (wanted, seen) in both.items():
            _check(name, wanted, seen, ids)
        for name, stats in compared.items():
            self._stats[name] = self._stats[name].merge(stats) if name in self._stats else stats
            self._rows_of_calls[name] = self._rows_of_calls.get(name, 0) + len(ids)
        layout = [(name, side.shape[1:], side.dtype) for name, sides in both.items() for side in sides]
        if layout != self._layout or (self._waiting and self._waiting[-1].rows[-1] >= rows[0]):
            self._compare_waiting()
        self._layout = layout
        self._waiting.append(_Batch(both, tuple(ids), rows, columns if columns and self._slices else {}))
        self._rows += len(ids)
        self._elements += max((wanted.size for wanted, _ in both.values()), default=0)
        if self._rows >= _BLOCK_ROWS or self._elements >= BLOCK_ELEMENTS:
            self._compare_waiting()

    def finish(self) -> dict[str, OutputStats]:
        """Statistics by output, over everything that was added."""
        self._compare_waiting()
        # Rows count as compared if their call's answer was compared.
        rows = self._rows_of_calls
        return {
            name: dataclasses.replace(stats, example_count=rows[name]) if name in rows else stats
            for name, stats in self._stats.items()
        }

    def _of_calls(
        self,
        name: str,
        expected: npt.NDArray[Any],
        observed: npt.NDArray[Any],
        *,
        ids: Sequence[str],
        rows: npt.NDArray[np.int64],
    ) -> OutputStats:
        """Statistics of one batch of an output that has one answer for a call: (calls, ...) on both sides, or arrays of unequal
        shapes.
        """
        expected, observed = aligned(expected, observed)
        if len(expected) != len(observed):
            counts = f"{len(expected)} answers of the reference, {len(observed)} of the candidate"
            message = f"output {name!r}: {counts}, for {len(ids)} rows"
            raise ModelError(ReasonCode.PARITY_OUT_OF_TOLERANCE, Stage.EVALUATE, message)
        step = self._calls.batch if self._calls.batch is not None else -(-len(ids) // len(expected))
        starts = np.minimum(np.arange(len(expected)) * step, len(ids) - 1)
        names, numbers = [ids[start] for start in starts], rows[starts]
        pieces = (
            [slice(None)] if not any(map(is_uneven, (expected, observed))) else [slice(at, at + 1) for at in range(len(expected))]
        )
        stats = OutputStats.empty()
        for piece in pieces:
            left, right = _as_calls(expected[piece]), _as_calls(observed[piece])
            _check(name, left, right, names[piece], of_call=names[piece][0])
            stats = stats.merge(OutputStats.compare(reference=left, candidate=right, ids=names[piece], rows=numbers[piece]))
        return stats

    def finish_slices(self) -> dict[Columns, Slices]:
        """Statistics of slices by their columns, over everything that was added."""
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


def _check(name: str, expected: Any, observed: Any, ids: Sequence[str], *, of_call: str | None = None) -> None:
    try:
        check_comparable(expected, observed, ids)
    except ValueError as error:
        where = "" if of_call is None else f", call that begins with row {of_call}"
        raise ModelError(ReasonCode.PARITY_OUT_OF_TOLERANCE, Stage.EVALUATE, f"output {name!r}{where}: {error}") from error


def _as_calls(answers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(calls, ...) with a last axis of length 1 for vectors: the vector of a call holds values, not classes."""
    value = np.stack(list(answers)) if is_uneven(answers) else answers
    return value if value.ndim > 2 else value[..., np.newaxis]


def _sliced(
    both: Mapping[str, tuple[npt.NDArray[np.generic], ...]], values: Sequence[Any], ids: Sequence[str], *, so_far: Slices
) -> Slices:
    """The statistics of one block's slices, without slices that the merge with `so_far` would drop."""
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
            found[key][output] = dataclasses.replace(stats, worst=(), scatter=ScatterSample())  # slices have neither
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
