"""A traced model -> one float flatbuffer with its signature names, from one conversion of the frozen graph.

TensorFlow's public helper freezes, imports the frozen graph again and copies every constant several times: 2.7 of the 5 s that
ResNet50 takes. Here the constants are put into the graph once; for a sibling only their values change.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import tracing
from liteferry.loading.tracing import TracedModel
from liteferry.tflite import converter_errors, converter_options, rewriting, unrolled


class FrozenGraph:
    """A traced function with constants in place of its variables."""

    def __init__(self, traced: TracedModel, *, batch: int | None = None, layers: Mapping[str, str] | None = None) -> None:
        """`batch`: the size the trace's batch is fixed at. `layers`: layer name -> class, for the words of errors."""
        from tensorflow.python.framework import convert_to_constants

        self._traced = traced
        self._layers = layers or {}
        captured = convert_to_constants._FunctionConverterDataInEager(
            func=traced.function, lower_control_flow=False, aggressive_inlining=False
        )
        self._graph, _ = convert_to_constants._replace_variables_by_constants(converter_data=captured)
        if batch is not None:
            _fix_lists(self._graph, batch)
        self._constants = {node.name: node for node in self._graph.node if node.op == "Const"}

    def refresh(self) -> None:
        """Updates the constants to the current values of the variables, after a sibling's weights were loaded into the traced
        model.
        """
        import tensorflow as tf

        function = self._traced.function
        by_handle = {id(variable.handle): variable for variable in function.graph.variables}
        for captured, placeholder in zip(function.captured_inputs, function.graph.internal_captures, strict=True):
            variable = by_handle.get(id(captured))
            if variable is not None:
                node = self._constants[placeholder.op.name]
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(variable.numpy()))

    def unrolled(self, rows: Mapping[str, Any], *, most_steps: int) -> FrozenGraph:
        """The same without loops, see `unrolled.unroll`; `rows`: one call's worth, by input name."""
        copied = copy.copy(self)
        copied._graph = unrolled.unroll(self._graph, rows, most_steps=most_steps)
        return copied

    def convert(
        self, *, metadata: Mapping[str, Any] | None = None, quantization: str | None = None, select_tf_ops: bool = False
    ) -> bytes:
        """Converts with LiteRT's builtin operators.

        Args:
          metadata: embedded in the file.
          quantization: what TensorFlow quantises on the way, see `converter_options`.
          select_tf_ops: operators that LiteRT does not have stay TensorFlow's; such a file runs only with the Flex library.

        Raises:
          ModelError: NEEDS_FLEX, CONVERT_UNSUPPORTED_OP (custom operators) or CONVERT_FAILED, with the operators named.
        """
        from tensorflow.lite.python.convert_phase import ConverterError

        try:
            content = self._converter(quantization, select_tf_ops=select_tf_ops).convert()
        except ConverterError as error:
            raise converter_errors.conversion_error(error, self._layers) from error
        except Exception as error:
            assigns = tracing.assigned_variables(self._traced.function)
            raise _keeps_state(assigns) if assigns else converter_errors.other_error(error) from error
        traced = self._traced
        inputs = {spec.name: tensor.op.name for spec, tensor in zip(traced.signature.inputs, _graph_inputs(traced), strict=True)}
        outputs = {name: tensor.op.name for name, tensor in zip(traced.output_order, traced.function.outputs, strict=True)}
        return rewriting.add_signature(content, inputs=inputs, outputs=outputs, metadata=metadata)

    def _converter(self, quantization: str | None, *, select_tf_ops: bool) -> Any:
        import tensorflow as tf
        from tensorflow.lite.python import lite

        graph, function = self._graph, self._traced.function
        # The signature's placeholders alone: `function.inputs` also holds what it captured, and a captured constant listed as an
        # input would become one, and runtimes would fill it with zeros.
        inputs = _graph_inputs(self._traced)

        class Converter(lite.TFLiteFrozenGraphConverterV2):  # type: ignore[misc]
            """TensorFlow's converter for a graph that is already frozen."""

            def _freeze_concrete_function(self) -> tuple[Any, list[Any], list[Any], Any]:
                return graph, inputs, function.outputs, function

        # Where each node stands in Python source takes 0.1 s for MobileNetV2 to look up. Errors name nodes without it.
        converter = Converter([function], _NoDebugInfo())
        converter.experimental_lower_to_saved_model = False
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if select_tf_ops:
            converter.target_spec.supported_ops.append(tf.lite.OpsSet.SELECT_TF_OPS)
        if quantization is not None:
            converter_options.quantize(converter, quantization)
        return converter


def _keeps_state(assigns: Sequence[str]) -> ModelError:
    return ModelError(
        ReasonCode.CONVERT_FAILED,
        Stage.CONVERT,
        f"its graph assigns to variables on every call ({', '.join(assigns[:5])}), and in a .tflite file variables are "
        "constants; export a function that only reads them",
    )


class _NoDebugInfo:
    """Stands in for source locations, which TensorFlow looks up for its error messages; it has none."""

    def __init__(self) -> None:
        from tensorflow.core.framework import graph_debug_info_pb2

        self.graph_debug_info = graph_debug_info_pb2.GraphDebugInfo()


def convert(traced: TracedModel) -> bytes:
    """Converts with LiteRT's builtin operators.

    Args:
      metadata: embedded in the file.
      quantization: "float16" or "dynamic_int8" lets TensorFlow quantise the weights during conversion.
      select_tf_ops: operators that LiteRT does not have stay TensorFlow operators; such a file runs only with the Flex library.

    Raises:
      ModelError: NEEDS_FLEX, CONVERT_UNSUPPORTED_OP (custom operators) or CONVERT_FAILED, with the operators named.
    """
    return FrozenGraph(traced).convert()


_ELEMENT_SHAPE = {"TensorListReserve": 0, "TensorListFromTensor": 1, "TensorListStack": 1}  # operator -> index of the input


def _fix_lists(graph: Any, batch: int) -> None:
    """Puts the batch size into the shapes of tensor lists, which are -1 in a graph traced with a free batch, as a SavedModel's
    is.

    Constants may be shared with other operators, so each list gets its own.
    """
    import tensorflow as tf

    constants = {node.name: node for node in graph.node if node.op == "Const"}
    added = []
    for node in graph.node:
        position = _ELEMENT_SHAPE.get(node.op)
        constant = None if position is None else constants.get(node.input[position])
        if constant is None:
            continue
        shape = tf.make_ndarray(constant.attr["value"].tensor)
        if shape.ndim != 1 or len(shape) == 0 or shape[0] != -1 or -1 in shape[1:]:
            continue
        shape = shape.copy()
        shape[0] = batch
        fixed = type(constant)()
        fixed.CopyFrom(constant)
        fixed.name = f"{node.name}/fixed_element_shape"
        fixed.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(shape))
        node.input[position] = fixed.name
        added.append(fixed)
    graph.node.extend(added)


def _graph_inputs(traced: TracedModel) -> list[Any]:
    """The placeholders of the signature's inputs, in its order; tracing gave each its signature name."""
    by_name = {tensor.op.name: tensor for tensor in traced.function.inputs}
    return [by_name[spec.name] for spec in traced.signature.inputs]
