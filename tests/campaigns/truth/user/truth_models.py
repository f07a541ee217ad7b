"""Models over the libraries' own layers. Each is a function of the library (Keras 3 or tf_keras) and of a source of data; its
weights are made random afterwards, by who calls it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

ROWS = 24


@dataclasses.dataclass(kw_only=True)
class Made:
    """A live model, its sample columns, and how they are handed to it (None: as its inputs are arranged)."""

    model: Any
    columns: dict[str, np.ndarray]
    feed: Callable[[Any, dict[str, Any]], Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """A function that makes a model, the library it is for (None: both) and the kinds of file it is saved as (None: all)."""

    make: Callable[..., Made]
    only: str | None = None
    files: tuple[str, ...] | None = None
    own_code: bool = False
    is_lite: bool = True  # float32 can be had without operators that only TensorFlow has


TABLE: dict[str, Architecture] = {}


def architecture(**settings: Any) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    def register(make: Callable[..., Made]) -> Callable[..., Made]:
        TABLE[make.__name__] = Architecture(make=make, **settings)
        return make

    return register


def floats(data: np.random.Generator, *shape: int) -> np.ndarray:
    return data.normal(size=(ROWS, *shape)).astype(np.float32)


def chain(k: Any, data: np.random.Generator, shape: tuple[int, ...], *layers: Any) -> Made:
    """A Sequential over one input `x`."""
    return Made(model=k.Sequential([k.Input(shape, name="x"), *layers]), columns={"x": floats(data, *shape)})


# name -> (shape of the input, function of the layers' module that gives the layers), for both libraries
_CHAINS: dict[str, tuple[tuple[int, ...], Callable[[Any], list[Any]]]] = {
    "dense": ((6,), lambda on: [on.Dense(8, "relu"), on.Dense(3, "softmax")]),
    "dense_named": ((6,), lambda on: [on.Dense(8, "relu", name="hidden"), on.Dense(3, name="scores")]),
    "dense_no_bias": ((6,), lambda on: [on.Dense(8, "tanh", use_bias=False), on.Dense(3)]),
    "dense_equal_shapes": ((4,), lambda on: [on.Dense(4, "tanh", name=name) for name in ("b", "a", "d", "c")]),
    "dense_on_sequences": ((5, 3), lambda on: [on.Dense(4, "relu"), on.Flatten(), on.Dense(2)]),
    "batch_normalisation": ((6,), lambda on: [on.Dense(8), on.BatchNormalization(), on.ReLU(), on.Dense(3)]),
    "batch_normalisation_bare": ((6,), lambda on: [on.BatchNormalization(center=False, scale=False, momentum=0.5)]),
    "batch_normalisation_epsilon": ((6,), lambda on: [on.BatchNormalization(epsilon=0.3), on.Dense(2)]),
    "batch_normalisation_axis": ((4, 5), lambda on: [on.BatchNormalization(axis=1), on.Flatten(), on.Dense(2)]),
    "layer_normalisation": ((6,), lambda on: [on.Dense(8), on.LayerNormalization(), on.Dense(3)]),
    "layer_normalisation_axes": ((4, 5), lambda on: [on.LayerNormalization(axis=[1, 2]), on.Flatten(), on.Dense(3)]),
    "group_normalisation": ((4, 4, 6), lambda on: [on.GroupNormalization(groups=3), on.Flatten(), on.Dense(3)]),
    "unit_normalisation": ((6,), lambda on: [on.Dense(5), on.UnitNormalization()]),
    "conv2d": ((8, 8, 3), lambda on: [on.Conv2D(4, 3, activation="relu"), on.MaxPooling2D(), on.Flatten(), on.Dense(3)]),
    "conv2d_same": ((7, 7, 2), lambda on: [on.Conv2D(4, 3, strides=2, padding="same"), on.GlobalAveragePooling2D(), on.Dense(3)]),
    "conv2d_dilated": ((9, 9, 2), lambda on: [on.Conv2D(3, 3, dilation_rate=2), on.GlobalMaxPooling2D(keepdims=True)]),
    "conv2d_grouped": ((6, 6, 4), lambda on: [on.Conv2D(4, 3, groups=2), on.GlobalAveragePooling2D()]),
    "conv2d_block": (
        (8, 8, 3),
        lambda on: [
            on.Conv2D(4, 3, use_bias=False),
            on.BatchNormalization(),
            on.Activation("swish"),
            on.AveragePooling2D(2),
            on.Flatten(),
        ],
    ),
    "depthwise": ((8, 8, 3), lambda on: [on.DepthwiseConv2D(3, depth_multiplier=2), on.GlobalAveragePooling2D(), on.Dense(2)]),
    "separable": (
        (8, 8, 3),
        lambda on: [on.SeparableConv2D(4, 3), on.BatchNormalization(), on.GlobalMaxPooling2D(), on.Dense(2)],
    ),
    "transposed": ((4, 4, 3), lambda on: [on.Conv2DTranspose(2, 3, strides=2, padding="same")]),
    "conv1d": ((10, 3), lambda on: [on.Conv1D(4, 3, padding="causal", dilation_rate=2), on.GlobalMaxPooling1D(), on.Dense(2)]),
    "separable1d": ((10, 3), lambda on: [on.SeparableConv1D(4, 3), on.GlobalAveragePooling1D()]),
    "depthwise1d": ((10, 3), lambda on: [on.DepthwiseConv1D(3), on.AveragePooling1D(2), on.Flatten(), on.Dense(2)]),
    "transposed1d": ((6, 3), lambda on: [on.Conv1DTranspose(2, 3, strides=2)]),
    "conv3d": ((5, 5, 5, 2), lambda on: [on.Conv3D(3, 3), on.GlobalAveragePooling3D(), on.Dense(2)]),
    "lstm": ((6, 3), lambda on: [on.LSTM(4), on.Dense(2)]),
    "lstm_stack": ((6, 3), lambda on: [on.LSTM(4, return_sequences=True), on.LSTM(4, go_backwards=True), on.Dense(2)]),
    "gru": ((6, 3), lambda on: [on.GRU(4), on.Dense(2)]),
    "gru_before": ((6, 3), lambda on: [on.GRU(4, reset_after=False), on.Dense(2)]),
    "simple_rnn": ((6, 3), lambda on: [on.SimpleRNN(4, return_sequences=True), on.Flatten()]),
    "bidirectional": ((6, 3), lambda on: [on.Bidirectional(on.LSTM(4)), on.Dense(2)]),
    "bidirectional_sum": (
        (6, 3),
        lambda on: [on.Bidirectional(on.GRU(4, return_sequences=True), merge_mode="sum"), on.Flatten()],
    ),
    "rnn_cells": ((6, 3), lambda on: [on.RNN([on.LSTMCell(4), on.GRUCell(4)]), on.Dense(2)]),
    "masked_lstm": ((6, 3), lambda on: [on.Masking(0.0), on.LSTM(4), on.Dense(2)]),
    "time_distributed": ((4, 5), lambda on: [on.TimeDistributed(on.Dense(3, "relu")), on.Flatten(), on.Dense(2)]),
    "time_distributed_conv": ((3, 6, 6, 2), lambda on: [on.TimeDistributed(on.Conv2D(3, 3)), on.Flatten(), on.Dense(2)]),
    "conv_lstm": ((3, 6, 6, 2), lambda on: [on.ConvLSTM2D(2, 3), on.GlobalAveragePooling2D()]),
    "prelu": ((5, 4), lambda on: [on.Dense(4), on.PReLU(shared_axes=[1]), on.Flatten(), on.Dense(2)]),
    "leaky": ((6,), lambda on: [on.Dense(6), on.LeakyReLU(0.37), on.Dense(4), on.ELU(0.4), on.Dense(3), on.Softmax()]),
    "relu_arguments": ((6,), lambda on: [on.Dense(6), on.ReLU(max_value=1.0, negative_slope=0.2, threshold=0.1), on.Dense(2)]),
    "hard_sigmoid": ((6,), lambda on: [on.Dense(6, "hard_sigmoid"), on.Dense(3)]),
    "gelu_elu_selu": ((6,), lambda on: [on.Dense(6, "gelu"), on.Dense(6, "elu"), on.Dense(6, "selu"), on.Dense(3, "softsign")]),
    "softplus_swish": ((6,), lambda on: [on.Dense(6, "softplus"), on.Dense(6, "swish"), on.Dense(6, "exponential"), on.Dense(3)]),
    "softmax_axis": ((4, 3), lambda on: [on.Dense(3), on.Softmax(axis=1)]),
    "reshapes": (
        (4, 6),
        lambda on: [
            on.Permute((2, 1)),
            on.Reshape((3, 8)),
            on.Cropping1D(1),
            on.ZeroPadding1D(2),
            on.UpSampling1D(2),
            on.Flatten(),
        ],
    ),
    "image_shapes": (
        (6, 5, 2),
        lambda on: [on.ZeroPadding2D((1, 2)), on.Cropping2D(((1, 0), (0, 2))), on.UpSampling2D(2, interpolation="bilinear")],
    ),
    "repeat": ((5,), lambda on: [on.RepeatVector(3), on.Dense(2)]),
    "dropouts": ((6,), lambda on: [on.Dropout(0.5), on.Dense(5), on.GaussianNoise(1.0), on.AlphaDropout(0.3), on.Dense(2)]),
    "spatial_dropouts": ((6, 3), lambda on: [on.SpatialDropout1D(0.5), on.Conv1D(2, 3), on.Flatten(), on.GaussianDropout(0.4)]),
    "regularised": ((6,), lambda on: [on.Dense(5, kernel_regularizer="l2"), on.ActivityRegularization(0.1), on.Dense(2)]),
    "constrained": ((6,), lambda on: [on.Dense(5, kernel_constraint="non_neg"), on.Dense(2, bias_initializer="ones")]),
    "rescaling": (
        (6, 6, 3),
        lambda on: [on.Rescaling(0.1, offset=-3.0), on.Resizing(4, 5), on.CenterCrop(3, 3), on.Flatten(), on.Dense(2)],
    ),
    "resizing_nearest": ((6, 6, 3), lambda on: [on.Resizing(9, 4, interpolation="nearest"), on.Conv2D(2, 3)]),
    "resizing_aspect": ((6, 8, 3), lambda on: [on.Resizing(4, 4, crop_to_aspect_ratio=True), on.Flatten(), on.Dense(2)]),
    "augmentation": (
        (8, 8, 3),
        lambda on: [
            on.RandomFlip(),
            on.RandomRotation(0.2),
            on.RandomZoom(0.2),
            on.RandomContrast(0.2),
            on.Conv2D(2, 3),
            on.Flatten(),
        ],
    ),
    "einsum_dense": ((4, 5), lambda on: [on.EinsumDense("abc,cd->abd", output_shape=(None, 3), bias_axes="d"), on.Flatten()]),
    "activation_layers": (
        (6,),
        lambda on: [on.Dense(4), on.Activation("sigmoid"), on.Activation("linear"), on.Activation("tanh")],
    ),
    "frozen_between": ((4,), lambda on: [on.Dense(4, trainable=number % 2 == 0, name=f"h{number}") for number in range(4)]),
    "spectral": ((6,), lambda on: [on.SpectralNormalization(on.Dense(5)), on.Dense(2)]),
    "nothing_but_shape": ((2, 3), lambda on: [on.Flatten()]),
}
_ONLY = {
    "keras": {
        "rms_normalisation": ((6,), lambda on: [on.Dense(5), on.RMSNormalization(), on.Dense(2)]),
        "lora": ((6,), lambda on: [on.Dense(5, lora_rank=2, name="low"), on.Dense(2)]),
        "depthwise_dilated": ((9, 9, 3), lambda on: [on.DepthwiseConv2D(3, dilation_rate=2), on.GlobalAveragePooling2D()]),
        "recent_activations": (
            (6,),
            lambda on: [
                on.Dense(6, "hard_silu"),
                on.Dense(6, "squareplus"),
                on.Dense(4, "celu"),
                on.Dense(3, "mish"),
            ],
        ),
        "leaky_names": (
            (6,),
            lambda on: [on.Dense(6, "leaky_relu"), on.Dense(6, "relu6"), on.Dense(6, "log_softmax"), on.Dense(3, "tanh_shrink")],
        ),
        "auto_contrast": ((6, 6, 3), lambda on: [on.Rescaling(40.0, 120.0), on.AutoContrast(), on.Flatten(), on.Dense(2)]),
    },
    "tf_keras": {
        "locally_connected": ((8, 3), lambda on: [on.LocallyConnected1D(3, 3), on.Flatten(), on.Dense(2)]),
        "thresholded": ((6,), lambda on: [on.Dense(6), on.ThresholdedReLU(0.3), on.Dense(2)]),
        "renormalised": ((6,), lambda on: [on.Dense(5), on.BatchNormalization(renorm=True), on.Dense(2)]),
        "synchronised": ((6,), lambda on: [on.Dense(5), on.BatchNormalization(synchronized=True), on.Dense(2)]),
        "float_activations": (
            (6,),
            lambda on: [on.Dense(6, "mish"), on.Dense(6, "relu"), on.Dense(3, "softsign")],
        ),
    },
}


def _of_chain(shape: tuple[int, ...], layers: Callable[[Any], list[Any]]) -> Callable[..., Made]:
    return lambda k, data: chain(k, data, shape, *layers(k.layers))


TABLE |= {name: Architecture(make=_of_chain(*spec)) for name, spec in _CHAINS.items()}
TABLE |= {
    name: Architecture(make=_of_chain(*spec), only=library) for library, specs in _ONLY.items() for name, spec in specs.items()
}
