"""Rows -> the calls that a model takes them in, and back: one way for everything that runs a model.

A model saved with a fixed batch takes just as many rows in every call: the last, smaller group is filled up with its own last
row, and what is answered to the filling is cut off. Most outputs are one answer for each row. Some are one answer for a call: a
scalar, a constant, detections, whatever has another number of rows than went in. Which is which is decided once, on the first
rows, and those are then kept call by call.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from liteferry.types import TensorSpec

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Call = Callable[[Arrays], Mapping[str, Array]]

_MOST_ROWS, _FEW_ROWS = 8, 3  # of the calls that decide: an output with as many rows as both has one for each row


class RowCountError(ValueError):
    """An output that has one answer for each row has another number of them."""


class BatchError(ValueError):
    """Inputs that cannot be fed from rows: their first axes are fixed at different sizes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calls:
    """How a model takes rows. `batch`: as many in every call, None for any number. `per_call`: outputs that are one answer for a
    call.
    """

    batch: int | None = None
    per_call: tuple[str, ...] = ()

    def without_rows(self) -> tuple[str, ...]:
        """The outputs of which a row has no answer of its own; with one row in every call, a call's is the row's."""
        return () if self.batch == 1 else self.per_call

    def run(self, function: Call, inputs: Arrays) -> dict[str, Array]:
        """All rows through as many calls as it takes.

        Returns:
          (rows, ...) for each output; for those of `per_call` (calls, ...), or where their shapes differ an object array
          (calls,) of arrays.

        Raises:
          RowCountError: an output has another number of rows than went in.
        """
        answers: dict[str, list[Array]] = {}
        for piece, size in groups(inputs, self.batch):
            taken = len(next(iter(piece.values()), ()))
            for name, value in function(piece).items():
                is_per_call = name in self.per_call
                if not is_per_call:
                    _check_rows(name, value, taken)
                answers.setdefault(name, []).append(value if is_per_call else value[:size])
        return {name: stack(found) if name in self.per_call else _joined(found) for name, found in answers.items()}


def groups(inputs: Arrays, batch: int | None) -> Iterator[tuple[dict[str, Array], int]]:
    """Rows as the calls take them, and how many of each call's are real; the last is filled up with its own last row."""
    rows = len(next(iter(inputs.values()), ()))
    step = batch or max(rows, 1)
    for start in range(0, max(rows, 1), step):
        piece = {name: value[start : start + step] for name, value in inputs.items()}
        size = min(step, rows - start)
        yield (piece if batch is None or size == step else _filled(piece, batch)), size


def _filled(piece: Arrays, batch: int) -> dict[str, Array]:
    return {name: np.concatenate([value, np.repeat(value[-1:], batch - len(value), axis=0)]) for name, value in piece.items()}


def _joined(found: Sequence[Array]) -> Array:
    return found[0] if len(found) == 1 else np.concatenate(found)


def _check_rows(name: str, value: Array, rows: int) -> None:
    if value.ndim == 0 or len(value) != rows:
        raise RowCountError(
            f"output {name!r} has shape {tuple(value.shape)} for {rows} rows, and one answer for each row was expected: on the "
            "first rows it had as many as went in; give it a first axis that is always the batch, or none that ever is"
        )


def stack(found: Sequence[Array]) -> Array:
    """The answers of several calls as one array, (calls, ...); where shapes differ, an object array of them."""
    if len({value.shape for value in found}) == 1:
        return np.stack(found)
    result = np.empty(len(found), object)
    for place, value in enumerate(found):
        result[place] = value
    return result


def is_uneven(value: Array) -> bool:
    """Whether an array is what `stack` makes of answers whose shapes differ."""
    return value.dtype == object and value.size > 0 and isinstance(value.flat[0], np.ndarray)


def aligned(expected: Array, observed: Array) -> tuple[Array, Array]:
    """Two sides of an output that is one answer for a call. Where one side took all rows in one call, its answer stands against
    each of the other's.
    """
    counts = len(expected), len(observed)
    if counts[0] == counts[1] or min(counts) != 1:
        return expected, observed
    return (np.repeat(expected, counts[1], axis=0), observed) if counts[0] == 1 else (expected, np.repeat(observed, counts[0], 0))


def fixed_batch(inputs: Iterable[TensorSpec]) -> int | None:
    """How many rows every call takes; None for any number.

    Raises:
      BatchError: two inputs fix different numbers.
    """
    fixed = {spec.name: spec.shape[0] for spec in inputs if spec.shape}
    sizes = {size for size in fixed.values() if size is not None}
    if len(sizes) > 1:
        told = ", ".join(f"{name} {size}" for name, size in fixed.items() if size is not None)
        raise BatchError(
            f"its inputs have first axes of different sizes ({told}), so no row of the samples can be one row of each; export "
            "the model with what is no row inside it"
        )
    return sizes.pop() if sizes else None


def decide(call: Call, inputs: Arrays | None, *, batch: int | None, outputs: Sequence[TensorSpec]) -> Calls:
    """Which outputs are one answer for a call.

    Args:
      call: one call of the model; asked only where shapes do not tell.
      inputs: the first rows, or None: then what shapes leave open counts as one answer for each row.
      batch: as many rows as every call takes.
      outputs: as they were traced.
    """
    settled = {spec.name: is_row_wise for spec in outputs if (is_row_wise := _by_shape(spec, batch)) is not None}
    open_names = [spec.name for spec in outputs if spec.name not in settled]
    if open_names and inputs:
        for size, answers in _probes(call, inputs, batch):
            for name in open_names:
                value = answers[name]
                settled[name] = settled.get(name, True) and value.ndim > 0 and len(value) == size
    return Calls(batch=batch, per_call=tuple(spec.name for spec in outputs if not settled.get(spec.name, True)))


def _by_shape(spec: TensorSpec, batch: int | None) -> bool | None:
    """Whether an output has one answer for each row; None where its shape does not tell."""
    if spec.shape is None or (spec.shape and spec.shape[0] is None):
        return None
    return bool(spec.shape) and spec.shape[0] == batch


def _probes(call: Call, inputs: Arrays, batch: int | None) -> Iterator[tuple[int, Mapping[str, Array]]]:
    """Calls with the first rows: how many went in, and what came out."""
    if batch is not None:
        for number, (piece, _) in enumerate(groups(inputs, batch)):
            if number * batch < _MOST_ROWS:
                yield batch, call(piece)
        return
    most = min(_MOST_ROWS, len(next(iter(inputs.values()))))
    yield most, call({name: value[:most] for name, value in inputs.items()})
    few = _FEW_ROWS if most != _FEW_ROWS else _FEW_ROWS - 1
    with contextlib.suppress(Exception):  # it may take no other number of rows; then the first call decides alone
        answers = call({name: np.resize(value, (few, *value.shape[1:])) for name, value in inputs.items()})
        yield few, answers
