"""Architectures that compute the same in Keras 3 and tf_keras, so that one library can replace the other if it cannot load a
file.

The lists are of allowed names: a layer, an activation or a setting that is not listed may differ, and some differ silently
(`hard_sigmoid`, GELU's approximation, bilinear resizing). `tests/checkpoints/test_same_function.py` checks every entry in both
libraries, with the same weights on the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from liteferry.checkpoints.config_scan import serialized_objects

# At inference these do nothing, rearrange tensors, or compute a one-line formula.
LAYERS = frozenset(
    {
        "Activation",
        "ActivityRegularization",
        "Add",
        "AlphaDropout",
        "Average",
        "AveragePooling1D",
        "AveragePooling2D",
        "BatchNormalization",
        "Bidirectional",
        "Concatenate",
        "Conv1D",
        "Conv2D",
        "Conv2DTranspose",
        "Cropping1D",
        "Cropping2D",
        "Dense",
        "DepthwiseConv2D",
        "Dropout",
        "ELU",
        "Embedding",
        "Flatten",
        "GRU",
        "GaussianDropout",
        "GaussianNoise",
        "GlobalAveragePooling1D",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "LSTM",
        "LayerNormalization",
        "MaxPooling1D",
        "MaxPooling2D",
        "Maximum",
        "Minimum",
        "Multiply",
        "Permute",
        "RepeatVector",
        "Rescaling",
        "Reshape",
        "SeparableConv2D",
        "SimpleRNN",
        "Softmax",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
        "Subtract",
        "TimeDistributed",
        "UpSampling1D",
        "ZeroPadding1D",
        "ZeroPadding2D",
    }
)
ACTIVATIONS = frozenset(
    {"elu", "exponential", "linear", "relu", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "swish", "tanh"}
)
_CONTAINERS = frozenset({"Functional", "InputLayer", "Model", "Sequential"})
_SIDE_OBJECTS = ("_initializer", "_regularizer", "_constraint")
_PLAIN_DTYPES = ("float32", "int32", "int64")


def differences(config: Any) -> list[str]:
    """The parts of an architecture that are not known to compute the same in both libraries, each once; empty when there are
    none.
    """
    return list(dict.fromkeys(found for node in serialized_objects(_layers_alone(config)) for found in _of_node(node)))


def _layers_alone(node: Any) -> Any:
    """A config without the objects that only initialise or constrain weights."""
    if isinstance(node, dict):
        return {key: _layers_alone(value) for key, value in node.items() if not key.endswith(_SIDE_OBJECTS)}
    return [_layers_alone(item) for item in node] if isinstance(node, list) else node


def _of_node(node: dict[str, Any]) -> Iterator[str]:
    class_name, inner = str(node["class_name"]), node.get("config")
    if class_name in ("__keras_tensor__", "__tensor__"):
        return
    if class_name == "DTypePolicy":
        name = inner.get("name") if isinstance(inner, dict) else inner
        if name not in _PLAIN_DTYPES:
            yield f"dtype {name}"
        return
    if class_name == "function":
        if inner not in ACTIVATIONS:
            yield f"the function {inner}"
        return
    if class_name not in LAYERS | _CONTAINERS:
        yield class_name
    if isinstance(inner, dict):
        yield from _settings(class_name, inner)


def _settings(class_name: str, inner: dict[str, Any]) -> Iterator[str]:
    for key in ("activation", "recurrent_activation"):
        value = inner.get(key)
        if isinstance(value, str) and value not in ACTIVATIONS:
            yield f"the activation {value}"
    if isinstance(inner.get("dtype"), str) and inner["dtype"] not in _PLAIN_DTYPES:
        yield f"dtype {inner['dtype']}"
    if inner.get("data_format") == "channels_first":
        yield f"{class_name} with channels_first"
    for key in ("stateful", "go_backwards", "unroll", "time_major", "mask_zero", "ragged", "sparse"):
        if inner.get(key) and not (key == "go_backwards" and class_name in ("LSTM", "GRU", "SimpleRNN")):
            yield f"{class_name} with {key}"
