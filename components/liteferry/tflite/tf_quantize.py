"""TensorFlow's own quantisation, for models that the AI Edge quantizer refuses.

It is slower, and on some models it aborts instead of raising: its variants are made last, after the report's data so far has been
handed over.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import tracing
from liteferry.loading.model import LoadedModel
from liteferry.loading.tracing import TracedModel
from liteferry.tflite import flatbuffer, frozen_graph, more_signatures, rewriting
from liteferry.tflite import unrolled as unrolled_loops
from liteferry.tflite.lowering import Lowered
from liteferry.tflite.quantize import QuantizationOptions, Rows

NAME = "TensorFlow's converter"
_CONVERTED = ("float16", "dynamic_int8")  # while the graph is converted
_CALIBRATED = ("int8", "int16x8")
_MOST_STEPS = 512  # an unrolled loop repeats its operators for every step


@dataclasses.dataclass(frozen=True, kw_only=True)
class FloatFile:
    """The float flatbuffer that the AI Edge quantizer refused, its model, and how the model was lowered."""

    content: bytes
    model: LoadedModel
    lowered: Lowered


def make(variant: str, source: FloatFile, *, rows: Callable[[], Rows], options: QuantizationOptions) -> bytes:
    """One variant by TensorFlow's converter, with loops unrolled where its calibrator would abort on them.

    Args:
      rows: batches of sample rows by input name.

    Raises:
      ModelError: CONVERT_FAILED with TensorFlow's message, or where it cannot make that variant.
    """
    content, lowered = source.content, source.lowered
    assert lowered.frozen is not None
    if lowered.flex is not None:
        raise _refusal("cannot help: nothing here runs Select TF ops")
    metadata = flatbuffer.read_metadata(content)
    if variant in _CONVERTED:
        return lowered.frozen.convert(metadata=metadata, quantization=variant)
    if variant not in _CALIBRATED:
        raise _refusal(f"has no {variant}")
    if has_loops(content):
        content = _without_loops(source, metadata, rows)
    try:
        return _calibrated(variant, content, rows(), options)
    except Exception as error:
        raise _refusal(f"refused: {type(error).__name__}: {error}") from error


TRAINED = ("int8", "dynamic_int8")
"""Variants for quantisation-aware trained models: both get the same file, with the trained grid."""
_LEFT_OF_FAKES = frozenset({"QUANTIZE", "FAKE_QUANT"})  # the converter's operators for them in a float file
_FAKE = ("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel", "FakeQuantWithMinMaxArgs")


def has_trained_ranges(file: FloatFile, traced: TracedModel) -> bool:
    """Whether the graph has fake-quantisation, as after quantisation-aware training."""
    if not _LEFT_OF_FAKES & flatbuffer.count_operators(file.content).keys():
        return False  # checked first, since serialising a large graph takes longer than reading its file
    graph = traced.function.graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    return any(node.op in _FAKE for node in nodes)


def with_trained_ranges(variant: str, source: FloatFile, options: QuantizationOptions) -> bytes:
    """int8 weights and activations on the trained grid, which calibration would lose.

    Raises:
      ModelError: CONVERT_FAILED with TensorFlow's words.
    """
    frozen = source.lowered.frozen
    assert frozen is not None
    integer_io = variant == "int8" and options.integer_io
    content = frozen.convert(
        metadata=flatbuffer.read_metadata(source.content), quantization="trained_integer_io" if integer_io else "trained"
    )
    return rewriting.with_short_names(content)


def has_loops(content: bytes) -> bool:
    """Whether TensorFlow's calibrator would read memory that WHILE has freed and abort (tensorflow#75140)."""
    return "WHILE" in flatbuffer.count_operators(content)


def _without_loops(source: FloatFile, metadata: Mapping[str, Any] | None, rows: Callable[[], Rows]) -> bytes:
    model, lowered = source.model, source.lowered
    layers = _recurrent_layers(model.keep)
    steps = [length for layer in layers if (length := _steps(layer)) is not None]
    if not layers:
        return _counted_out(lowered, metadata, rows)
    if max(steps, default=0) > _MOST_STEPS:
        raise _refusal(f"cannot calibrate loops, and {max(steps)} steps are too many to unroll (at most {_MOST_STEPS})")
    try:
        with _unrolled(layers):
            unrolled = tracing.trace(model, batch=lowered.batch)
    except ModelError as error:
        words = error.reason.message.strip().splitlines()[0]
        raise _refusal(f"cannot calibrate loops, and these cannot be unrolled: {words}") from error
    content = frozen_graph.FrozenGraph(unrolled).convert(metadata=metadata)
    if has_loops(content):
        raise _refusal("cannot calibrate loops, and not all of them are recurrent layers that can be unrolled")
    return content


def _counted_out(lowered: Lowered, metadata: Mapping[str, Any] | None, rows: Callable[[], Rows]) -> bytes:
    """The loops of a graph without layers, as of a SavedModel."""
    if not isinstance(lowered.frozen, frozen_graph.FrozenGraph):
        raise _refusal("cannot calibrate loops, and those of a SavedModel that does not freeze cannot be unrolled")
    try:
        content = lowered.frozen.unrolled(rows()[0], most_steps=_MOST_STEPS).convert(metadata=metadata)
    except unrolled_loops.UncountableError as error:
        raise _refusal(f"cannot calibrate loops, and these cannot be unrolled: {error}") from error
    if has_loops(content):
        raise _refusal("cannot calibrate loops, and these cannot be unrolled")
    return content


def _recurrent_layers(keep: Any) -> list[Any]:
    """Layers that Keras runs as a loop over steps, and can unroll."""
    layers = keep._flatten_layers() if hasattr(keep, "_flatten_layers") else []
    return [layer for layer in layers if getattr(layer, "unroll", None) is False]


def _steps(layer: Any) -> int | None:
    try:
        steps = layer.input.shape[0 if getattr(layer, "time_major", False) else 1]
    except Exception:  # noqa: BLE001  # layers of subclassed models have no symbolic input
        return None
    return None if steps is None else int(steps)


@contextlib.contextmanager
def _unrolled(layers: list[Any]) -> Iterator[None]:
    fusible = [layer for layer in layers if getattr(layer, "_could_use_gpu_kernel", False)]  # tf_keras: would make a loop
    for layer in layers:
        layer.unroll = True
    for layer in fusible:
        layer._could_use_gpu_kernel = False
    try:
        yield
    finally:
        for layer in layers:
            layer.unroll = False
        for layer in fusible:
            layer._could_use_gpu_kernel = True


def _calibrated(variant: str, content: bytes, rows: Rows, options: QuantizationOptions) -> bytes:
    import tensorflow as tf
    from tensorflow.lite.python import convert
    from tensorflow.lite.python.optimize import calibrator

    def samples() -> Iterator[tuple[str, Mapping[str, np.ndarray]]]:
        for signature, batches in more_signatures.rows_by_signature(content, rows).items():
            for batch in batches:  # by name: positions are the file's, not the model's
                yield signature, dict(batch)

    activations = tf.int8 if variant == "int8" else tf.int16
    outside = activations if options.integer_io else tf.float32
    worker = calibrator.Calibrator(calibrator.add_intermediate_tensors(content))
    if variant == "int8":
        ranges = worker.calibrate(samples)
        return bytes(convert.mlir_quantize(ranges, input_data_type=outside, output_data_type=outside))
    return bytes(worker.calibrate_and_quantize(samples, outside, outside, True, activations, tf.int64))


def _refusal(words: str) -> ModelError:
    return ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, f"{NAME} {words}")
