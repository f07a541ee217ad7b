"""Facts about the sample rows that do not depend on any candidate: inputs that are not finite, and outputs whose targets are
vectors of numbers, so that their last axis holds no classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from liteferry.parity.gate_limits import REGRESSION

Arrays = Mapping[str, npt.NDArray[Any]]
_SHARE_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowsSeen:
    """Mergeable. `nonfinite_inputs`: input -> rows with NaN or infinity in it. `vector_targets`: outputs whose label column holds
    vectors that are no shares of classes (neither one-hot nor adding up to 1). `filled`: column -> rows that had no value and got
    its default. `input_ranges`: input -> least and largest finite number in it, of inputs of numbers.
    """

    nonfinite_inputs: Mapping[str, int] = dataclasses.field(default_factory=dict)
    vector_targets: frozenset[str] = frozenset()
    filled: Mapping[str, int] = dataclasses.field(default_factory=dict)
    input_ranges: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, inputs: Arrays, expected: Arrays, labels: Arrays, *, filled: Mapping[str, int] | None = None) -> RowsSeen:
        """The facts of one batch. `labels`: output -> its label column, for outputs that have one. `filled`: see the class."""
        return cls(
            nonfinite_inputs={name: rows for name, array in inputs.items() if (rows := _nonfinite_rows(array))},
            vector_targets=frozenset(
                name for name, array in expected.items() if name in labels and _is_vector_target(array, labels[name])
            ),
            filled=dict(filled or {}),
            input_ranges={name: found for name, array in inputs.items() if (found := _range_of(array)) is not None},
        )

    def __add__(self, other: RowsSeen) -> RowsSeen:
        ranges = dict(self.input_ranges)
        for name, (low, high) in other.input_ranges.items():
            before = ranges.get(name, (low, high))
            ranges[name] = (min(before[0], low), max(before[1], high))
        return RowsSeen(
            nonfinite_inputs=_added(self.nonfinite_inputs, other.nonfinite_inputs),
            vector_targets=self.vector_targets | other.vector_targets,
            filled=_added(self.filled, other.filled),
            input_ranges=ranges,
        )

    def kinds(self) -> dict[str, str]:
        """output -> `regression`, for outputs whose label columns show it."""
        return dict.fromkeys(sorted(self.vector_targets), REGRESSION)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` turns into equal facts."""
        ranges = {name: list(found) for name, found in self.input_ranges.items()}
        found = {"nonfinite_inputs": dict(self.nonfinite_inputs), "vector_targets": sorted(self.vector_targets)}
        return {**found, "input_ranges": ranges, **({"filled": dict(self.filled)} if self.filled else {})}

    @classmethod
    def from_json(cls, encoded: Mapping[str, Any]) -> RowsSeen:
        """The inverse of `to_json`."""
        ranges = {name: (float(low), float(high)) for name, (low, high) in encoded.get("input_ranges", {}).items()}
        return cls(
            nonfinite_inputs=dict(encoded["nonfinite_inputs"]),
            vector_targets=frozenset(encoded["vector_targets"]),
            filled=dict(encoded.get("filled", {})),
            input_ranges=ranges,
        )


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in [*one, *(name for name in other if name not in one)]}


def _nonfinite_rows(array: npt.NDArray[Any]) -> int:
    if array.dtype.kind not in "fc" or not array.size or np.isfinite(array).all():
        return 0
    return int(np.count_nonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1)))


def _is_vector_target(answers: npt.NDArray[Any], targets: npt.NDArray[Any]) -> bool:
    is_one = answers.ndim >= 2 and answers.shape[-1] >= 2 and targets.shape == answers.shape
    if not is_one or targets.dtype.kind not in "fiub":
        return False
    numbers = targets.astype(np.float64)
    shares = (numbers >= 0).all(axis=-1) & (np.abs(numbers.sum(axis=-1) - 1) <= _SHARE_TOLERANCE)
    is_silent = (numbers == 0).all(axis=-1)  # usually a row without a label
    return not bool((shares | is_silent).all())


def _range_of(array: npt.NDArray[Any]) -> tuple[float, float] | None:
    """The least and the largest finite number of an array; None where it has none, text for example."""
    if array.dtype.kind not in "biuf" or array.size == 0:
        return None
    numbers = array.astype(np.float64)
    finite = np.isfinite(numbers)
    if not finite.any():
        return None
    return float(np.min(numbers, where=finite, initial=np.inf)), float(np.max(numbers, where=finite, initial=-np.inf))
