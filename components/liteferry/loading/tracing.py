"""A loaded checkpoint -> one traced inference function with safe names. SavedModel, converter and
reference all use this trace.
"""

from __future__ import annotations

import dataclasses
import functools
import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading.call_groups import BatchError, Calls, RowCountError, decide, fixed_batch, is_uneven
from liteferry.loading.model import LoadedModel
from liteferry.parity.class_counts import differ_in_near_ties
from liteferry.types import Signature, TensorSpec

# Eager kernels and a graph's fused ones round differently: 1.04e-5 was seen on a MobileNetV2 with random weights. A larger
# difference means another function; the SavedModel's gate is never raised above this either.
_TRACE_TOLERANCE = 5e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class TracedModel:
    """An inference graph.

    Attributes:
      function: a TensorFlow ConcreteFunction; keyword tensors named as `signature.inputs`, a dict named as `signature.outputs`.
      signature: names as the artifacts carry them. Input names are Python identifiers (TensorFlow's rule); `renamed` maps
      own -> given.
      output_order: the output names in the order of `function.outputs`.
      calls: how it takes rows.
    """

    function: Any
    signature: Signature
    renamed: Mapping[str, str]
    output_order: tuple[str, ...]
    calls: Calls = dataclasses.field(default_factory=Calls)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Any number of rows through the graph. Arrays named as `signature.inputs`, in its dtypes; returns arrays named as
        `signature.outputs`, see `Calls.run`.
        """
        return in_calls(self, functools.partial(run_function, self.function), inputs)


def in_calls(traced: TracedModel, function: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows through another form of a traced model, in the calls that it takes.

    Raises:
      ModelError: EXPORT_FAILED when an output does not have the rows that it had when the model was traced.
    """
    try:
        return traced.calls.run(function, inputs)
    except RowCountError as error:
        raise ModelError(ReasonCode.EXPORT_FAILED, Stage.EXPORT, str(error)) from error


def on_rows(traced: TracedModel, inputs: Mapping[str, np.ndarray]) -> TracedModel:
    """The traced model with `calls` decided by its first rows: which outputs have one answer per call, if the shapes do not
    show it.
    """
    call = functools.partial(run_function, traced.function)
    calls = decide(call, inputs, batch=traced.calls.batch, outputs=traced.signature.outputs)
    return dataclasses.replace(traced, calls=calls)


