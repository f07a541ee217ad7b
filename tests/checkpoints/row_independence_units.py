"""What test_row_independence runs in a sandbox: functions that mix rows, and functions that look as if they did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

ROWS = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)


def _functions() -> dict[str, Callable[[Any], dict[str, Any]]]:
    import tensorflow as tf

    def in_training_mode(x: Any) -> Any:
        mean, variance = tf.nn.moments(x @ WEIGHTS, [0])
        return (x @ WEIGHTS - mean) * tf.math.rsqrt(variance + 1e-3)

    def halves(x: Any, dtype: Any) -> Any:
        for _ in range(8):
            x = tf.nn.tanh(tf.cast(x, dtype) @ tf.cast(WEIGHTS @ WEIGHTS.T, dtype))
        return x

    return {
        "batch statistics": lambda x: {"y": in_training_mode(x)},
        "batch statistics of a part that is small": lambda x: {"y": x @ WEIGHTS, "small": 1e-6 * in_training_mode(x)},
        "divided by the batch's largest": lambda x: {"y": x / tf.reduce_max(x)},
        "classes after batch statistics": lambda x: {"y": tf.argmax(in_training_mode(x), -1)},
        "softmax over the wrong axis": lambda x: {"y": tf.nn.softmax(x, axis=0)},
        "sorted rows": lambda x: {"y": tf.sort(x, axis=0)},
        "infinite beside a large neighbour": lambda x: {"y": x / tf.cast(tf.reduce_sum(x) > -1.0, tf.float32)},
        "a layer": lambda x: {"y": tf.nn.softmax(x @ WEIGHTS)},
        "one answer a call": lambda x: {"y": x @ WEIGHTS, "mean": tf.reduce_mean(x), "rows": tf.shape(x)[0]},
        "bfloat16": lambda x: {"y": halves(x, tf.bfloat16)},
        "float16": lambda x: {"y": halves(x, tf.float16)},
        "classes": lambda x: {"y": tf.argmax(x @ WEIGHTS, -1)},
        "text": lambda x: {"y": tf.strings.as_string(tf.round(x))},
        "not a number": lambda x: {"y": tf.math.log(x)},
        "only even numbers of rows": lambda x: {"y": tf.reshape(tf.reshape(x, [-1, 2, 6]), [-1, 6])},
        "nothing but its shape": lambda x: {"y": tf.zeros_like(x)},
    }


def find_dependences(_: Any, reporter: Any) -> None:
    """Name -> the message, or None; with all rows, with one row, and with the batch fixed."""
    import tensorflow as tf

    from liteferry.loading import tracing
    from liteferry.loading.row_independence import dependence

    found: dict[str, Any] = {}
    for name, function in _functions().items():
        for batch in (None, 4):
            traced = tf.function(function).get_concrete_function(x=tf.TensorSpec([batch, 6], name="x"))
            said = dependence(tracing.on_rows(_traced(traced), {"x": ROWS}), {"x": ROWS})
            found[f"{name}, batch of 4" if batch else name] = None if said is None else str(said)
        free = tf.function(function).get_concrete_function(x=tf.TensorSpec([None, 6], name="x"))
        one = {"x": ROWS[:1]}
        said = None if "even" in name else dependence(tracing.on_rows(_traced(free), one), one)
        found[f"{name}, one row"] = None if said is None else str(said)
    reporter.result(found)


def _traced(function: Any) -> Any:
    from liteferry.loading import tracing
    from liteferry.loading.call_groups import Calls, fixed_batch

    signature = tracing.describe_function(function)
    return tracing.TracedModel(
        function=function,
        signature=signature,
        renamed={},
        output_order=signature.output_names(),
        calls=Calls(batch=fixed_batch(signature.inputs)),
    )
