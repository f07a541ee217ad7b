"""A traced graph -> .tflite files: lowering, quantisation, reading and running them."""

from liteferry.tflite.lowering import Lowered, LoweringOptions, lower
from liteferry.tflite.quantize import QuantizationOptions
from liteferry.tflite.runners import LiteRTRunner

__all__ = ["LiteRTRunner", "Lowered", "LoweringOptions", "QuantizationOptions", "lower"]
