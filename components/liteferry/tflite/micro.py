"""A .tflite file on TensorFlow Lite for Microcontrollers, through the package `tflite-micro`: its own kernels, really run."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading.call_groups import Calls
from liteferry.tflite import flatbuffer, more_signatures
from liteferry.tflite.file_tensors import as_file_takes_it, as_model_gives_it
from liteferry.types import TensorContract

EXTRA = "liteferry[micro]"
_T = TypeVar("_T")
_ARENA = re.compile(r"Arena allocation total (\d+) bytes")
_MOST_WORDS = 600


class MicroRunner:
    """Runs a file as a microcontroller would. `arena_bytes`: of memory that its tensors and bookkeeping take there."""

    def __init__(self, content: bytes, *, per_call: Sequence[str] = ()) -> None:
        """Raises ModelError: TARGET_UNSUPPORTED with the runtime's words if it lacks an operator, or a form of one."""
        runtime = _runtime()
        more = [one.name for one in more_signatures.of(content)]
        if more:
            message = (
                f"TensorFlow Lite for Microcontrollers runs the first signature alone; the file also holds {', '.join(more)}"
            )
            raise ModelError(ReasonCode.TARGET_UNSUPPORTED, Stage.EVALUATE, message)
        contract = flatbuffer.read_contract(content)
        self._inputs = {tensor.name: tensor for tensor in contract.inputs}
        self._outputs = {tensor.name: tensor for tensor in contract.outputs}
        batch = _rows_of_a_call(contract.inputs)
        self._calls = Calls(batch=batch, per_call=tuple(per_call))
        recorded = runtime.InterpreterConfig.kAllocationRecording

        def start() -> Any:
            interpreter = runtime.Interpreter.from_bytes(content, intrepreter_config=recorded)
            interpreter.print_allocations()
            return interpreter

        self._interpreter, words = _heard(start)
        found = _ARENA.search(words)
        self.arena_bytes = int(found.group(1)) if found else None

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays named and typed as the signature's inputs, first axis rows -> arrays named as its outputs.

        Raises:
          ModelError: TARGET_UNSUPPORTED where the runtime refuses while it runs.
        """
        return self._calls.run(self._call, inputs)

    def _call(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        def invoke() -> dict[str, np.ndarray]:
            for name, value in inputs.items():
                tensor = self._inputs[name]
                self._interpreter.set_input(as_file_takes_it(value, tensor), tensor.position)
            self._interpreter.invoke()
            return {
                name: as_model_gives_it(np.array(self._interpreter.get_output(tensor.position)), tensor)
                for name, tensor in self._outputs.items()
            }

        return _heard(invoke)[0]


def _rows_of_a_call(inputs: Sequence[TensorContract]) -> int:
    """A microcontroller needs fixed shapes: a free batch is one row."""
    sizes = {tensor.shape[0] for tensor in inputs if tensor.shape}
    return next(iter(sizes)) or 1 if len(sizes) == 1 else 1


def _runtime() -> Any:
    try:
        from tflite_micro import runtime
    except ImportError as error:
        message = f"tflite-micro, which runs files as on a microcontroller, is not installed: pip install '{EXTRA}'"
        raise ModelError(ReasonCode.TARGET_UNSUPPORTED, Stage.EVALUATE, message) from error
    return runtime


def _heard(work: Callable[[], _T]) -> tuple[_T, str]:
    """The result of `work`, and the C++ code's output meanwhile, which has the reasons of errors."""
    with _said() as read:
        try:
            return work(), read()
        except ModelError:
            raise
        except Exception as error:
            words = _reasons(read()) or f"{type(error).__name__}: {error}"
            message = f"TensorFlow Lite for Microcontrollers cannot run this file: {words}"
            raise ModelError(ReasonCode.TARGET_UNSUPPORTED, Stage.EVALUATE, message) from error


def _reasons(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip() and "RecordingMicroAllocator" not in line]
    return "; ".join(dict.fromkeys(lines))[:_MOST_WORDS]


@contextlib.contextmanager
def _said() -> Iterator[Callable[[], str]]:
    """Redirects both standard streams of the process to a file while the context lasts; yields a function that reads it."""
    with tempfile.TemporaryFile() as file:
        saved = [os.dup(1), os.dup(2)]
        try:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)

            def read() -> str:
                file.seek(0)
                return file.read().decode("utf-8", "replace")

            yield read
        finally:
            for stream, kept in zip((1, 2), saved, strict=True):
                os.dup2(kept, stream)
                os.close(kept)
