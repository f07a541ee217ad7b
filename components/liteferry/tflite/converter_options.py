"""Selects, by a keyword, what TensorFlow's converter quantises."""

from __future__ import annotations

from typing import Any


def quantize(converter: Any, quantization: str) -> None:
    """Sets up a converter.

    Args:
      quantization: "float16" and "dynamic_int8" quantise weights. "trained" quantises weights and activations of a
        fake-quantised graph on its trained grid; "trained_integer_io": inputs and outputs, too.
    """
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16] if quantization == "float16" else []
    if quantization == "trained_integer_io":
        converter.inference_input_type = converter.inference_output_type = tf.int8