def run_function(function: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A ConcreteFunction of named tensors on arrays of these names -> its outputs as arrays."""
    import tensorflow as tf

    outputs = function(**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: array_of(value) for name, value in outputs.items()}


def array_of(tensor: Any) -> np.ndarray:
    """A tensor's value. TensorFlow gives a text of rank 0 as bytes, everything else as an array."""
    value = tensor.numpy()
    return value if isinstance(value, np.ndarray) else np.asarray(value, object if isinstance(value, bytes) else None)


def safe_names(names: Sequence[str]) -> dict[str, str]:
    """Own name -> a Python identifier, unique. Names that are identifiers already stay."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        safe = re.sub(r"\W", "_", name, flags=re.ASCII)
        if not safe or safe[0].isdigit() or keyword.iskeyword(safe):
            safe = f"input_{safe}"
        unique, count = safe, 1
        while unique in taken:
            unique, count = f"{safe}_{count}", count + 1
        taken.add(unique)
        result[name] = unique
    return result


def trace(model: LoadedModel, *, batch: int | None = None) -> TracedModel:
    """Traces inference once.

    Args:
      model: the loaded checkpoint.
      batch: None keeps the model's own batch dimension (mostly free); a number fixes it.

    Raises:
      ModelError: EXPORT_FAILED with TensorFlow's message when the model cannot be traced.
    """
    import tensorflow as tf

    renamed = safe_names([spec.name for spec in model.input_specs()])
    specs = {
        renamed[spec.name]: tf.TensorSpec(with_batch(spec.shape, batch), spec.dtype, name=renamed[spec.name])
        for spec in model.input_specs()
    }

    def serving_default(**inputs: Any) -> dict[str, Any]:
        outputs = model.call({own: inputs[given] for own, given in renamed.items()})
        return {name: tf.convert_to_tensor(value) for name, value in outputs.items()}

    try:
        function = _traced_once(serving_default, specs)
    except Exception as error:
        raise ModelError(
            ReasonCode.EXPORT_FAILED, Stage.EXPORT, f"the model cannot be traced for inference: {type(error).__name__}: {error}"
        ) from error
    outputs = function.structured_outputs
    if not outputs:
        raise ModelError(
            ReasonCode.EXPORT_FAILED, Stage.EXPORT, "the model returns no tensor when it is called with training=False"
        )
    signature = Signature(
        inputs=tuple(describe_tensor(name, spec) for name, spec in specs.items()),
        outputs=tuple(describe_tensor(name, spec) for name, spec in outputs.items()),
    )
    return TracedModel(
        function=function,
        signature=signature,
        renamed={own: given for own, given in renamed.items() if own != given},
        output_order=tuple(sorted(outputs)),  # TensorFlow flattens a dict by its sorted keys
        calls=_calls(signature),
    )


def _calls(signature: Signature) -> Calls:
    try:
        batch = fixed_batch(signature.inputs)
    except BatchError as error:
        raise ModelError(ReasonCode.EXPORT_FAILED, Stage.EXPORT, f"the model cannot be fed rows: {error}") from error
    return decide(lambda _: {}, None, batch=batch, outputs=signature.outputs)


def assigned_variables(function: Any) -> tuple[str, ...]:
    """The operators of a ConcreteFunction that assign to a variable: its answers may depend on earlier calls."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    found = {node.name for node in nodes if node.op.startswith("Assign") or node.op.startswith("ResourceScatter")}
    return tuple(sorted(found))


def holds_tables(function: Any) -> bool:
    """Whether a ConcreteFunction captures resources that are no variables: lookup tables."""
    handles = {id(variable.handle) for variable in function.graph.variables}
    return any(tensor.dtype.name == "resource" and id(tensor) not in handles for tensor in function.captured_inputs)


def _traced_once(function: Callable[..., Any], specs: Mapping[str, Any]) -> Any:
    """A ConcreteFunction, traced without AutoGraph where possible. AutoGraph rewrites the source of every function on the way,
    including Keras's own, which takes most of the time; only Python that branches or loops on a tensor needs it, and raises
    without it.
    """
    import tensorflow as tf

    try:
        return tf.function(function, autograph=False).get_concrete_function(**specs)
    except Exception:  # noqa: BLE001  # any error either occurs again below, or was caused by the missing AutoGraph
        return tf.function(function).get_concrete_function(**specs)


def with_batch(shape: tuple[int | None, ...] | None, batch: int | None) -> tuple[int | None, ...] | None:
    """A shape whose first axis, where it is free, is `batch`; unchanged for None."""
    if batch is None or not shape or shape[0] is not None:
        return shape
    return (batch, *shape[1:])


def describe_tensor(name: str, spec: Any) -> TensorSpec:
    shape = None if spec.shape.rank is None else tuple(spec.shape.as_list())
    return TensorSpec(name=name, shape=shape, dtype=spec.dtype.name)


def describe_function(function: Any) -> Signature:
    """Names, shapes and dtypes of a ConcreteFunction that takes tensors by name."""
    _, keywords = function.structured_input_signature
    return Signature(
        inputs=tuple(describe_tensor(name, spec) for name, spec in sorted(keywords.items()) if spec is not None),
        outputs=tuple(describe_tensor(name, spec) for name, spec in sorted(function.structured_outputs.items())),
    )


def is_deterministic(
    model: LoadedModel,
    traced: TracedModel,
    inputs: Mapping[str, np.ndarray],
    *,
    first: Mapping[str, np.ndarray],
    eager_runs: int = 2,
) -> bool:
    """Whether a checkpoint is one function of its inputs, and the trace is that function. Runs it eagerly twice and traced twice.

    A trace alone cannot show it: everything that Python computed during tracing, including NumPy's random numbers, is a constant
    in it.

    Args:
      inputs: a few rows, (rows, ...) each.
      first: the answers of `run_eagerly` to them.
      eager_runs: 1 is enough where the same Python code has run twice for a sibling: it is still compared with the trace, and run
        again where it differs, to find the reason.

    Raises:
      ModelError: EXPORT_MISMATCH when the trace computes something else than the checkpoint called eagerly.
    """
    graph = traced.run(inputs)
    distances = {name: relative_distance(expected, graph[name]) for name, expected in first.items()}
    name, distance = max(distances.items(), key=lambda item: item[1])
    is_same = distance <= _TRACE_TOLERANCE
    if (eager_runs > 1 or not is_same) and differing_outputs(first, run_eagerly(model, traced, inputs)):
        return False
    if differing_outputs(graph, traced.run(inputs)):
        return False
    if not is_same:
        raise ModelError(
            ReasonCode.EXPORT_MISMATCH,
            Stage.EXPORT,
            f"output {name!r}: the traced model is {distance:.3g} off the checkpoint called eagerly, relative to its "
            f"largest value (at most {_TRACE_TOLERANCE:g}): Python code in the model decides something while it is "
            "traced; express it in tensors",
        )
    return True


def run_eagerly(model: LoadedModel, traced: TracedModel, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Calls the checkpoint as its author would, without a graph around it."""
    import tensorflow as tf

    own = {given: name for name, given in traced.renamed.items()}

    def call(piece: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = model.call({own.get(name, name): tf.constant(value) for name, value in piece.items()})
        return {name: array_of(tf.convert_to_tensor(value)) for name, value in outputs.items()}

    return in_calls(traced, call, inputs)


def relative_distance(expected: np.ndarray, observed: np.ndarray) -> float:
    """Largest difference relative to the largest expected value, over what is finite on both sides; inf where only one side
    is, or shapes differ. 0 for whole numbers that differ in near ties of a mask alone."""
    if expected.shape != observed.shape:
        return float("inf")
    if is_uneven(expected) and is_uneven(observed):
        return max(map(relative_distance, expected.flat, observed.flat))
    if expected.dtype.kind in "biu" and observed.dtype.kind in "biu" and differ_in_near_ties(expected, observed):
        return 0.0
    if not is_number(expected.dtype):
        return 0.0 if np.array_equal(expected, observed) else float("inf")
    if expected.dtype.kind == "c":
        expected, observed = (np.stack([side.real, side.imag]) for side in (expected, observed))
    left, right = expected.astype(np.float64), observed.astype(np.float64)
    finite = np.isfinite(left) & np.isfinite(right)
    if not np.array_equal(np.isfinite(left), np.isfinite(right)):
        return float("inf")
    if not finite.any():
        return 0.0
    difference = float(np.max(np.abs(left - right), where=finite, initial=0.0))
    largest = float(np.max(np.abs(left), where=finite, initial=0.0))
    return difference / max(largest, float(np.finfo(np.float32).tiny))


def is_number(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is numeric, including those of ml_dtypes (bfloat16, for example), which NumPy does not count."""
    return np.issubdtype(dtype, np.number) or (
        dtype.kind == "V" and not dtype.fields and dtype.name != f"void{8 * dtype.itemsize}"
    )


def differing_outputs(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The outputs that are not the same to the last bit (NaN equals NaN) in two runs on the same rows."""
    return tuple(name for name in first if not _is_same(first[name], second[name]))


def _is_same(first: np.ndarray, second: np.ndarray) -> bool:
    if is_uneven(first) or is_uneven(second):
        return first.shape == second.shape and all(map(_is_same, map(np.asarray, first.flat), map(np.asarray, second.flat)))
    return np.array_equal(first, second, equal_nan=is_number(first.dtype) and first.dtype.kind not in "iu")
