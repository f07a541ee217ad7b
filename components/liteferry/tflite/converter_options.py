"""What TensorFlow's converter quantises while it converts, by a word."""

from __future__ import annotations

from typing import Any


def quantize(converter: Any, quantization: str) -> None:
    """Sets up a converter.

    Args:
      quantization: "float16" and "dynamic_int8" are about weights. "trained": weights and activations of a graph that
        fake-quantises, on
        its own grid; "trained_integer_io": inputs and outputs, too.
    """
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16] if quantization == "float16" else []
    if quantization == "trained_integer_io":
        converter.inference_input_type = converter.inference_output_type = tf.int8
