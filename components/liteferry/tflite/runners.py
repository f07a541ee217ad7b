"""run(batch) -> named arrays, with the same interface for a SavedModel and for a LiteRT file. Neither needs the code that trained
the model.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import saved_functions, together
from liteferry.loading.call_groups import BatchError, Calls, RowCountError, decide, fixed_batch
from liteferry.tflite import flatbuffer, more_signatures
from liteferry.tflite.file_tensors import as_file_takes_it, as_model_gives_it
from liteferry.types import TensorContract, TensorSpec

Arrays = Mapping[str, np.ndarray]


class SavedModelRunner:
    """A SavedModel in plain TensorFlow: its serving_default, or the signatures that its own metadata says are the proven ones."""

    def __init__(self, directory: str, *, per_call: Sequence[str] = (), modules: Sequence[str] = ()) -> None:
        """`per_call`: outputs that are one answer for a call, see `call_groups`. `modules`: the job's; packages among them may
        bring operations that TensorFlow does not have.
        """
        import tensorflow as tf

        from liteferry.loading import op_libraries, tracing

        try:
            op_libraries.register(directory, modules)
            self._keep = tf.saved_model.load(directory)  # the signature holds its variables weakly
            metadata = saved_functions.read_metadata(directory)
            self._function = self._keep.signatures[saved_functions.proven_signature(metadata)]
            first = tracing.describe_function(self._function)
            names = together.names_in(metadata)
            if names:
                more = {name: self._keep.signatures[name] for name in names}
                both = together.union(first, {name: tracing.describe_function(one) for name, one in more.items()})
                self._function = together.Function(self._function, first.input_names(), more, names)
                first = both.signature
            self._calls = Calls(batch=fixed_batch(first.inputs), per_call=tuple(per_call))
        except Exception as error:
            raise ModelError(
                ReasonCode.EXPORT_FAILED,
                Stage.EVALUATE,
                f"the exported SavedModel does not load in a process with plain TensorFlow: {type(error).__name__}: {error}",
            ) from error

    def bring_variables(self, directory: str) -> bool:
        """Reads every variable of another SavedModel with the same graph; False when one is missing."""
        import tensorflow as tf

        reader = tf.train.load_checkpoint(os.path.join(directory, "variables", "variables"))
        variables = list(getattr(self._keep, "graph_variables", ()))
        keys = [f"graph_variables/{index}/.ATTRIBUTES/VARIABLE_VALUE" for index in range(len(variables))]
        stored = reader.get_variable_to_shape_map().keys() - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
        if set(keys) != stored:
            return False
        for variable, key in zip(variables, keys, strict=True):
            variable.assign(reader.get_tensor(key))
        return True

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Arrays named and typed as the signature's inputs, first axis rows -> arrays named as its outputs, see `Calls.run`.

        Raises:
          ModelError: EXPORT_FAILED when TensorFlow cannot run it, EXPORT_MISMATCH when an output has other rows than it should.
        """
        from liteferry.loading import tracing

        try:
            return self._calls.run(functools.partial(tracing.run_function, self._function), inputs)
        except RowCountError as error:
            raise ModelError(ReasonCode.EXPORT_MISMATCH, Stage.EVALUATE, str(error)) from error
        except Exception as error:
            message = f"the exported SavedModel cannot be run: {type(error).__name__}: {error}"
            raise ModelError(ReasonCode.EXPORT_FAILED, Stage.EVALUATE, message) from error


class SavedModels:
    """SavedModels of one family: the graph is loaded once; for each next model only its variables are read.

    This equals a whole load, since the graph files are equal byte for byte.
    """

    def __init__(self, modules: Sequence[str] = ()) -> None:
        """`modules`: see `SavedModelRunner`."""
        self._modules = tuple(modules)
        self._runner: SavedModelRunner | None = None
        self._graph: tuple[bytes, Sequence[str]] | None = None

    def runner(self, directory: str, *, per_call: Sequence[str] = ()) -> SavedModelRunner:
        """A runner with this directory's variables. The runner returned before must not be used any more."""
        with open(os.path.join(directory, "saved_model.pb"), "rb") as file:
            graph = file.read()
        if self._runner is not None and (graph, per_call) == self._graph and self._runner.bring_variables(directory):
            return self._runner
        self._runner, self._graph = SavedModelRunner(directory, per_call=per_call, modules=self._modules), (graph, per_call)
        return self._runner


