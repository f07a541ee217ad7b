"""What the tests of layers that siblings may share run in sandboxes: one process for each library."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

# Layer -> (arguments, input shape without the batch). What is not named takes no arguments and a row of 8 values.
IMAGE, SEQUENCE, VOLUME = (8, 8, 3), (6, 4), (4, 6, 6, 2)
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "Activation": ({"activation": "tanh"}, (8,)),
    "CenterCrop": ({"height": 4, "width": 4}, IMAGE),
    **{
        f"Conv{n}D{end}": ({"filters": 3, "kernel_size": 2}, shape)
        for n, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
        for end in ("", "Transpose")
    },
    **{f"ConvLSTM{n}D": ({"filters": 2, "kernel_size": 2}, (3, *(5,) * n, 2)) for n in (1, 2, 3)},
    **{f"Cropping{n}D": ({}, shape) for n, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))},
    **{f"ZeroPadding{n}D": ({}, shape) for n, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))},
    **{f"UpSampling{n}D": ({}, shape) for n, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))},
    **{f"SpatialDropout{n}D": ({"rate": 0.5}, shape) for n, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))},
    **{
        f"{kind}{n}D": ({}, shape)
        for n, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
        for kind in ("AveragePooling", "MaxPooling", "GlobalAveragePooling", "GlobalMaxPooling")
    },
    "Dense": ({"units": 3}, (8,)),
    "DepthwiseConv1D": ({"kernel_size": 2}, SEQUENCE),
    "DepthwiseConv2D": ({"kernel_size": 2}, IMAGE),
    "Dropout": ({"rate": 0.5}, (8,)),
    "AlphaDropout": ({"rate": 0.5}, (8,)),
    "GaussianDropout": ({"rate": 0.5}, (8,)),
    "GaussianNoise": ({"stddev": 0.5}, (8,)),
    "EinsumDense": ({"equation": "abc,cd->abd", "output_shape": (None, 5), "bias_axes": "d"}, SEQUENCE),
    "Embedding": ({"input_dim": 5, "output_dim": 3}, (8,)),
    "GroupNormalization": ({"groups": 2}, (8,)),
    "GRU": ({"units": 3}, SEQUENCE),
    "LSTM": ({"units": 3}, SEQUENCE),
    "SimpleRNN": ({"units": 3}, SEQUENCE),
    "Masking": ({}, SEQUENCE),
    "Permute": ({"dims": (2, 1)}, SEQUENCE),
    "RepeatVector": ({"n": 2}, (8,)),
    "Rescaling": ({"scale": 0.5, "offset": 1.0}, (8,)),
    "Reshape": ({"target_shape": (2, 4)}, (8,)),
    "Resizing": ({"height": 4, "width": 5}, IMAGE),
    "SeparableConv1D": ({"filters": 3, "kernel_size": 2}, SEQUENCE),
    "SeparableConv2D": ({"filters": 3, "kernel_size": 2}, IMAGE),
    "RandomBrightness": ({"factor": 0.2}, IMAGE),
    "RandomContrast": ({"factor": 0.2}, IMAGE),
    "RandomFlip": ({}, IMAGE),
    "RandomRotation": ({"factor": 0.2}, IMAGE),
    "RandomTranslation": ({"height_factor": 0.2, "width_factor": 0.2}, IMAGE),
    "RandomZoom": ({"height_factor": 0.2}, IMAGE),
}
MERGES = ("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract")
CELLS = ("GRUCell", "LSTMCell", "SimpleRNNCell")


def build(library: Any, name: str) -> Any:
    """A model around one layer, on the input `x`."""
    layers = library.layers
    arguments, shape = CASES.get(name, ({}, (8,)))
    if name in MERGES:
        return _functional(
            library, (8,), lambda x: getattr(layers, name)(**({"axes": 1} if name == "Dot" else {}))([x, layers.Dense(8)(x)])
        )
    if name in ("Attention", "AdditiveAttention"):
        return _functional(library, SEQUENCE, lambda x: getattr(layers, name)()([x, layers.Dense(4)(x)]))
    if name in ("MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention"):
        heads = (
            {"num_heads": 2, "key_dim": 3}
            if name == "MultiHeadAttention"
            else {"head_dim": 3, "num_query_heads": 2, "num_key_value_heads": 1}
        )
        return _functional(library, SEQUENCE, lambda x: getattr(layers, name)(**heads)(x, x))
    if name in CELLS or name in ("RNN", "StackedRNNCells"):
        cell = layers.StackedRNNCells([layers.GRUCell(3), layers.LSTMCell(2)]) if name not in CELLS else getattr(layers, name)(3)
        return _functional(library, SEQUENCE, layers.RNN(cell))
    if name == "Bidirectional":
        return _functional(library, SEQUENCE, layers.Bidirectional(layers.LSTM(3)))
    if name == "TimeDistributed":
        return _functional(library, SEQUENCE, layers.TimeDistributed(layers.Dense(3)))
    return _functional(library, shape, getattr(layers, name)(**arguments))


def _functional(library: Any, shape: tuple[int, ...], apply: Callable[[Any], Any]) -> Any:
    given = library.Input(shape, name="x")
    return library.Model(given, apply(given), name="one_layer")


def shake(model: Any, random: np.random.Generator) -> None:
    """Every float variable anew; what counts or seeds stays."""
    for weight in model.weights:
        if "float" in str(weight.dtype):
            weight.assign(np.abs(random.normal(size=weight.shape)) + 0.1)


def whole_state_is_variables(request: tuple[str, str], reporter: Any) -> None:
    """Whether a trace of a layer computes what a sibling's file says once the variables are the sibling's: {layer: problem}."""
    library, name = importlib.import_module(request[0]), request[1]
    problems = {}
    for layer in name.split(","):
        if hasattr(library.layers, layer):
            problems[layer] = _problem(library, lambda layer=layer: build(library, layer))  # type: ignore[misc]
    reporter.result(problems)


def _problem(library: Any, make: Callable[[], Any], change: Callable[[Any], None] = lambda _: None) -> str | None:
    import tensorflow as tf

    random = np.random.default_rng(3)
    library.backend.clear_session()
    one, other = make(), make()
    shake(one, random)
    shake(other, random)
    change(other)
    shape = one.inputs[0].shape
    rows = random.uniform(0, 4, (3, *shape[1:])).astype(np.float32)
    spec = tf.TensorSpec([None, *shape[1:]], tf.float32)
    trace = tf.function(lambda x: one(x, training=False), autograph=False).get_concrete_function(spec)
    trace(tf.constant(rows))
    for ending in (".keras", ".h5"):
        path = os.path.join(tempfile.mkdtemp(), f"sibling{ending}")
        other.save(path)
        sibling = library.models.load_model(path, compile=False)
        for target, source in zip(one.weights, sibling.weights, strict=True):
            target.assign(source)
        wanted = np.asarray(sibling(rows, training=False))
        found = np.asarray(trace(tf.constant(rows)))
        if wanted.shape != found.shape or not np.allclose(wanted, found, rtol=1e-5, atol=1e-5):
            return f"{ending}: the trace is {np.abs(wanted - found).max():.3g} off the file"
        if not np.allclose(wanted, np.asarray(other(rows, training=False)), rtol=1e-5, atol=1e-5):
            return f"{ending}: the file is not what was saved"
    return None


def adapted_state_is_noticed(library_name: str, reporter: Any) -> None:
    """The same with a Normalization whose statistics are another's: the problem that has to be found."""
    library = importlib.import_module(library_name)

    def adapted() -> Any:
        layer = library.layers.Normalization()
        layer.adapt(np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32))
        return _functional(library, (8,), layer)

    def adapt_again(model: Any) -> None:
        layer = model.layers[-1]
        layer.adapt(np.random.default_rng(1).normal(3, 2, size=(20, 8)).astype(np.float32))

    reporter.result({"problem": _problem(library, adapted, adapt_again)})


def layers_of(library_name: str, reporter: Any) -> None:
    """Every class under `layers` of a library, by the name its configs carry."""
    library = importlib.import_module(library_name)
    found = {value.__name__ for value in vars(library.layers).values() if inspect.isclass(value)}
    with contextlib.suppress(AttributeError):
        found -= {library.layers.InputSpec.__name__, library.layers.InputLayer.__name__}
    reporter.result(sorted(found))
