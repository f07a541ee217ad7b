"""Judges a file on rows with the model's answers, by the gates of its variant, as the evaluation does on all rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.errors import ModelError
from liteferry.loading.call_groups import is_uneven
from liteferry.parity.gate_limits import resolve_gates
from liteferry.parity.gates import judge
from liteferry.parity.output_stats import OutputStats
from liteferry.tflite import runners
from liteferry.tflite.auto_search import Judged

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """Rows by input name, and the model's answers by output name."""

    inputs: Arrays
    expected: Arrays
    rows: int

    def __len__(self) -> int:
        return self.rows

    def first(self, count: int) -> Answered:
        return self._cut(slice(0, count))

    def every_second(self, start: int) -> Answered:
        return self._cut(slice(start, None, 2))

    def _cut(self, rows: slice) -> Answered:
        def cut(arrays: Arrays) -> dict[str, np.ndarray]:
            return {name: value[rows] if len(value) == self.rows else value for name, value in arrays.items()}

        return Answered(inputs=cut(self.inputs), expected=cut(self.expected), rows=len(range(self.rows)[rows]))


class RowsJudge:
    """Judges files on the same rows. Outputs that are one answer for a call have none for a row, and are left to the
    evaluation.
    """

    def __init__(
        self,
        answered: Sequence[Answered],
        *,
        variant: str,
        gates: Mapping[str, Mapping[str, Any]],
        kinds: Mapping[str, str],
        per_call: Sequence[str],
    ) -> None:
        self._answered = answered
        self._gates = resolve_gates(variant, gates, kinds=kinds)
        self._per_call = tuple(per_call)

    def judge(self, content: bytes) -> Judged:
        """Whether every gate is met, and the first one that is not."""
        try:
            statistics = self._statistics(content)
        except (ModelError, ValueError) as error:
            return Judged(holds=False, why=str(error))
        names = [name for name in self._answered[0].expected if name not in self._per_call]
        reason = judge(statistics, gates=self._gates, expected_outputs=names).reason
        return Judged(holds=reason is None, why=None if reason is None else reason.message)

    def noise_db(self, content: bytes) -> float:
        """Signal to noise of the worst output; minus infinity for a file that does not run, infinite where nothing differs."""
        try:
            statistics = self._statistics(content)
        except (ModelError, ValueError):
            return float("-inf")
        found = [stats.report()["sqnr_db"] for stats in statistics.values()]
        return min((float(one) for one in found if one is not None), default=float("inf"))

    def _statistics(self, content: bytes) -> dict[str, OutputStats]:
        runner = runners.LiteRTRunner(content, per_call=self._per_call)
        found: dict[str, OutputStats] = {}
        first = 0
        for part in self._answered:
            observed = runner.run(part.inputs)
            numbers = np.arange(first, first + len(part))
            ids = [str(number) for number in numbers]
            first += len(part)
            for name, expected in part.expected.items():
                if name in self._per_call or name not in observed or is_uneven(expected):
                    continue
                stats = OutputStats.compare(reference=expected, candidate=observed[name], ids=ids, rows=numbers)
                found[name] = found[name].merge(stats) if name in found else stats
        return found
