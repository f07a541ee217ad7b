"""Models of several inputs and outputs: shared, nested, called twice; outputs of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from truth_models import ROWS, Made, architecture, chain, floats


def _two(k: Any) -> tuple[Any, Any]:
    return k.Input((4,), name="left"), k.Input((4,), name="right")


def _columns(data: np.random.Generator) -> dict[str, np.ndarray]:
    return {"left": floats(data, 4), "right": floats(data, 4)}


@architecture()
def siamese(k, data):
    a, b = _two(k)
    shared = k.layers.Dense(4, "tanh", name="shared")
    return Made(model=k.Model([a, b], k.layers.Subtract()([shared(a), shared(b)])), columns=_columns(data))


@architecture()
def order_reversed(k, data):
    a, b = _two(k)
    heads = [k.layers.Dense(3, name=name) for name in ("zebra", "ant")]
    return Made(model=k.Model([b, a], [heads[0](a), heads[1](b)]), columns=_columns(data))


@architecture()
def dict_in_and_out(k, data):
    a, b = _two(k)
    x = k.layers.Subtract()([a, b])
    outputs = {"wide": k.layers.Dense(4, name="w")(x), "narrow": k.layers.Dense(1, name="n")(x)}
    return Made(model=k.Model({"left": a, "right": b}, outputs), columns=_columns(data))


@architecture()
def called_twice(k, data):
    a, b = _two(k)
    head = k.layers.Dense(3, name="head")
    return Made(model=k.Model([a, b], [head(a), head(b)]), columns=_columns(data))


@architecture()
def model_called_twice(k, data):
    a, b = _two(k)
    part = k.Sequential([k.Input((4,)), k.layers.Dense(4, "relu"), k.layers.BatchNormalization(), k.layers.Dense(2)], name="part")
    return Made(model=k.Model([a, b], [part(a), part(b)]), columns=_columns(data))


@architecture()
def nested_three_deep(k, data):
    inner = k.Sequential([k.Input((4,)), k.layers.Dense(4, "tanh"), k.layers.LayerNormalization()], name="inner")
    a = k.Input((4,))
    middle = k.Model(a, k.layers.Add()([inner(a), k.layers.Dense(4)(a)]), name="middle")
    outer = k.Sequential([k.Input((4,)), middle, k.layers.BatchNormalization()], name="outer")
    x = k.Input((4,), name="x")
    return Made(model=k.Model(x, k.layers.Dense(2)(outer(x))), columns={"x": floats(data, 4)})


@architecture()
def nested_and_frozen(k, data):
    a = k.Input((4,))
    h = k.layers.Dense(4, name="b1")(a)
    h = k.layers.Dense(4, "tanh", name="b2")(k.layers.LayerNormalization(name="n1")(h))
    base = k.Model(a, k.layers.BatchNormalization(name="n2")(h), name="base")
    base.get_layer("b1").trainable = False
    base.get_layer("n1").trainable = False
    x = k.Input((4,), name="x")
    return Made(model=k.Model(x, k.layers.Dense(2, name="y")(base(x))), columns={"x": floats(data, 4)})


@architecture()
def nested_outputs(k, data):
    a = k.Input((4,))
    base = k.Model(a, [k.layers.Dense(3)(a), k.layers.Dense(3, "relu")(a)], name="base")
    x = k.Input((4,), name="x")
    first, second = base(x)
    return Made(model=k.Model(x, [second, first, k.layers.Add()([first, second])]), columns={"x": floats(data, 4)})


@architecture()
def rnn_states(k, data):
    x = k.Input((5, 3), name="x")
    return Made(model=k.Model(x, k.layers.LSTM(4, return_state=True)(x)), columns={"x": floats(data, 5, 3)})


@architecture()
def encoder_decoder(k, data):
    a, b = k.Input((5, 3), name="source"), k.Input((4, 3), name="target")
    _, *state = k.layers.LSTM(4, return_state=True)(a)
    y = k.layers.LSTM(4, return_sequences=True)(b, initial_state=state)
    columns = {"source": floats(data, 5, 3), "target": floats(data, 4, 3)}
    return Made(model=k.Model([a, b], k.layers.Dense(2)(y)), columns=columns)


@architecture()
def masked_embedding(k, data):
    x = k.Input((6,), dtype="int32", name="ids")
    y = k.layers.Dense(2)(k.layers.LSTM(4)(k.layers.Embedding(9, 3, mask_zero=True)(x)))
    return Made(model=k.Model(x, y), columns={"ids": data.integers(0, 9, (ROWS, 6)).astype(np.int32)})


@architecture()
def masked_mean(k, data):
    x = k.Input((6,), dtype="int32", name="ids")
    y = k.layers.Dense(2)(k.layers.GlobalAveragePooling1D()(k.layers.Embedding(9, 3, mask_zero=True)(x)))
    return Made(model=k.Model(x, y), columns={"ids": data.integers(0, 9, (ROWS, 6)).astype(np.int32)})


@architecture()
def shared_embedding(k, data):
    a, b = (k.Input((3,), dtype="int64", name=name) for name in ("user", "item"))
    table = k.layers.Embedding(12, 4, name="table")
    flat = k.layers.Flatten()
    y = k.layers.Dot(axes=1)([flat(table(a)), flat(table(b))])
    return Made(model=k.Model([a, b], y), columns={name: data.integers(0, 12, (ROWS, 3)) for name in ("user", "item")})


@architecture()
def attention(k, data):
    a, b = k.Input((4, 3), name="query"), k.Input((5, 3), name="value")
    y = k.layers.Flatten()(k.layers.Attention(use_scale=True)([a, b]))
    columns = {"query": floats(data, 4, 3), "value": floats(data, 5, 3)}
    return Made(model=k.Model([a, b], [y, k.layers.AdditiveAttention()([a, b])]), columns=columns)


@architecture()
def multi_head_attention(k, data):
    x = k.Input((5, 4), name="x")
    y = k.layers.MultiHeadAttention(num_heads=2, key_dim=3)(x, x)
    y = k.layers.LayerNormalization()(k.layers.Add()([x, y]))
    return Made(model=k.Model(x, k.layers.Dense(2)(k.layers.Flatten()(y))), columns={"x": floats(data, 5, 4)})


@architecture()
def merges(k, data):
    a, b = _two(k)
    on = k.layers
    parts = [merge([a, b]) for merge in (on.Add(), on.Multiply(), on.Average(), on.Maximum(), on.Minimum(), on.Subtract())]
    return Made(model=k.Model([a, b], on.Dense(3)(on.Concatenate()(parts))), columns=_columns(data))


@architecture()
def input_is_output(k, data):
    x = k.Input((4,), name="x")
    return Made(model=k.Model(x, [k.layers.Dense(2, name="y")(x), x]), columns={"x": floats(data, 4)})


@architecture()
def one_column(k, data):
    a, b = (k.Input((1,), name=name) for name in ("age", "height"))
    y = k.layers.Dense(1, "sigmoid")(k.layers.Concatenate()([a, b]))
    return Made(model=k.Model([a, b], y), columns={"age": floats(data), "height": floats(data)})


@architecture()
def no_input_shape(k, data):
    return Made(model=k.Sequential([k.layers.Dense(4, "relu"), k.layers.Dense(2)]), columns={"x": floats(data, 5)})


@architecture()
def variable_length(k, data):
    x = k.Input((None, 3), name="x")
    y = k.layers.Dense(2)(k.layers.GlobalMaxPooling1D()(k.layers.Conv1D(4, 3, padding="same")(x)))
    return Made(model=k.Model(x, y), columns={"x": floats(data, 7, 3)})


@architecture()
def odd_names(k, data):
    a, b = k.Input((4,), name="my-input"), k.Input((4,), name="other.input")
    y = k.layers.Dense(2, name="out-put")(k.layers.Concatenate()([a, b]))
    return Made(model=k.Model([a, b], y), columns={"my-input": floats(data, 4), "other.input": floats(data, 4)})


@architecture(files=("keras", "h5", "weights_h5", "saved_model"))
def trained(k, data):
    made = chain(k, data, (4,), k.layers.Dense(5, "relu"), k.layers.BatchNormalization(), k.layers.Dense(2))
    made.model.compile("adam", "mse", metrics=["mae"])
    made.model.fit(made.columns["x"], floats(data, 2), epochs=2, verbose=0)
    return made


@architecture(files=("keras", "h5"))
def mixed_float16(k, data):
    on = k.layers
    layers = [
        on.Dense(8, "relu", dtype="mixed_float16"),
        on.BatchNormalization(dtype="mixed_float16"),
        on.Dense(2, dtype="float32"),
    ]
    return chain(k, data, (4,), *layers)


@architecture(files=("keras", "h5", "weights_h5", "saved_model"))
def float64(k, data):
    model = k.Sequential([k.Input((4,), dtype="float64", name="x"), k.layers.Dense(3, "tanh", dtype="float64")])
    return Made(model=model, columns={"x": floats(data, 4).astype(np.float64)})


@architecture(only="keras")
def operations(k, data):
    ops = k.ops
    x = k.Input((6, 4), name="x")
    h = x[:, 1:-1, ::2] * np.arange(2, dtype="float32") - 0.25
    h = ops.where(h > 0.1, h, ops.roll(h, 1, axis=1))
    h = ops.concatenate([ops.max(h, axis=1), ops.mean(h, axis=1), 1.0 / (2.0 + ops.abs(h[:, 0]))], axis=-1)
    return Made(model=k.Model(x, k.layers.Dense(2, name="y")(h)), columns={"x": floats(data, 6, 4)})


@architecture(only="tf_keras")
def tensorflow_operations(k, data):
    import tensorflow as tf

    x = k.Input((6, 4), name="x")
    h = tf.reduce_mean(x[:, 1:-1, ::2], axis=1) + tf.nn.relu(x[:, 0, :2]) * 2.0
    h = tf.concat([h, tf.cast(tf.shape(x)[1], tf.float32) * h], -1)
    return Made(model=k.Model(x, k.layers.Dense(2, name="y")(h)), columns={"x": floats(data, 6, 4)})


@architecture(only="keras", files=("keras", "h5"))
def whole_number_outputs(k, data):
    x = k.Input((4,), name="x")
    scores = k.layers.Dense(3, name="scores")(x)
    outputs = {
        "scores": scores,
        "label": k.ops.argmax(scores, axis=-1),
        "is_high": scores > 0.0,
        "total": k.ops.sum(scores, axis=-1),
    }
    return Made(model=k.Model(x, outputs), columns={"x": floats(data, 4)})


@architecture(only="keras")
def tied_weights(k, data):
    table = k.layers.ReversibleEmbedding(7, 4)
    x = k.Input((5,), dtype="int32", name="ids")
    y = table(k.layers.Dense(4, "tanh")(table(x)), reverse=True)
    return Made(model=k.Model(x, y), columns={"ids": data.integers(0, 7, (ROWS, 5)).astype(np.int32)})
