"""Architectures as people write them, over every layer, operation and symbol that is called simply, for `test_honest_names`."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any

Node = dict[str, Any]
_ARGUMENTS: tuple[tuple[Any, ...], ...] = ((), (2,), (2, 3), ((2, 2),), (2, 3, 2), (0.5,), (1, (2, 2)), (4, 2))


def scan(request: None, reporter: Any) -> None:
    """In a sandbox: hands over {kind, count, refused}: what the scan has against each of them."""
    for kind, made in (("layers", _layers()), ("operations of Keras 3", _operations()), ("symbols of Keras 2", _symbols())):
        count, refused = 0, []
        for name, config in made:
            count += 1
            problems = _problems(config)
            if problems:
                refused.append(f"{name}: {problems}")
        reporter.result({"kind": kind, "count": count, "refused": refused})


def _problems(config: Node) -> list[str]:
    from liteferry.checkpoints import config_scan, config_trust

    read = json.loads(json.dumps(config, default=str))
    unknown = config_scan.scan(read).custom_objects
    return [*(found.what for found in config_trust.findings(read)), *(f"unknown: {name}" for name in unknown)]


def _layers() -> Iterator[tuple[str, Node]]:
    """Every public layer of both libraries that a few plain arguments make, alone and in a bidirectional or distributed one."""
    import keras
    import tf_keras

    for library in (keras, tf_keras):
        for name in dir(library.layers):
            layer_class = getattr(library.layers, name)
            if not inspect.isclass(layer_class) or not issubclass(layer_class, library.layers.Layer):
                continue
            for arguments in _ARGUMENTS:
                layer = _or_none(functools.partial(layer_class, *arguments))
                config = None if layer is None else _or_none(functools.partial(library.saving.serialize_keras_object, layer))
                if config is not None:
                    yield f"{library.__name__}.{name}", {"class_name": "Sequential", "config": {"name": "s", "layers": [config]}}
                    break


def _or_none(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception:  # noqa: BLE001  # not with these arguments
        return None


def _operations() -> Iterator[tuple[str, Node]]:
    """Every function of keras.ops that takes one to three tensors, in a Functional model."""
    import keras

    for name in dir(keras.ops):
        function = getattr(keras.ops, name)
        if not inspect.isfunction(function):
            continue
        config = next(filter(None, (_or_none(functools.partial(_saved, keras, function, shape)) for shape in _SHAPES)), None)
        if config is not None:
            yield f"keras.ops.{name}", config


_SHAPES: tuple[tuple[int, tuple[Any, ...]], ...] = (
    (1, ()),
    (2, ()),
    (1, (1,)),
    (1, ((2, 2),)),
    (1, ("float32",)),
    (3, ()),
    (1, (2, 1)),
    (2, (0.5,)),
)


def _saved(library: Any, function: Callable[..., Any], shape: tuple[int, tuple[Any, ...]]) -> Node:
    """The config of a model that calls the function on so many inputs, and on more."""
    tensors, more = shape
    inputs = [library.Input((4, 4, 3), batch_size=2, name=f"x{number}") for number in range(tensors)]
    model = library.Model(inputs, function(*inputs, *more))
    return dict(json.loads(model.to_json()))


def _symbols() -> Iterator[tuple[str, Node]]:
    """Every listed symbol of TensorFlow that takes tensors simply, and what people write with operators and slices."""
    import tensorflow as tf
    import tf_keras
    from tensorflow.python.util import tf_export

    from liteferry.checkpoints import tf_symbols

    written: dict[str, Callable[[Any], Any]] = {
        "x * 2 + 1": lambda x: x * 2 + 1,
        "x[:, 1:, ..., 0]": lambda x: x[:, 1:, ..., 0],
        "x[:, None]": lambda x: x[:, None],
        "-x / 3": lambda x: -x / 3,
        "x ** 2 > 1": lambda x: x**2 > 1,
        "tf.reshape": lambda x: tf.reshape(x, [-1, 48]),
        "tf.concat": lambda x: tf.concat([x, x], -1),
        "tf.cast": lambda x: tf.cast(x, "int32"),
        "tf.einsum": lambda x: tf.einsum("bijc,bijd->bcd", x, x),
        "tf.pad": lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT"),
        "tf.image.resize": lambda x: tf.image.resize(x, (8, 8), method="bicubic"),
        "tf.strings": lambda x: tf.strings.join([tf.strings.as_string(x), " / "], separator="\\"),
        "tf.strings.regex_replace": lambda x: tf.strings.regex_replace(tf.strings.as_string(x), r"[^/\w]", ""),
        "tf.shape": lambda x: tf.shape(x)[0] + 1,
        "K.mean": lambda x: tf_keras.backend.mean(x, axis=1),
        "ragged": lambda x: tf.RaggedTensor.from_tensor(x).to_tensor(),
    }
    for text, function in written.items():
        config = _or_none(functools.partial(_saved, tf_keras, function, (1, ())))
        assert config is not None or text == "ragged", text
        if config is not None:
            yield text, config
    for symbol in sorted(tf_symbols.SYMBOLS):
        called = tf_export.get_symbol_from_name(symbol)
        if not callable(called):
            continue
        config = next(filter(None, (_or_none(functools.partial(_saved, tf_keras, called, shape)) for shape in _SHAPES[:5])), None)
        if config is not None:
            yield symbol, config
