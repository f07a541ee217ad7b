"""Calibration by the kernels finds what the quantizer's own search finds, to the last bit; int4 has blocks where it can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import quantizer

from liteferry import flatbuffer, variants
from liteferry.runners import LiteRTRunner
from tests.support import Run

Rows = list[dict[str, np.ndarray]]


def float_file(demo: Run, model_id: str) -> bytes:
    return (demo.out / "models" / model_id / "tflite" / "float32.tflite").read_bytes()


def worker_of(content: bytes) -> Any:
    return quantizer.Quantizer(bytearray(content), variants._RECIPES["int8"]())


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


@pytest.mark.parametrize("variant", variants.CALIBRATED)
@pytest.mark.parametrize("model_id", ["cnn", "mlp", "two_halves"])
def test_the_file_is_the_same_to_the_last_byte(demo: Run, monkeypatch: pytest.MonkeyPatch, model_id: str, variant: str) -> None:
    content = float_file(demo, model_id)
    rows = rows_of(content)
    assert variants._ranges_by_the_kernels(worker_of(content), rows), "the kernels were not asked, the test compares nothing"
    quickly = variants.make(variant, content, rows=lambda: rows, options=variants.QuantizationOptions())
    monkeypatch.setattr(variants, "_ranges_by_the_kernels", lambda worker, rows: None)
    assert variants.make(variant, content, rows=lambda: rows, options=variants.QuantizationOptions()) == quickly


def with_a_second_subgraph(content: bytes) -> bytes:
    """As loops and branches have one for their bodies."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.subgraphs.append(model.subgraphs[0])
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
    assert variants._ranges_by_the_kernels(worker_of(change(content)), rows_of(content, scale)) is None


def outputs(content: bytes, rows: Rows) -> np.ndarray:
    found = [LiteRTRunner(content).run(batch) for batch in rows]
    return np.concatenate([next(iter(batch.values())) for batch in found])


def test_int4_has_a_scale_for_each_block_where_rows_divide_into_them(demo: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    content = float_file(demo, "mlp")
    made = variants.make("dynamic_int4", content, rows=list, options=variants.QuantizationOptions())
    model = schema.ModelT.InitFromPackedBuf(made, 0)
    weights = [tensor for tensor in model.subgraphs[0].tensors if tensor.type == schema.TensorType.INT4]
    blocks = [schema.QuantizationDetails.BlockwiseQuantization == tensor.quantization.detailsType for tensor in weights]
    assert blocks == [tensor.shape[1] % 32 == 0 for tensor in weights] and any(blocks)
    assert flatbuffer.count_weights(made).keys() <= {"int4", "float32"}, "scales are no weights"

    monkeypatch.setattr(variants, "with_blocks", lambda recipe, content: recipe)
    plain = variants.make("dynamic_int4", content, rows=list, options=variants.QuantizationOptions())
    rows = rows_of(content)
    expected = outputs(content, rows)
    errors = [float(np.sum((outputs(file, rows) - expected) ** 2)) for file in (made, plain)]
    assert errors[0] < errors[1], errors
