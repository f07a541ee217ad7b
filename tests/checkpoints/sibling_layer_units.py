"""What the tests of layers that siblings may share run in sandboxes: one process for each library."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import tempfile
from collections.abc import Callable, Sequence
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
        f"{kind}{n}D": ({} if kind.startswith("Global") else {"pool_size": 2}, shape)
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
    "RandomContrast": ({"factor": 0.2}, IMAGE),
    "RandomFlip": ({}, IMAGE),
    "RandomRotation": ({"factor": 0.2}, IMAGE),
    "RandomTranslation": ({"height_factor": 0.2, "width_factor": 0.2}, IMAGE),
    "RandomZoom": ({"height_factor": 0.2}, IMAGE),
}
MERGES = ("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract")
CELLS = ("GRUCell", "LSTMCell", "SimpleRNNCell")


Tensors = dict[tuple[int, ...], Any]


def _branch(library: Any, name: str, given: Callable[[tuple[int, ...]], Any]) -> Any:
    """The output of one layer; `given` makes the input of a shape."""
    layers = library.layers
    arguments, shape = CASES.get(name, ({}, (8,)))
    row, sequence = given((8,)), given(SEQUENCE)
    if name in MERGES:
        return getattr(layers, name)(**({"axes": 1} if name == "Dot" else {}))([row, layers.Dense(8)(row)])
    if name in ("Attention", "AdditiveAttention"):
        return getattr(layers, name)()([sequence, layers.Dense(4)(sequence)])
    if name == "MultiHeadAttention":
        return layers.MultiHeadAttention(num_heads=2, key_dim=3)(sequence, sequence)
    if name.startswith("Group") and name.endswith("QueryAttention"):
        return getattr(layers, name)(head_dim=3, num_query_heads=2, num_key_value_heads=1)(sequence, sequence)
    if name in CELLS:
        return layers.RNN(getattr(layers, name)(3))(sequence)
    if name in ("RNN", "StackedRNNCells"):
        return layers.RNN(layers.StackedRNNCells([layers.GRUCell(3), layers.LSTMCell(2)]))(sequence)
    if name == "Bidirectional":
        return layers.Bidirectional(layers.LSTM(3))(sequence)
    if name == "TimeDistributed":
        return layers.TimeDistributed(layers.Dense(3))(sequence)
    return getattr(layers, name)(**arguments)(given(shape))


def build(library: Any, names: Sequence[str], extra: Callable[[Any], Any] | None = None) -> Any:
    """One model that has every layer side by side, each with an output of its name."""
    inputs: Tensors = {}

    def given(shape: tuple[int, ...]) -> Any:
        return inputs.setdefault(shape, library.Input(shape, name=f"x{len(inputs)}"))

    outputs = {name: _branch(library, name, given) for name in names}
    if extra is not None:
        outputs["extra"] = extra(given((8,)))
    return library.Model(list(inputs.values()), outputs, name="side_by_side")


def shake(model: Any, random: np.random.Generator) -> None:
    """Every float variable anew; what counts or seeds stays."""
    for weight in model.weights:
        if "float" in str(weight.dtype):
            weight.assign(np.abs(random.normal(size=weight.shape)) + 0.1)


def whole_state_is_variables(request: tuple[str, Sequence[str]], reporter: Any) -> None:
    """Whether a trace computes what a sibling's file says once the variables are the sibling's. Hands over {layer: problem or
    null} of the layers that the library has.
    """
    library = importlib.import_module(request[0])
    names = [name for name in request[1] if hasattr(library.layers, name)]
    in_hdf5 = [name for name in names if not name.startswith("Random") or _survives_hdf5(library, name)]
    in_hdf5 = [name for name in in_hdf5 if not name.endswith("Attention") or _survives_hdf5(library, name)]
    found = _problems(library, lambda: build(library, names), endings=(".keras",))
    in_both = _problems(library, lambda: build(library, in_hdf5), endings=(".h5",))
    reporter.result({name: problem or in_both.get(name) for name, problem in found.items()})


def _survives_hdf5(library: Any, name: str) -> bool:
    """Keras 3 cannot write some of its layers to HDF5, nor read others again: no such file is anybody's sibling."""
    path = os.path.join(tempfile.mkdtemp(), "one.h5")
    try:
        build(library, [name]).save(path)
        library.models.load_model(path, compile=False)
    except TypeError:
        return False
    return True


def adapted_state_is_noticed(library_name: str, reporter: Any) -> None:
    """The same with a Normalization that was adapted to other data: `extra` has to have a problem, its neighbour none."""
    library = importlib.import_module(library_name)

    def make(shift: float) -> Any:
        layer = library.layers.Normalization()
        layer.adapt(np.random.default_rng(0).normal(shift, 1 + shift, size=(20, 8)).astype(np.float32))
        return build(library, ["Dense"], layer)

    shifts = iter([0.0, 3.0])
    reporter.result(_problems(library, lambda: make(next(shifts)), is_shaken=False))


def _problems(
    library: Any, make: Callable[[], Any], *, is_shaken: bool = True, endings: Sequence[str] = (".keras", ".h5")
) -> dict[str, str | None]:
    import tensorflow as tf

    random = np.random.default_rng(3)
    one, other = make(), make()
    for model in (one, other) if is_shaken else ():
        shake(model, random)
    rows = [random.uniform(0, 4, (3, *given.shape[1:])).astype(np.float32) for given in one.inputs]
    specs = [tf.TensorSpec([None, *given.shape[1:]], tf.float32) for given in one.inputs]
    trace = tf.function(lambda *x: one(list(x), training=False), autograph=False).get_concrete_function(*specs)
    found: dict[str, str | None] = {}
    for ending in endings:
        path = os.path.join(tempfile.mkdtemp(), f"sibling{ending}")
        other.save(path)
        sibling = library.models.load_model(path, compile=False)
        for layer in sibling._flatten_layers():  # as docs/checkpoints.md says of Keras 3 and HDF5
            getattr(layer, "finalize_state", lambda: None)()
        for target, source in zip(one.weights, sibling.weights, strict=True):
            target.assign(source)
        answers = trace(*map(tf.constant, rows))
        saved = other([tf.constant(value) for value in rows], training=False)
        for name, wanted in sibling([tf.constant(value) for value in rows], training=False).items():
            distances = [_distance(wanted, answers[name]), _distance(wanted, saved[name])]
            if max(distances) > 1e-5:
                found[name] = (
                    f"{ending}: the trace is {distances[0]:.3g} off the file, the file {distances[1]:.3g} off what was saved"
                )
            found.setdefault(name, None)
    return found


def _distance(expected: Any, observed: Any) -> float:
    left, right = np.asarray(expected, np.float64), np.asarray(observed, np.float64)
    return float(np.abs(left - right).max() / max(1.0, np.abs(left).max())) if left.shape == right.shape else np.inf


def layers_of(library_name: str, reporter: Any) -> None:
    """Every class under `layers` of a library, by the name its configs carry."""
    library = importlib.import_module(library_name)
    found = {value.__name__ for value in vars(library.layers).values() if inspect.isclass(value)}
    with contextlib.suppress(AttributeError):
        found -= {library.layers.InputSpec.__name__, library.layers.InputLayer.__name__}
    reporter.result(sorted(found))
