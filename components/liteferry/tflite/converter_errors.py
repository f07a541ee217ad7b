"""Errors of the converter as messages: which TensorFlow operators it refused, and which layers of the model they come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage

_MOST_PLACES = 3


def layer_classes(keep: Any) -> dict[str, str]:
    """Layer name -> class name of a Keras model; {} for anything else."""
    layers = keep._flatten_layers() if hasattr(keep, "_flatten_layers") else []
    return {str(layer.name): type(layer).__name__ for layer in layers if layer is not keep}


def layer_of(node: str, layers: Mapping[str, str]) -> str | None:
    """The innermost layer that a graph node belongs to. The node's scope contains the layer's name, possibly with a number that
    TensorFlow added.
    """
    for scope in reversed(node.split("/")):
        for name in (scope, re.sub(r"_\d+$", "", scope)):
            if name in layers:
                return name
    return None


def conversion_error(error: Any, layers: Mapping[str, str]) -> ModelError:
    """A ConverterError as NEEDS_FLEX, CONVERT_UNSUPPORTED_OP (custom operators) or CONVERT_FAILED, with operators and layers.

    Args:
      error: carries structured errors with operators and the graph nodes they came from.
      layers: from `layer_classes`.
    """
    from tensorflow.compiler.mlir.lite.metrics.converter_error_data_pb2 import ConverterErrorData

    codes = {ConverterErrorData.ErrorCode.Name(found.error_code) for found in error.errors}
    operators = _places(error.errors, layers)
    named = f": {_in_words(operators)}" if operators else ""
    text = _first_lines(_essence(str(error)))
    # Tensor lists, which recurrent layers use, have no error code of their own.
    if "ERROR_NEEDS_FLEX_OPS" in codes or any(name.startswith("tf.TensorList") for name in operators):
        message = f"needs TensorFlow operators that LiteRT does not have{named}. {text}"
        return ModelError(ReasonCode.NEEDS_FLEX, Stage.CONVERT, message)
    if "ERROR_NEEDS_CUSTOM_OPS" in codes:
        message = f"needs operators that neither LiteRT nor TensorFlow's runtime for it has{named}. {text}"
        return ModelError(ReasonCode.CONVERT_UNSUPPORTED_OP, Stage.CONVERT, message)
    return ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, f"the converter refused{named}. {text}")


def other_error(error: Exception) -> ModelError:
    """The error for any other exception of the converter."""
    return ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, f"{type(error).__name__}: {_first_lines(str(error))}")


def _places(errors: Any, layers: Mapping[str, str]) -> dict[str, list[str]]:
    """Operator -> where it is used: layers with their class, or graph nodes where no layer is known."""
    found: dict[str, list[str]] = {}
    for one in errors:
        if one.operator.name in ("", "tf.Const"):
            continue
        places = found.setdefault(one.operator.name, [])
        for node in _nodes(one.location):
            layer = layer_of(node, layers)
            places.append(f"layer {layer!r} ({layers[layer]})" if layer else f"node {node!r}")
            break
    return {name: sorted(set(places)) for name, places in sorted(found.items())}


def _nodes(location: Any) -> Iterator[str]:
    """Names of graph nodes, whole paths first, without the wrapper calls of a loaded SavedModel."""
    names = [call.name.partition("@")[0].removesuffix(":") for call in location.call if call.name]
    for name in sorted(names, key=lambda name: -name.count("/")):
        yield own_name(name)


def own_name(node: str) -> str:
    """A node's name without the wrapper calls of a loaded SavedModel."""
    return re.sub(r"^(?:(?:Stateful)?PartitionedCall(?:_\d+)?/)+", "", node)


def _in_words(operators: Mapping[str, list[str]]) -> str:
    def places(found: list[str]) -> str:
        more = f" and {len(found) - _MOST_PLACES} more" if len(found) > _MOST_PLACES else ""
        return f" in {', '.join(found[:_MOST_PLACES])}{more}" if found else ""

    return "; ".join(f"{name}{places(found)}" for name, found in operators.items())


def _essence(text: str) -> str:
    """The converter's errors without the Python source lines it prints around each."""
    errors = [line.partition("error: ")[2].strip() for line in text.splitlines() if "error: " in line]
    return "; ".join(dict.fromkeys(errors)) or text


def _first_lines(text: str, *, limit: int = 1500) -> str:
    text = text.strip()
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text):,} characters in all)"
