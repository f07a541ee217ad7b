"""Groups rows into a model's calls and joins the answers. Everything that runs a model uses this module.

A model saved with a fixed batch takes exactly that many rows in every call: the last, smaller group is padded with copies of its
own last row, and the answers to the padding are dropped. Most outputs have one answer per row. Some have one answer per call: a
scalar, a constant, detections, any output with another number of rows than the inputs. This is decided once per output, on the
first rows; answers per call are then stored call by call.
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

_MOST_ROWS, _FEW_ROWS = 8, 3  # rows in the two trial calls that decide


class RowCountError(ValueError):
    """An output with one answer per row has another number of rows than the inputs."""


class BatchError(ValueError):
    """The inputs cannot be fed row by row: their first axes are fixed at different sizes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calls:
    """How a model takes rows. `batch`: the fixed number in every call, None for any number. `per_call`: outputs with one answer
    per call.
    """

    batch: int | None = None
    per_call: tuple[str, ...] = ()

    def without_rows(self) -> tuple[str, ...]:
        """The outputs that have no answer per row. With one row in every call, the call's answer is the row's."""
        return () if self.batch == 1 else self.per_call

    def run(self, function: Call, inputs: Arrays) -> dict[str, Array]:
        """Runs all rows through as many calls as needed.

        Returns:
          (rows, ...) for each output; for those of `per_call` (calls, ...), or where their shapes differ an object array (calls,)
            of arrays.

        Raises:
          RowCountError: an output has another number of rows than the inputs.
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
    """The rows of each call, and how many of them are real; the last call is padded with copies of its own last row."""
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
    """Whether an array is the object array that `stack` returns for answers of different shapes."""
    return value.dtype == object and value.size > 0 and isinstance(value.flat[0], np.ndarray)


def aligned(expected: Array, observed: Array) -> tuple[Array, Array]:
    """Both sides of an output with one answer per call. Where one side took all rows in one call, its answer is repeated for each
    call of the other side.
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
    """Which outputs have one answer per call.

    Args:
      call: one call of the model; used only where shapes do not decide.
      inputs: the first rows, or None: outputs whose shapes do not decide then count as one answer per row.
      batch: the fixed number of rows per call.
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
    """Whether an output has one answer per row; None where its shape does not decide."""
    if spec.shape is None or (spec.shape and spec.shape[0] is None):
        return None
    return bool(spec.shape) and spec.shape[0] == batch


def _probes(call: Call, inputs: Arrays, batch: int | None) -> Iterator[tuple[int, Mapping[str, Array]]]:
    """Calls with the first rows: the number of rows in, and the outputs."""
    if batch is not None:
        for number, (piece, _) in enumerate(groups(inputs, batch)):
            if number * batch < _MOST_ROWS:
                yield batch, call(piece)
        return
    most = min(_MOST_ROWS, len(next(iter(inputs.values()))))
    yield most, call({name: value[:most] for name, value in inputs.items()})
    few = _FEW_ROWS if most != _FEW_ROWS else _FEW_ROWS - 1
    with contextlib.suppress(Exception):  # the model may reject another number of rows; then the first call decides alone
        answers = call({name: np.resize(value, (few, *value.shape[1:])) for name, value in inputs.items()})
        yield few, answers