class LiteRTRunner:
    """A .tflite file, its tensors matched by signature name, never by position.

    The interpreter is resized once per batch shape. State that a file keeps between invocations is not reset, as an app would
    not reset it either: a file whose second answer depends on its first must be detected here.
    """

    def __init__(
        self,
        source: str | bytes,
        *,
        keep_inner_tensors: bool = False,
        kernels: str | None = None,
        threads: int = 1,
        per_call: Sequence[str] = (),
    ) -> None:
        """`source`: a path, or the file's content. `keep_inner_tensors`: plain kernels, and `inner_tensor` may be asked after a
        run. `kernels`: `builtin` without XNNPACK, or LiteRT's plain `reference` ones; None: the kernels that an app would get.
        `threads`: more than one only where time is measured. `per_call`: outputs that are one answer for a call.
        """
        from ai_edge_litert import interpreter

        content = source if isinstance(source, bytes) else _read(source)
        self._contract = contract = flatbuffer.read_contract(content)
        self._inputs = {tensor.name: tensor for tensor in contract.inputs}
        self._outputs = {tensor.name: tensor for tensor in contract.outputs}
        more = more_signatures.of(content)
        try:
            types = interpreter.OpResolverType
            resolvers = {"builtin": types.BUILTIN_WITHOUT_DEFAULT_DELEGATES, "reference": types.BUILTIN_REF}
            options: dict[str, Any] = {"experimental_preserve_all_tensors": True} if keep_inner_tensors else {}
            if kernels is not None or keep_inner_tensors:
                options["experimental_op_resolver_type"] = resolvers[kernels or "builtin"]
            self._interpreter = interpreter.Interpreter(model_content=content, num_threads=threads, **options)
        except (RuntimeError, ValueError) as error:
            raise _cannot_run(error) from error
        self._more = more
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.fixed_batch = _fixed_batch((*contract.inputs, *(tensor for one in more for tensor in one.tensors())))
        self._calls = Calls(batch=self.fixed_batch, per_call=tuple(per_call))

    def leave_more_signatures(self) -> None:
        """From now on `run` runs the first signature alone."""
        self._more, self.fixed_batch = [], _fixed_batch(self._contract.inputs)
        self._calls = Calls(batch=self.fixed_batch, per_call=self._calls.per_call)

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Arrays named and typed as the signature's inputs, first axis rows -> arrays named as its outputs, see `Calls.run`.

        Raises:
          ModelError: CONVERT_FAILED when the file's names differ from the signature's, or when LiteRT cannot run it;
            PARITY_OUT_OF_TOLERANCE when an output has other rows than it should.
        """
        taken = {*self._inputs, *(name for one in self._more for name in one.inputs.values())}
        if set(inputs) != taken:
            raise ModelError(
                ReasonCode.CONVERT_FAILED,
                Stage.EVALUATE,
                f"the file's inputs are {', '.join(sorted(taken))}; the model's are {', '.join(sorted(inputs))}",
            )
        try:
            return self._calls.run(self._invoke, inputs)
        except RowCountError as error:
            raise ModelError(ReasonCode.PARITY_OUT_OF_TOLERANCE, Stage.EVALUATE, str(error)) from error
        except (RuntimeError, ValueError) as error:
            raise _cannot_run(error) from error

    def decide_calls(self, inputs: Arrays) -> Calls:
        """Decides on the first rows how the file takes rows, if this is not known from elsewhere; later runs use the result.

        Raises:
          ModelError: CONVERT_FAILED when LiteRT cannot run it.
        """
        outputs = [TensorSpec(name=name, shape=None, dtype=tensor.dtype) for name, tensor in self._outputs.items()]
        try:
            self._calls = decide(self._invoke, inputs, batch=self.fixed_batch, outputs=outputs)
        except (RuntimeError, ValueError) as error:
            raise _cannot_run(error) from error
        return self._calls

    def multiplications(self, rows: int) -> float:
        """An upper estimate of the multiplications in a run of `rows` rows, to be called after such a run: every element of every
        tensor of the main graph counts as many as the largest tensor has elements per row.
        """
        shapes = [tensor["shape"].tolist() for tensor in self._interpreter.get_tensor_details()]
        largest = max((math.prod(shape[1:]) for shape in shapes), default=0)
        return float(sum(math.prod(shape) for shape in shapes) * largest) * (rows / self.fixed_batch if self.fixed_batch else 1)

    def inner_tensor(self, index: int) -> np.ndarray | None:
        """A tensor's values after the last run, quantised integers as floats; None for text and for tensors without data."""
        details = self._interpreter._get_tensor_details(index, 0)
        try:
            value = self._interpreter.get_tensor(index)
        except ValueError:
            return None  # loops free the tensors that they pass on
        if value.dtype.kind not in "fiu":
            return None
        scales = details["quantization_parameters"]["scales"]
        if len(scales) != 1 or value.dtype.kind == "f":
            return np.asarray(value)
        zero_point = details["quantization_parameters"]["zero_points"][0]
        return np.asarray((value.astype(np.float32) - zero_point) * np.float32(scales[0]))

    def prepare(self, inputs: Arrays) -> Callable[[], None]:
        """The bare invocation with these inputs set, to be timed. A file with a fixed batch takes exactly that many rows.

        Raises:
          ModelError: CONVERT_FAILED when LiteRT rejects them.
        """
        try:
            self._set(inputs)
        except (RuntimeError, ValueError) as error:
            raise _cannot_run(error) from error
        invoke: Callable[[], None] = self._interpreter.invoke
        return invoke

    def _invoke(self, inputs: Arrays) -> dict[str, np.ndarray]:
        self._set(inputs)
        self._interpreter.invoke()
        values = {name: self._interpreter.get_tensor(tensor.tensor_index) for name, tensor in self._outputs.items()}
        outputs = {name: as_model_gives_it(value, self._outputs[name]) for name, value in values.items()}
        for signature in self._more:
            outputs.update(signature.run(self._interpreter, inputs))
        return outputs

    def _set(self, rows: Arrays) -> None:
        inputs = {name: rows[name] for name in self._inputs}
        shapes = {name: value.shape for name, value in inputs.items()}
        if shapes != self._shapes:
            for name, value in inputs.items():
                self._interpreter.resize_tensor_input(self._inputs[name].tensor_index, value.shape, strict=False)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for name, value in inputs.items():
            self._interpreter.set_tensor(self._inputs[name].tensor_index, as_file_takes_it(value, self._inputs[name]))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _fixed_batch(inputs: tuple[TensorContract, ...]) -> int | None:
    """The fixed batch, or None; also None where inputs fix different sizes: each then gets all rows, and LiteRT's error says why
    that fails.
    """
    with contextlib.suppress(BatchError):
        return fixed_batch(TensorSpec(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype) for tensor in inputs)
    return None


def _cannot_run(error: Exception) -> ModelError:
    return ModelError(ReasonCode.CONVERT_FAILED, Stage.EVALUATE, f"LiteRT cannot run this file: {type(error).__name__}: {error}")
