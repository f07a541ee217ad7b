"""Converts a traced graph to .tflite files, quantises them, reads them and runs them."""

from liteferry.tflite.lowering import Lowered, LoweringOptions, lower
from liteferry.tflite.quantize import QuantizationOptions
from liteferry.tflite.runners import LiteRTRunner

__all__ = ["LiteRTRunner", "Lowered", "LoweringOptions", "QuantizationOptions", "lower"]
