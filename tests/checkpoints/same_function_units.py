"""Runs in a sandbox: each layer that `same_function` lists, in both libraries, with the same weights on the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np

# Shape of one row, and the settings to try. Several inputs: `merge`.
SEQUENCE, IMAGE, FLAT = (6, 4), (8, 8, 4), (5,)
RNN: list[dict[str, Any]] = [{"units": 3}, {"units": 3, "return_sequences": True, "go_backwards": True}]
CONVOLUTION: list[dict[str, Any]] = [
    {"filters": 3, "kernel_size": 3},
    {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"},
    {"filters": 4, "kernel_size": 2, "dilation_rate": 2, "padding": "same", "use_bias": False},
]
POOLING: list[dict[str, Any]] = [{"pool_size": 2}, {"pool_size": 3, "strides": 2, "padding": "same"}]
CASES: dict[str, tuple[tuple[int, ...], list[dict[str, Any]]]] = {
    "ActivityRegularization": (FLAT, [{"l2": 0.1}]),
    "AlphaDropout": (FLAT, [{"rate": 0.5}]),
    "AveragePooling1D": (SEQUENCE, POOLING),
    "AveragePooling2D": (IMAGE, POOLING),
    "BatchNormalization": (IMAGE, [{}, {"epsilon": 0.1, "scale": False}, {"center": False}]),
    "Conv1D": (
        SEQUENCE,
        [*CONVOLUTION, {"filters": 3, "kernel_size": 2, "padding": "causal"}, {"filters": 4, "kernel_size": 1, "groups": 2}],
    ),
    "Conv2D": (IMAGE, CONVOLUTION),
    "Conv2DTranspose": (IMAGE, CONVOLUTION[:2]),
    "Cropping1D": (SEQUENCE, [{"cropping": (1, 2)}]),
    "Cropping2D": (IMAGE, [{"cropping": ((1, 2), (0, 1))}]),
    "Dense": (SEQUENCE, [{"units": 3}, {"units": 2, "use_bias": False}]),
    "DepthwiseConv2D": (IMAGE, [{"kernel_size": 3, "depth_multiplier": 2}, {"kernel_size": 3, "strides": 2, "padding": "same"}]),
    "Dropout": (FLAT, [{"rate": 0.5}]),
    "ELU": (FLAT, [{"alpha": 0.7}]),
    "Embedding": (FLAT, [{"input_dim": 9, "output_dim": 4}]),
    "Flatten": (IMAGE, [{}]),
    "GRU": (SEQUENCE, [settings | {"reset_after": after} for settings in RNN for after in (True, False)]),
    "GaussianDropout": (FLAT, [{"rate": 0.5}]),
    "GaussianNoise": (FLAT, [{"stddev": 0.5}]),
    "GlobalAveragePooling1D": (SEQUENCE, [{}, {"keepdims": True}]),
    "GlobalAveragePooling2D": (IMAGE, [{}, {"keepdims": True}]),
    "GlobalMaxPooling1D": (SEQUENCE, [{}]),
    "GlobalMaxPooling2D": (IMAGE, [{}]),
    "LSTM": (SEQUENCE, [*RNN, {"units": 3, "use_bias": False}]),
    "LayerNormalization": (SEQUENCE, [{}, {"epsilon": 0.1, "axis": [1, 2]}]),
    "MaxPooling1D": (SEQUENCE, POOLING),
    "MaxPooling2D": (IMAGE, POOLING),
    "Permute": (IMAGE, [{"dims": (3, 1, 2)}]),
    "RepeatVector": (FLAT, [{"n": 3}]),
    "Rescaling": (IMAGE, [{"scale": 0.1, "offset": -1.0}]),
    "Reshape": (IMAGE, [{"target_shape": (16, 16)}, {"target_shape": (-1, 4)}]),
    "SeparableConv2D": (IMAGE, [{"filters": 3, "kernel_size": 3, "depth_multiplier": 2}, CONVOLUTION[1]]),
    "SimpleRNN": (SEQUENCE, RNN),
    "Softmax": (SEQUENCE, [{}, {"axis": 1}]),
    "SpatialDropout1D": (SEQUENCE, [{"rate": 0.5}]),
    "SpatialDropout2D": (IMAGE, [{"rate": 0.5}]),
    "SpatialDropout3D": ((4, 4, 4, 2), [{"rate": 0.5}]),
    "UpSampling1D": (SEQUENCE, [{"size": 3}]),
    "ZeroPadding1D": (SEQUENCE, [{"padding": (1, 2)}]),
    "ZeroPadding2D": (IMAGE, [{"padding": ((1, 2), (0, 3))}]),
}
MERGES: dict[str, list[dict[str, Any]]] = {
    "Add": [{}],
    "Average": [{}],
    "Concatenate": [{}, {"axis": 1}],
    "Maximum": [{}],
    "Minimum": [{}],
    "Multiply": [{}],
    "Subtract": [{}],
}
WRAPPERS = ("Activation", "Bidirectional", "TimeDistributed")


def compare_layers(_: Any, reporter: Any) -> None:
    """The largest difference of each layer and each activation, relative to the largest answer."""
    import keras
    import tf_keras

    from liteferry.loading.same_function import ACTIVATIONS

    random = np.random.default_rng(5)
    found: dict[str, float] = {}

    def add(name: str, shape: tuple[int, ...], make: Any, inputs: int = 1) -> None:
        models = [_model(library, shape, make, inputs) for library in (tf_keras, keras)]
        weights = [np.abs(random.normal(size=weight.shape)) + 0.1 for weight in models[0].get_weights()]
        for model in models:
            model.set_weights([weight.reshape(own.shape) for weight, own in zip(weights, model.get_weights(), strict=True)])
        rows = [random.normal(size=(4, *shape)).astype(np.float32) * 2 for _ in range(inputs)]
        if name == "Embedding":
            rows = [np.abs(row).astype(np.float32) % 9 for row in rows]
        answers = [np.asarray(model(rows if inputs > 1 else rows[0], training=False)) for model in models]
        assert answers[0].shape == answers[1].shape, name
        difference = float(np.abs(answers[0] - answers[1]).max() / (np.abs(answers[0]).max() or 1))
        found[name] = max(found.get(name, 0.0), difference)

    for name, (shape, settings) in CASES.items():
        for setting in settings:
            add(name, shape, lambda library, name=name, setting=setting: getattr(library.layers, name)(**setting))
    for name, merges in MERGES.items():
        for setting in merges:
            make = lambda library, name=name, setting=setting: getattr(library.layers, name)(**setting)  # noqa: E731
            add(name, SEQUENCE, make, 2)
    for activation in ACTIVATIONS:
        add("Activation", SEQUENCE, lambda library, activation=activation: library.layers.Activation(activation))
        add(activation, SEQUENCE, lambda library, activation=activation: library.layers.Dense(3, activation=activation))
        recurrent = lambda library, activation=activation: library.layers.LSTM(3, recurrent_activation=activation)  # noqa: E731
        add(activation, SEQUENCE, recurrent)
    for mode in ("concat", "sum", "mul", "ave"):
        both = lambda library, mode=mode: library.layers.Bidirectional(library.layers.GRU(3), merge_mode=mode)  # noqa: E731
        add("Bidirectional", SEQUENCE, both)
    add("TimeDistributed", SEQUENCE, lambda library: library.layers.TimeDistributed(library.layers.Dense(2)))
    found["hard_sigmoid"] = 0.0
    add("hard_sigmoid", SEQUENCE, lambda library: library.layers.Activation("hard_sigmoid"))
    reporter.result(found)


def _model(library: Any, shape: tuple[int, ...], make: Any, inputs: int) -> Any:
    tensors = [library.Input(shape) for _ in range(inputs)]
    return library.Model(tensors if inputs > 1 else tensors[0], make(library)(tensors if inputs > 1 else tensors[0]))
