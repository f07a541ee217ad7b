"""Calibration by the kernels finds what the quantizer's own search finds, to the last bit; int4 has blocks where it can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import quantizer

from liteferry.tflite import flatbuffer, quantize
from liteferry.tflite.runners import LiteRTRunner
from tests.support import Run

Rows = list[dict[str, np.ndarray]]


def float_file(demo: Run, model_id: str) -> bytes:
    return (demo.out / "models" / model_id / "tflite" / "float32.tflite").read_bytes()


def worker_of(content: bytes) -> Any:
    return quantizer.Quantizer(bytearray(content), quantize._RECIPES["int8"]())


def rows_of(content: bytes, scale: float = 1.0) -> Rows:
    random = np.random.default_rng(0)
    inputs = flatbuffer.read_contract(content).inputs
    return [
        {
            tensor.name: (scale * random.random((8, *(size or 1 for size in tensor.shape[1:])))).astype(tensor.dtype)
            for tensor in inputs
        }
        for _ in range(2)
    ]


@pytest.mark.parametrize("variant", quantize.CALIBRATED)
@pytest.mark.parametrize("model_id", ["cnn", "mlp", "two_halves"])
def test_the_file_is_the_same_to_the_last_byte(demo: Run, monkeypatch: pytest.MonkeyPatch, model_id: str, variant: str) -> None:
    content = float_file(demo, model_id)
    rows = rows_of(content)
    assert quantize._ranges_by_the_kernels(worker_of(content), rows), "the kernels were not asked, the test compares nothing"
    quickly = quantize.make(variant, content, rows=lambda: rows, options=quantize.QuantizationOptions())
    monkeypatch.setattr(quantize, "_ranges_by_the_kernels", lambda worker, rows: None)
    assert quantize.make(variant, content, rows=lambda: rows, options=quantize.QuantizationOptions()) == quickly


def with_a_second_subgraph(content: bytes) -> bytes:
    """As loops and branches have one for their bodies."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.subgraphs.append(model.subgraphs[0])
    return packed(model)


def packed(model: schema.ModelT) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("change", "scale"),
    [
        pytest.param(with_a_second_subgraph, 1.0, id="a second subgraph"),
        pytest.param(bytes, 1e38, id="beyond the range of values"),
        pytest.param(bytes, float("nan"), id="no number"),
    ],
)
def test_what_it_cannot_do_is_left_to_the_quantizers_search(demo: Run, change: Callable[[bytes], bytes], scale: float) -> None:
    content = float_file(demo, "mlp")
    assert quantize._ranges_by_the_kernels(worker_of(change(content)), rows_of(content, scale)) is None


def matrix_of(model: schema.ModelT) -> schema.TensorT:
    """The first constant matrix whose rows divide into blocks."""
    tensors = [tensor for tensor in model.subgraphs[0].tensors if model.buffers[tensor.buffer].data is not None]
    return next(tensor for tensor in tensors if len(tensor.shape) == 2 and tensor.shape[1] % 64 == 0)


def with_large_weights_in_the_first_block(content: bytes) -> bytes:
    """Which leave the others no room where one scale is for all."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    matrix = matrix_of(model)
    buffer = model.buffers[matrix.buffer]
    weights = np.array(buffer.data, np.uint8).view(np.float32).reshape(matrix.shape)
    weights[:, :32] *= 50
    buffer.data = weights.view(np.uint8).ravel()
    return packed(model)


def weights_of(content: bytes) -> np.ndarray:
    """The same matrix in numbers, by the scales of its blocks or of its channels."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    matrix = matrix_of(model)
    stored = np.array(model.buffers[matrix.buffer].data, np.uint8)
    if matrix.type == schema.TensorType.FLOAT32:
        return stored.view(np.float32).reshape(matrix.shape)
    halves = np.stack([stored & 15, stored >> 4], axis=1).astype(np.int8).reshape(matrix.shape)
    integers = np.where(halves > 7, halves - 16, halves).astype(np.float32)
    if matrix.quantization.detailsType != schema.QuantizationDetails.BlockwiseQuantization:
        return integers * np.array(matrix.quantization.scale, np.float32)[:, None]
    scales = model.subgraphs[0].tensors[matrix.quantization.details.scales]
    values = np.array(model.buffers[scales.buffer].data, np.uint8).view(np.float16).astype(np.float32).reshape(scales.shape)
    return integers * np.repeat(values, 32, axis=1)


def test_int4_has_a_scale_for_each_block_where_rows_divide_into_them(demo: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    content = with_large_weights_in_the_first_block(float_file(demo, "mlp"))
    made = quantize.make("dynamic_int4", content, rows=list, options=quantize.QuantizationOptions())
    matrices = [
        tensor
        for tensor in schema.ModelT.InitFromPackedBuf(made, 0).subgraphs[0].tensors
        if tensor.type == schema.TensorType.INT4
    ]
    blocks = [schema.QuantizationDetails.BlockwiseQuantization == tensor.quantization.detailsType for tensor in matrices]
    assert blocks == [tensor.shape[1] % 32 == 0 for tensor in matrices] and any(blocks)
    assert flatbuffer.count_weights(made).keys() <= {"int4", "float32"}, "scales are no weights"
    assert LiteRTRunner(made).run(rows_of(content)[0])

    monkeypatch.setattr(quantize, "with_blocks", lambda recipe, content: recipe)
    plain = quantize.make("dynamic_int4", content, rows=list, options=quantize.QuantizationOptions())
    small = weights_of(content)[:, 32:]
    errors = [float(np.abs(weights_of(file)[:, 32:] - small).max() / np.abs(small).max()) for file in (made, plain)]
    assert errors[0] < 0.2 and errors[1] > 0.5, errors
