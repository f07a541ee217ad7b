"""Measures a function's throughput on batches that have to run anyway."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

Result = TypeVar("Result")


class Throughput:
    """Rows per second over the batches run through it. The first one does not count: it allocates and initialises."""

    def __init__(self) -> None:
        self._seconds_per_row: list[float] = []
        self._is_warm = False

    def run(self, function: Callable[[Mapping[str, np.ndarray]], Result], inputs: Mapping[str, np.ndarray]) -> Result:
        """`function(inputs)`; arrays with rows along the first axis."""
        started = time.perf_counter()
        result = function(inputs)
        seconds = time.perf_counter() - started
        if self._is_warm:
            self._seconds_per_row.append(seconds / max(1, len(next(iter(inputs.values())))))
        self._is_warm = True
        return result

    def rows_per_s(self) -> float | None:
        """The median batch's; None after fewer than two batches."""
        if not self._seconds_per_row:
            return None
        return 1 / max(statistics.median(self._seconds_per_row), 1e-9)
