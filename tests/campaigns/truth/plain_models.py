"""SavedModels without any Keras: of tf.Module, and of TensorFlow 1. Each function writes one and returns columns and answers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

ROWS = 24
Answers = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
TABLE: dict[str, Callable[[str, np.random.Generator], Answers]] = {}


def plain(write: Callable[[str, np.random.Generator], Answers]) -> Callable[[str, np.random.Generator], Answers]:
    TABLE[write.__name__] = write
    return write


def _floats(data: np.random.Generator, *shape: int) -> np.ndarray:
    return data.normal(size=(ROWS, *shape)).astype(np.float32)


def _save(
    path: str, function: Callable[..., Any], columns: dict[str, np.ndarray], *, batch: int | None = None, **state: Any
) -> Answers:
    """A tf.Module with `state` on it, whose signature is `function` of the columns."""
    import tensorflow as tf

    module = tf.Module()
    for name, value in state.items():
        setattr(module, name, value)
    given = {name: tf.constant(value.tolist() if value.dtype.kind in "UO" else value) for name, value in columns.items()}
    specs = [tf.TensorSpec([batch, *value.shape[1:]], value.dtype, name=name) for name, value in given.items()]
    module.serve = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, path, signatures=module.serve)
    if batch is None:
        return columns, {name: np.asarray(value) for name, value in module.serve(*given.values()).items()}
    parts = [module.serve(*[value[at : at + batch] for value in given.values()]) for at in range(0, ROWS, batch)]
    return columns, {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}


def _variable(data: np.random.Generator, *shape: int) -> Any:
    import tensorflow as tf

    return tf.Variable(data.normal(size=shape).astype(np.float32))


@plain
def module_affine(path, data):
    w, b = _variable(data, 4, 3), _variable(data, 3)
    return _save(path, lambda x: {"y": x @ w + b}, {"x": _floats(data, 4)}, w=w, b=b)


@plain
def module_two_outputs(path, data):
    import tensorflow as tf

    w = _variable(data, 4, 3)
    return _save(
        path,
        lambda x: {"logits": x @ w, "scores": tf.nn.softmax(x @ w), "label": tf.argmax(x @ w, -1)},
        {"x": _floats(data, 4)},
        w=w,
    )


@plain
def module_half_of_the_variables(path, data):
    first, second = _variable(data, 4, 4), _variable(data, 4, 4)
    return _save(path, lambda x: {"y": x @ second}, {"x": _floats(data, 4)}, parts=[first, second])


@plain
def module_types(path, data):
    import tensorflow as tf

    columns = {
        "x": data.normal(size=(ROWS, 4)),
        "u": data.integers(0, 255, (ROWS, 4)).astype(np.uint8),
        "b": data.integers(0, 2, ROWS).astype(bool),
    }
    return _save(path, lambda x, u, b: {"y": tf.cast(u, tf.float64) * x + tf.cast(b[:, None], tf.float64)}, columns)


@plain
def module_large_whole_numbers(path, data):
    columns = {"ids": data.integers(2**60, 2**62, (ROWS, 2))}
    return _save(path, lambda ids: {"next": ids * 2 - 1, "last": ids % 1000}, columns)


@plain
def module_negative_zero(path, data):
    import tensorflow as tf

    return _save(path, lambda x: {"y": tf.math.atan2(tf.zeros_like(x), -tf.abs(x) * 0.0 + tf.sign(x))}, {"x": _floats(data, 3)})


@plain
def module_text(path, data):
    import tensorflow as tf

    columns = {"words": data.choice(["Red", "green", "blue and white"], ROWS)}
    return _save(path, lambda words: {"lower": tf.strings.lower(words), "length": tf.strings.length(words)}, columns)


@plain
def module_table(path, data):
    import tensorflow as tf

    keys = tf.constant([str(key) for key in data.permutation(["red", "green", "blue"])])
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, tf.constant([1.0, 20.0, 300.0])), -1.0)
    columns = {"words": data.choice(["red", "green", "blue", "none"], ROWS)}
    return _save(path, lambda words: {"value": table.lookup(words)}, columns, table=table)


@plain
def module_jit(path, data):
    import tensorflow as tf

    w = _variable(data, 4, 3)
    inner = tf.function(lambda x: tf.nn.softmax(x @ w), jit_compile=True)
    return _save(path, lambda x: {"y": inner(x)}, {"x": _floats(data, 4)}, w=w)


@plain
def module_fixed_batch(path, data):
    w = _variable(data, 4, 3)
    return _save(path, lambda x: {"y": x @ w}, {"x": _floats(data, 4)}, batch=4, w=w)


@plain
def module_branches(path, data):
    import tensorflow as tf

    w = _variable(data, 4, 3)
    return _save(
        path,
        lambda x: {
            "y": tf.map_fn(
                lambda row: tf.cond(row[0] > 0, lambda: row[None] @ w, lambda: -row[None] @ w)[0],
                x,
                fn_output_signature=tf.float32,
            )
        },
        {"x": _floats(data, 4)},
        w=w,
    )


@plain
def module_half_precision(path, data):
    import tensorflow as tf

    w = tf.Variable(data.normal(size=(4, 3)).astype(np.float16))
    return _save(path, lambda x: {"y": tf.cast(tf.cast(x, tf.float16) @ w, tf.float32)}, {"x": _floats(data, 4)}, w=w)


def _version_1(path: str, data: np.random.Generator, *, resource: bool, tags: list[list[str]], shift: bool = False) -> Answers:
    """One dense layer and moving statistics; of several tag sets, the first trains."""
    import tensorflow as tf

    v1 = tf.compat.v1
    x, w = _floats(data, 4), data.normal(size=(4, 3)).astype(np.float32)
    builder = v1.saved_model.Builder(path)
    for number, tag_set in enumerate(tags):
        with _graph(v1) as session:
            v1.get_variable_scope().set_use_resource(resource)
            a = v1.placeholder(tf.float32, [None, 4], name="a")
            mean = v1.get_variable("mean", [4], initializer=v1.constant_initializer(0.5))
            weights = v1.get_variable("w", [4, 3], initializer=v1.constant_initializer(w))
            is_trained = len(tags) > 1 and number == 0
            y = (a - (tf.reduce_mean(a, axis=0) if is_trained else mean)) @ weights + 0.0 * tf.reduce_sum(mean)
            session.run(v1.global_variables_initializer())
            signature = {"serving_default": v1.saved_model.predict_signature_def({"x": a}, {"y": y})}
            if number == 0:
                builder.add_meta_graph_and_variables(session, tag_set, signature_def_map=signature)
            else:
                builder.add_meta_graph(tag_set, signature_def_map=signature)
    builder.save()
    return {"x": x}, {"y": (x - 0.5) @ w}


@contextlib.contextmanager
def _graph(v1: Any) -> Iterator[Any]:
    with v1.Graph().as_default(), v1.Session() as session:
        yield session


@plain
def version_1_reference_variables(path, data):
    return _version_1(path, data, resource=False, tags=[["serve"]])


@plain
def version_1_resources(path, data):
    return _version_1(path, data, resource=True, tags=[["serve"]])


@plain
def version_1_train_and_serve(path, data):
    return _version_1(path, data, resource=False, tags=[["train"], ["serve"]])


@plain
def version_1_train_and_nothing(path, data):
    return _version_1(path, data, resource=False, tags=[["train"], []])
