"""Wraps builders' results other than Keras models as `LoadedModel`: a `tf.Module`, or a function in the style of TensorFlow 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import call_arguments
from liteferry.loading.model import LoadedModel, Tensors
from liteferry.loading.output_names import named_outputs
from liteferry.types import Signature, TensorSpec


def wrap_module(module: Any, *, sample_columns: Sequence[TensorSpec]) -> LoadedModel:
    """A `tf.Module` whose `__call__` computes inference. Inputs are those of its `input_signature`, else the sample columns."""
    import tensorflow as tf

    specs = _declared_inputs(module) or _undeclared_inputs(sample_columns)
    if not specs:
        raise _no_inputs(type(module).__name__)
    parameters = list(inspect.signature(type(module).__call__).parameters)[1:]
    by_name = all(spec.name in parameters for spec in specs)

    def call(tensors: Tensors) -> Tensors:
        ordered = [tensors[spec.name] for spec in specs]
        answer = module(**{spec.name: tensors[spec.name] for spec in specs}) if by_name else module(*ordered)
        return named_outputs(answer, ())

    return LoadedModel(
        call=call,
        signature=Signature(inputs=tuple(specs), outputs=()),
        oracle=f"tensorflow {tf.__version__} ({type(module).__name__} of the builder)",
        keep=module,
    )


def _undeclared_inputs(columns: Sequence[TensorSpec]) -> list[TensorSpec]:
    return [_as_input(column) for column in call_arguments.likely(columns)]


def _as_input(column: TensorSpec) -> TensorSpec:
    """float64 becomes float32: it is only NumPy's default."""
    dtype = "float32" if column.dtype == "float64" else column.dtype
    return TensorSpec(name=column.name, shape=column.shape, dtype=dtype)


def _declared_inputs(module: Any) -> list[TensorSpec]:
    """Inputs of `__call__`, where it is a tf.function with an input_signature."""
    function: Any = type(module).__call__
    declared = getattr(function, "input_signature", None)
    if not declared:
        return []
    names = list(inspect.signature(function.python_function).parameters)[1:]
    return [
        TensorSpec(name=name, shape=None if spec.shape.rank is None else tuple(spec.shape.as_list()), dtype=spec.dtype.name)
        for name, spec in zip(names, declared, strict=False)
    ]


def wrap_graph(function: Callable[..., Any], *, sample_columns: Sequence[TensorSpec]) -> tuple[LoadedModel, dict[str, Any]]:
    """A function that makes its variables with `tf.compat.v1.get_variable`. Returns the model and its variables by name."""
    import tensorflow as tf

    columns = {column.name: column for column in map(_as_input, sample_columns)}
    names = list(inspect.signature(function).parameters)
    if not names or any(name not in columns for name in names):
        raise _no_inputs(f"{function.__name__}({', '.join(names)})", have=columns)
    specs = [columns[name] for name in names]
    wrapped = tf.compat.v1.wrap_function(function, [tf.TensorSpec(spec.shape, spec.dtype, name=spec.name) for spec in specs])

    def call(tensors: Tensors) -> Tensors:
        return named_outputs(wrapped(*(tensors[name] for name in names)), ())

    model = LoadedModel(
        call=call,
        signature=Signature(inputs=tuple(specs), outputs=()),
        oracle=f"tensorflow {tf.__version__} (graph of {function.__name__})",
        keep=wrapped,
    )
    return model, {variable.name.removesuffix(":0"): variable for variable in wrapped.graph.variables}


def _no_inputs(what: str, have: Sequence[str] | dict[str, Any] = ()) -> ModelError:
    columns = ", ".join(have) or "none"
    return ModelError(
        ReasonCode.LOAD_FAILED,
        Stage.LOAD,
        f"the inputs of the builder's {what} are unknown (sample columns: {columns}); give `samples` whose columns are named as "
        "its arguments, or map them under samples.<name>.inputs",
    )
