"""Models over every public layer of a library, saved in every format it has, scanned and loaded as a stranger's. For
`test_honest_models`, in a sandbox.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# What layers are made with and called on, tried in this order until one of each fits.
_ARGUMENTS: tuple[tuple[Any, ...], ...] = ((), (2,), (2, 3), ((2, 2),), (2, 3, 2), (0.5,), (1, (2, 2)), (4, 2), ((4, 4),))
_SHAPES: tuple[tuple[tuple[int, ...], str], ...] = (
    ((8, 8, 3), "float32"),
    ((6, 4), "float32"),
    ((4,), "float32"),
    ((6, 4, 4, 2), "float32"),
    ((4,), "int64"),
    ((5, 6, 4, 4, 2), "float32"),
    ((1,), "string"),
)
# Layers that hold another one, and those that need more than plain arguments.
_MADE: dict[str, Callable[[Any], Any]] = {
    "Bidirectional": lambda layers: layers.Bidirectional(layers.LSTM(2)),
    "TimeDistributed": lambda layers: layers.TimeDistributed(layers.Dense(2)),
    "SpectralNormalization": lambda layers: layers.SpectralNormalization(layers.Dense(2)),
    "RNN": lambda layers: layers.RNN(layers.LSTMCell(2)),
    "StackedRNNCells": lambda layers: layers.RNN(layers.StackedRNNCells([layers.GRUCell(2), layers.LSTMCell(2)])),
    "StringLookup": lambda layers: layers.StringLookup(vocabulary=["a/b", "c\\d"]),
    "IntegerLookup": lambda layers: layers.IntegerLookup(vocabulary=[1, 2]),
    "TextVectorization": lambda layers: layers.TextVectorization(vocabulary=["a", "b"]),
    "Normalization": lambda layers: layers.Normalization(mean=[1.0], variance=[2.0]),
    "Discretization": lambda layers: layers.Discretization(bin_boundaries=[0.0, 1.0]),
    "Activation": lambda layers: layers.Activation("gelu"),
    "Reshape": lambda layers: layers.Reshape((-1,)),
    "Permute": lambda layers: layers.Permute((2, 1)),
    "EinsumDense": lambda layers: layers.EinsumDense("abc,cd->abd", (None, 2)),
    "MultiHeadAttention": lambda layers: layers.MultiHeadAttention(2, 2),
    "GroupNormalization": lambda layers: layers.GroupNormalization(groups=-1),
}
_SETTINGS = ("kernel_regularizer", "kernel_constraint", "activation")
_ENDINGS = (".keras", ".h5")
# Every so manieth model is saved as a SavedModel, too: writing one takes as long as all else together.
_SAVED_MODELS = 4
Refused = tuple[str, str]


def check(request: dict[str, Any], reporter: Any) -> None:
    """{library, one_in}: hands over {models, layers, refused: [[name, what was said]], unsaved} for one layer in so many."""
    library = importlib.import_module(request["library"])
    refused: list[Refused] = []
    layers, models, unsaved = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, model) in enumerate(_models(library, request["one_in"])):
            layers += 1
            for path in _saved(library, model, Path(folder), f"m{number}", with_saved_model=number % _SAVED_MODELS == 0):
                if path is None:
                    unsaved += 1
                    continue
                models += 1
                said = _problem(library, str(path))
                refused += [(f"{name}{path.suffix}", said)] if said else []
    reporter.result({"models": models, "layers": layers, "refused": refused, "unsaved": unsaved})


def _models(library: Any, one_in: int) -> Iterator[tuple[str, Any]]:
    """A model of each layer, and one more of layers that take settings of their own kinds."""
    names = [name for name in dir(library.layers) if _is_layer(library, getattr(library.layers, name))]
    for name in names[::one_in]:
        make = _MADE.get(name)
        layer_class = getattr(library.layers, name)
        makers = [functools.partial(make, library.layers)] if make else _makers(layer_class)
        model = next(filter(None, (_model(library, maker) for maker in makers)), None)
        if model is not None:
            yield f"{library.__name__}.{name}", model
        if model is not None and "kernel_regularizer" in inspect.signature(layer_class.__init__).parameters:
            for settings in ({"kernel_regularizer": "l2"}, {"kernel_constraint": "max_norm", "kernel_initializer": "he_normal"}):
                more = (functools.partial(maker, **settings) for maker in makers)
                changed = next(filter(None, (_model(library, maker) for maker in more)), None)
                if changed is not None:
                    yield f"{library.__name__}.{name} {[*settings]}", changed


def _makers(layer_class: Any) -> list[Callable[..., Any]]:
    return [functools.partial(layer_class, *arguments) for arguments in _ARGUMENTS]


def _is_layer(library: Any, found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, library.layers.Layer)


def _model(library: Any, make: Callable[[], Any]) -> Any:
    """A Functional model that calls what is made on one input, or on two, of the first shape that it takes; None for none."""
    for shape, dtype in _SHAPES:
        for count in (1, 2):
            with contextlib.suppress(Exception):
                inputs = [library.Input(shape, batch_size=2, dtype=dtype, name=f"x{number}") for number in range(count)]
                layer = make()
                outputs = layer(inputs[0]) if count == 1 else _on_two(layer, inputs)
                return library.Model(inputs, outputs)
    return None


def _on_two(layer: Any, inputs: list[Any]) -> Any:
    with contextlib.suppress(Exception):
        return layer(inputs)
    return layer(*inputs)


def _saved(library: Any, model: Any, folder: Path, stem: str, *, with_saved_model: bool) -> Iterator[Path | None]:
    """The model's files, None for a format that the library cannot write it in."""
    for ending in _ENDINGS:
        path = folder / f"{stem}{ending}"
        try:
            model.save(str(path))
            yield path
        except Exception:  # noqa: BLE001  # some layers cannot be saved in some formats
            yield None
    if with_saved_model:
        try:
            model.export(str(folder / stem), **({"verbose": False} if library.__name__ == "keras" else {}))
            yield folder / stem
        except Exception:  # noqa: BLE001  # as above
            yield None


def _problem(library: Any, path: str) -> str:
    """What is said against the file as a stranger's without any `trust`; empty for one that loads, or that its own library does
    not know either.
    """
    from liteferry import checkpoints
    from liteferry.errors import ModelError, ReasonCode
    from liteferry.loading import LoadSpec, loaders

    try:
        facts = checkpoints.examine(path)
        loaders.load(path, facts, LoadSpec(), sample_columns=())
    except ModelError as error:
        is_unknown = error.reason.code is ReasonCode.LOAD_UNKNOWN_OBJECT
        if error.reason.code is ReasonCode.LOAD_UNSAFE or (is_unknown and _loads(library, path)):
            return f"{error.reason.code.value}: {error.reason.message}"
    return ""


def _loads(library: Any, path: str) -> bool:
    """Whether the library itself loads a file that it wrote; tf_keras knows no SpectralNormalization in HDF5."""
    try:
        library.models.load_model(path, compile=False)
    except Exception:  # noqa: BLE001  # whatever the library says against it
        return False
    return True
