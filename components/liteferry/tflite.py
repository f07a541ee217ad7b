"""A traced model -> one float flatbuffer with its signature names, from one conversion of the frozen graph."""

from __future__ import annotations

from typing import Any

from liteferry import flatbuffer
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.tracing import TracedModel


def convert(traced: TracedModel) -> bytes:
    """Converts with LiteRT's builtin operators only.

    Raises:
      ModelError: NEEDS_FLEX, CONVERT_UNSUPPORTED_OP (custom operators) or CONVERT_FAILED, with the operators named.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.function])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        content = converter.convert()
    except ConverterError as error:
        raise _conversion_error(error) from error
    except Exception as error:
        raise ModelError(
            ReasonCode.CONVERT_FAILED, Stage.CONVERT, f"{type(error).__name__}: {_first_lines(str(error))}"
        ) from error
    inputs = {spec.name: tensor.op.name for spec, tensor in zip(traced.signature.inputs, _graph_inputs(traced), strict=True)}
    outputs = {name: tensor.op.name for name, tensor in zip(traced.output_order, traced.function.outputs, strict=True)}
    return flatbuffer.add_signature(content, inputs=inputs, outputs=outputs)


def _graph_inputs(traced: TracedModel) -> list[Any]:
    """The placeholders of the signature's inputs, in its order; each was given its signature name when it was traced."""
    by_name = {tensor.op.name: tensor for tensor in traced.function.inputs}
    return [by_name[spec.name] for spec in traced.signature.inputs]


def _conversion_error(error: Any) -> ModelError:
    from tensorflow.compiler.mlir.lite.metrics.converter_error_data_pb2 import ConverterErrorData

    codes = {ConverterErrorData.ErrorCode.Name(found.error_code) for found in error.errors}
    operators = sorted({found.operator.name for found in error.errors if found.operator.name} - {"tf.Const"})
    named = f" ({', '.join(operators)})" if operators else ""
    text = _first_lines(_essence(str(error)))
    # Lists of tensors, which recurrent layers are made of, come without a code of their own.
    if "ERROR_NEEDS_FLEX_OPS" in codes or any(name.startswith("tf.TensorList") for name in operators):
        message = (
            f"needs TensorFlow operators that LiteRT does not have{named}; a file that uses them cannot be verified here. {text}"
        )
        return ModelError(ReasonCode.NEEDS_FLEX, Stage.CONVERT, message)
    if "ERROR_NEEDS_CUSTOM_OPS" in codes:
        message = f"needs operators that neither LiteRT nor TensorFlow's runtime for it has{named}. {text}"
        return ModelError(ReasonCode.CONVERT_UNSUPPORTED_OP, Stage.CONVERT, message)
    return ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, f"the converter refused{named}: {text}")


def _essence(text: str) -> str:
    """The converter's errors without the Python source lines it prints around each."""
    errors = [line.partition("error: ")[2].strip() for line in text.splitlines() if "error: " in line]
    return "; ".join(dict.fromkeys(errors)) or text


def _first_lines(text: str, *, limit: int = 1500) -> str:
    text = text.strip()
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text):,} characters in all)"
