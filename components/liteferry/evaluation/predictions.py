"""The data of task metrics: labels and other columns of the rows, and the answers of every artifact.

The process that runs the artifacts writes them beside the reference's answers, the one that computes metrics reads them, and they
are removed together. Outputs that have one answer for a call of many rows have none for a row and are left out.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from liteferry.evaluation.tfma.results import REFERENCE
from liteferry.exporting import reference
from liteferry.loading.call_groups import Calls
from liteferry.plan import bound_rows
from liteferry.plan.model_plan import ModelPlan
from liteferry.sandbox import arrays_file

if TYPE_CHECKING:
    from liteferry.samples.sample_set import Batch

_ROWS = "rows"  # stored beside the artifacts' names; no artifact has this name
_FILE_ROWS = 4096
_FILE_BYTES = 32 << 20


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Consecutive rows. `columns`: column -> (rows, ...); `outputs`: model -> output -> (rows, ...)."""

    columns: dict[str, np.ndarray]
    outputs: dict[str, dict[str, np.ndarray]]

    def __len__(self) -> int:
        arrays = [*self.columns.values(), *(array for outputs in self.outputs.values() for array in outputs.values())]
        return min((len(array) for array in arrays), default=0)


def are_kept(plan: ModelPlan) -> bool:
    """Whether any task metric will be computed from the predictions."""
    return plan.metrics is not None and plan.metrics.problem is None


class Keeper:
    """Writes the columns and answers of one shard as its batches arrive, many batches to a file.

    An artifact that fails part way has incomplete answers, which are not used.
    """

    def __init__(self, plan: ModelPlan, *, shard_index: int, calls: Calls | None = None) -> None:
        """`calls`: how the model takes rows."""
        self._left_out = () if calls is None else calls.without_rows()
        self._folder = bound_rows.shard_directory(plan, shard_index)
        self._is_needed = are_kept(plan)
        self._waiting: dict[str, list[Mapping[str, np.ndarray]]] = {}
        self._shapes: list[tuple[int, ...]] = []
        self._rows = self._bytes = self._batches = self._number = 0

    def start(self, batch: Batch, expected: Mapping[str, np.ndarray]) -> None:
        """Begins a batch, to which the reference answered `expected`. Where files end depends on the rows alone."""
        of_rows = [array for name, array in expected.items() if name not in self._left_out]
        shapes = [array.shape[1:] for array in (*batch.inputs.values(), *batch.extras.values(), *of_rows)]
        if self._rows >= _FILE_ROWS or self._bytes >= _FILE_BYTES or shapes != self._shapes:
            self.flush()
        self._shapes = shapes
        self._rows += len(batch.ids)
        self._bytes += sum(array.nbytes for array in (*batch.extras.values(), *expected.values()))
        self._batches += 1
        self.keep(_ROWS, batch.extras)

    def keep(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds an artifact's answer to the current batch."""
        if self._is_needed:
            kept = {key: array for key, array in arrays.items() if name == _ROWS or key not in self._left_out}
            self._waiting.setdefault(name, []).append(kept)

    def flush(self) -> None:
        """Writes what is buffered. Call it once more after the last batch."""
        if not self._batches:
            return
        for name, pieces in self._waiting.items():
            if len(pieces) == self._batches:
                joined = {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
                _write(os.path.join(self._folder, name, f"{self._number:08d}.npz"), joined, self._batches)
        self._waiting.clear()
        self._number += 1
        self._rows = self._bytes = self._batches = 0


def read(plan: ModelPlan, models: Sequence[str]) -> Iterator[Predictions]:
    """All rows in order, shard after shard, file by file. The reference's answers are always there."""
    assert plan.samples.sample_set is not None
    for shard_index in range(len(plan.samples.sample_set.shards)):
        folder, first_batch = bound_rows.shard_directory(plan, shard_index), 0
        for number in itertools.count():
            path = os.path.join(folder, _ROWS, f"{number:08d}.npz")
            if not os.path.exists(path):
                break
            columns, batches = _read(path)
            numbers = range(first_batch, first_batch + batches)
            expected = [reference.read(plan, batch, shard_index=shard_index) for batch in numbers]
            names = reference.output_names(plan, shard_index=shard_index)
            outputs = {REFERENCE: {name: np.concatenate([one[name] for one in expected]) for name in names}}
            for model in models:
                outputs[model], _ = _read(os.path.join(folder, model, f"{number:08d}.npz"))
            yield Predictions(columns=columns, outputs=outputs)
            first_batch += batches


def _write(path: str, arrays: Mapping[str, np.ndarray], batches: int) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    arrays_file.write(path, {**{f"array {name}": value for name, value in arrays.items()}, "batches": np.array(batches)})


def _read(path: str) -> tuple[dict[str, np.ndarray], int]:
    arrays = arrays_file.read(path)
    return {name.removeprefix("array "): value for name, value in arrays.items() if name != "batches"}, int(arrays["batches"])
