"""A traced model -> one float flatbuffer with its signature names, from one conversion of the frozen graph.

TensorFlow's public helper freezes, imports the frozen graph again and copies every constant several times: 2.7 of the 5 s
that ResNet50 takes. Here the constants are put into the graph once, and for a sibling only their values are changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liteferry import flatbuffer
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.tracing import TracedModel


class FrozenGraph:
    """A traced function with constants in place of its variables."""

    def __init__(self, traced: TracedModel) -> None:
        from tensorflow.python.framework import convert_to_constants

        self._traced = traced
        captured = convert_to_constants._FunctionConverterDataInEager(
            func=traced.function, lower_control_flow=False, aggressive_inlining=False
        )
        self._graph, _ = convert_to_constants._replace_variables_by_constants(converter_data=captured)
        self._constants = {node.name: node for node in self._graph.node if node.op == "Const"}

    def refresh(self) -> None:
        """Puts the present values of the variables in: after a sibling's weights were loaded into the traced model."""
        import tensorflow as tf

        function = self._traced.function
        by_handle = {id(variable.handle): variable for variable in function.graph.variables}
        for captured, placeholder in zip(function.captured_inputs, function.graph.internal_captures, strict=True):
            variable = by_handle.get(id(captured))
            if variable is not None:
                node = self._constants[placeholder.op.name]
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(variable.numpy()))

    def convert(self, *, metadata: Mapping[str, Any] | None = None, quantization: str | None = None) -> bytes:
        """Converts with LiteRT's builtin operators only; `metadata` is embedded in the file.

        Args:
          quantization: "float16" or "dynamic_int8" lets TensorFlow quantise the weights on the way.

        Raises:
          ModelError: NEEDS_FLEX, CONVERT_UNSUPPORTED_OP (custom operators) or CONVERT_FAILED, with the operators named.
        """
        from tensorflow.lite.python.convert_phase import ConverterError

        try:
            content = self._converter(quantization).convert()
        except ConverterError as error:
            raise _conversion_error(error) from error
        except Exception as error:
            message = f"{type(error).__name__}: {_first_lines(str(error))}"
            raise ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, message) from error
        traced = self._traced
        inputs = {spec.name: tensor.op.name for spec, tensor in zip(traced.signature.inputs, _graph_inputs(traced), strict=True)}
        outputs = {name: tensor.op.name for name, tensor in zip(traced.output_order, traced.function.outputs, strict=True)}
        return flatbuffer.add_signature(content, inputs=inputs, outputs=outputs, metadata=metadata)

    def _converter(self, quantization: str | None) -> Any:
        import tensorflow as tf
        from tensorflow.lite.python import lite

        graph, function = self._graph, self._traced.function
        # The signature's placeholders alone: `function.inputs` also holds what it captured, and a captured constant that is
        # called an input becomes one, filled with zeros by whoever runs the file.
        inputs = _graph_inputs(self._traced)

        class Converter(lite.TFLiteFrozenGraphConverterV2):  # type: ignore[misc]
            """TensorFlow's converter, handed a graph that is frozen already."""

            def _freeze_concrete_function(self) -> tuple[Any, list[Any], list[Any], Any]:
                return graph, inputs, function.outputs, function

        converter = Converter([function])
        converter.experimental_lower_to_saved_model = False
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantization is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16] if quantization == "float16" else []
        return converter


def convert(traced: TracedModel) -> bytes:
    """One float flatbuffer of a traced model; see `FrozenGraph.convert`."""
    return FrozenGraph(traced).convert()


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
