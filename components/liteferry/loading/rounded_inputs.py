"""Rounds what a quantised Keras layer is given, as the layer does it, in float32 arithmetic that LiteRT has.

Keras rounds the inputs of a layer that it has quantised: to 8-bit integers with a scale for each row, or to float8 with a scale
that training has found. The float32 twin of a deep model leaves that out only if it is near enough without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rounding = Callable[[Any], Any]

_MOST_FLOAT8 = 448.0  # float8_e4m3fn
_LEAST_NORMAL = 2.0**-6
_HALF_OF_SPLIT = 2.0**10  # Veltkamp's factor is 2^20 + 1, which float16 cannot hold, and a float16 file holds all constants so
_STEP = 2.0**-9  # below the least normal number


def rounding_of(layer: Any) -> Rounding | None:
    """How a layer rounds its inputs; None for one that does not."""
    mode = getattr(layer, "quantization_mode", None)
    if mode == "float8" and hasattr(layer, "inputs_scale"):
        return lambda inputs: to_float8(inputs, layer.inputs_scale)
    quantizer = getattr(layer, "inputs_quantizer", None)
    if mode in (None, "float8") or not quantizer:
        return None
    return lambda inputs: _to_integers(quantizer, inputs, axis=-1)[0]


def quantizer_of(layer: Any) -> Any:
    """A stand-in for a layer's `inputs_quantizer` that gives rounded floats and a scale of one."""
    quantizer = layer.inputs_quantizer

    def stand_in(inputs: Any, **options: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        rounded, scale = _to_integers(quantizer, inputs, **options)
        return rounded, tf.ones_like(scale)

    return stand_in


def _to_integers(quantizer: Any, inputs: Any, **options: Any) -> tuple[Any, Any]:
    """Rounded floats, and the scale that they were rounded with."""
    import tensorflow as tf

    integers, scale = quantizer(inputs, **options)
    return tf.cast(integers, tf.float32) / tf.cast(scale, tf.float32), tf.cast(scale, tf.float32)


def to_float8(inputs: Any, scale: Any) -> Any:
    """Floats as float8_e4m3fn holds them: 4 bits that count, in steps of 2^-9 below 2^-6, cut at 448."""
    import tensorflow as tf

    scale = tf.cast(tf.convert_to_tensor(scale), tf.float32)
    value = tf.clip_by_value(tf.cast(inputs, tf.float32) / scale, -_MOST_FLOAT8, _MOST_FLOAT8)
    size = tf.abs(value)
    wide = tf.maximum(size * _HALF_OF_SPLIT, 0.0) * _HALF_OF_SPLIT + size  # the maximum keeps TensorFlow from joining the factors
    leading = wide - (wide - size)  # 4 of the 24 bits that float32 has
    small = tf.round(size / _STEP) * _STEP
    rounded = tf.where(size < _LEAST_NORMAL, small, leading)
    return tf.where(value < 0.0, -rounded, rounded) * scale
