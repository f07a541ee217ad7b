"""The signature `serve_examples`: serving_default behind a parser of tf.Example, proven on sample rows."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import tracing
from liteferry.loading.tracing import TracedModel

SERVE_EXAMPLES = "serve_examples"
_EXAMPLES = "examples"
# The tf.Example list that stores each dtype; other dtypes cannot be stored.
_STORED_AS = {"float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float32", "string": "string"}
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool")
# tf.Example stores floats in 32 bits: a float64 input loses precision, nothing else may.
_EXAMPLE_TOLERANCE = 1e-6


def _failed(message: str) -> ModelError:
    return ModelError(ReasonCode.EXPORT_FAILED, Stage.EXPORT, f"signatures.{SERVE_EXAMPLES}: {message}")


def trace(traced: TracedModel) -> Any:
    """Traces the signature: serialized tf.Examples, named by the model's own input names -> the outputs of serving_default.

    Raises:
      ModelError: EXPORT_FAILED when an input has no fixed form in a tf.Example.
    """
    import tensorflow as tf

    own = {given: name for name, given in traced.renamed.items()}
    features = {}
    for tensor in traced.signature.inputs:
        stored = _STORED_AS.get(tensor.dtype) or ("int64" if tensor.dtype in _INTEGERS else None)
        shape = (tensor.shape or ())[1:]
        if stored is None or None in shape or not tensor.shape:
            told = "of any rank" if tensor.shape is None else f"shape {list(tensor.shape)}"
            raise _failed(
                f"input {tensor.name!r} ({tensor.dtype}, {told}) has no fixed form in a tf.Example; "
                "leave serve_examples out, and parse with a function of your own under `signatures`",
            )
        features[own.get(tensor.name, tensor.name)] = tf.io.FixedLenFeature(shape, stored)

    def serve_examples(examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(examples, features)
        inputs = {
            tensor.name: tf.cast(value, tensor.dtype) if tensor.dtype != "string" else value
            for tensor in traced.signature.inputs
            for value in [parsed[own.get(tensor.name, tensor.name)]]
        }
        outputs: dict[str, Any] = traced.function(**inputs)
        return {name: tf.identity(value) for name, value in outputs.items()}

    specs = {_EXAMPLES: tf.TensorSpec([traced.calls.batch], tf.string, name=_EXAMPLES)}
    try:
        return tf.function(serve_examples).get_concrete_function(**specs)
    except Exception as error:
        raise _failed(f"cannot be traced: {type(error).__name__}: {error}") from error


def check(function: Any, traced: TracedModel, inputs: Mapping[str, np.ndarray]) -> None:
    """Compares the signature's answers to serialized sample rows with serving_default's answers.

    Raises:
      ModelError: EXPORT_MISMATCH.
    """
    if list(function.structured_input_signature[1]) != [_EXAMPLES]:
        return  # the checkpoint is a SavedModel with a `serve_examples` of its own
    expected = traced.run(inputs)
    examples = np.array(list(_serialized(traced, inputs)), dtype=object)
    observed = tracing.in_calls(traced, functools.partial(tracing.run_function, function), {_EXAMPLES: examples})
    for name, value in expected.items():
        distance = tracing.relative_distance(value, observed[name])
        if distance > _EXAMPLE_TOLERANCE:
            raise ModelError(
                ReasonCode.EXPORT_MISMATCH,
                Stage.EXPORT,
                f"signatures.{SERVE_EXAMPLES}: output {name!r} of parsed sample rows is {distance:.3g} off serving_default, "
                f"relative to its largest value (at most {_EXAMPLE_TOLERANCE:g})",
            )


def _serialized(traced: TracedModel, inputs: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    """Sample rows as tf.Examples, as a client would make them."""
    from tensorflow.core.example import example_pb2

    own = {given: name for name, given in traced.renamed.items()}
    for row in range(min(len(value) for value in inputs.values())):
        example = example_pb2.Example()
        for name, values in inputs.items():
            flat = np.ravel(values[row])
            feature = example.features.feature[own.get(name, name)]
            if flat.dtype.kind in "OSU":
                feature.bytes_list.value.extend(item if isinstance(item, bytes) else str(item).encode() for item in flat)
            elif flat.dtype.kind in "iub":
                feature.int64_list.value.extend(int(item) for item in flat)
            else:
                feature.float_list.value.extend(float(item) for item in flat)
        yield example.SerializeToString()
