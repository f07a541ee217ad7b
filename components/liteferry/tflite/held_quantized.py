"""Reads which formats a .tflite file really uses: dtypes of its weights and arithmetic, and weights that stayed in float32."""

from __future__ import annotations

import collections
import math
from typing import Any

from liteferry.tflite import flatbuffer

KEPT_SHOWN = 5
# Operators that only move numbers or convert their format; they do not count as computing.
_MOVERS = frozenset(
    """
    RESHAPE TRANSPOSE SQUEEZE EXPAND_DIMS CONCATENATION SPLIT SPLIT_V SLICE STRIDED_SLICE PAD PADV2 MIRROR_PAD PACK UNPACK GATHER
    GATHER_ND EMBEDDING_LOOKUP TILE SHAPE RANK QUANTIZE DEQUANTIZE FAKE_QUANT CAST FILL BROADCAST_TO BROADCAST_ARGS REVERSE_V2
    SPACE_TO_DEPTH DEPTH_TO_SPACE SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND WHILE IF CALL CALL_ONCE VAR_HANDLE READ_VARIABLE
    ASSIGN_VARIABLE RANGE DYNAMIC_UPDATE_SLICE ZEROS_LIKE SCATTER_ND TOPK_V2 DELEGATE
    """.split()  # noqa: SIM905  # a table of words
)
_ELEMENTWISE = frozenset(
    """
    ADD SUB MUL DIV FLOOR_DIV FLOOR_MOD MAXIMUM MINIMUM POW SQUARED_DIFFERENCE SELECT SELECT_V2 EQUAL NOT_EQUAL LESS LESS_EQUAL
    GREATER GREATER_EQUAL PRELU
    """.split()  # noqa: SIM905  # a table of words
)
_QUANTIZED = frozenset({"int16", "uint16", "int8", "uint8", "int4", "uint4", "int2"})


def read(content: bytes) -> dict[str, Any]:
    """`{weights, elementwise, operators, kept}` of a .tflite file.

    `weights`: dtype -> elements of constant tensors of rank 2 or more that are floating point or quantised. `elementwise`:
    those of float32 that are an operand of arithmetic element by element, tables and masks most often. `operators`: dtype -> how
    many operators that compute give (or, where they give none, take) such numbers. `kept`: `{operator, elements}` of the weights
    that stayed in float32, by the operator that takes them, largest first.
    """
    schema = flatbuffer.schema_module()
    model = schema.Model.GetRootAs(content, 0)
    codes = flatbuffer._operator_names(schema, model)
    weights: collections.Counter[str] = collections.Counter()
    operators: collections.Counter[str] = collections.Counter()
    kept: collections.Counter[str] = collections.Counter()
    elementwise = 0
    for i in range(model.SubgraphsLength()):
        subgraph = model.Subgraphs(i)
        takers = _takers(subgraph, codes)
        scales = {flatbuffer._scales_of_blocks(subgraph.Tensors(j)) for j in range(subgraph.TensorsLength())}
        for j in range(subgraph.TensorsLength()):
            tensor = subgraph.Tensors(j)
            dtype = _held(tensor)
            if j in scales or dtype is None or tensor.ShapeLength() < 2 or not flatbuffer.is_constant(model, tensor):
                continue
            elements = math.prod(int(tensor.Shape(k)) for k in range(tensor.ShapeLength()))
            weights[dtype] += elements
            if dtype == "float32":
                taker = takers.get(j, "no operator")
                kept[taker] += elements
                elementwise += elements if taker in _ELEMENTWISE else 0
        for j in range(subgraph.OperatorsLength()):
            operator = subgraph.Operators(j)
            computes_in = None if codes[operator.OpcodeIndex()] in _MOVERS else _computes_in(subgraph, operator)
            if computes_in is not None:
                operators[computes_in] += 1
    return {
        "weights": dict(sorted(weights.items())),
        "elementwise": elementwise,
        "operators": dict(sorted(operators.items())),
        "kept": [{"operator": name, "elements": elements} for name, elements in kept.most_common(KEPT_SHOWN)],
    }


def _takers(subgraph: Any, codes: list[str]) -> dict[int, str]:
    """Tensor -> the first operator that reads it."""
    takers: dict[int, str] = {}
    for j in range(subgraph.OperatorsLength()):
        operator = subgraph.Operators(j)
        for k in range(operator.InputsLength()):
            takers.setdefault(int(operator.Inputs(k)), codes[operator.OpcodeIndex()])
    return takers


def _held(tensor: Any) -> str | None:
    """The dtype of a numeric tensor: floating point, or integers with a scale. None for indices, shapes and truth values."""
    dtype = flatbuffer.dtype_name(tensor)
    quantization = tensor.Quantization()
    has_scale = bool(quantization and (quantization.ScaleLength() or quantization.Details()))
    return dtype if dtype.startswith("float") or (has_scale and dtype in _QUANTIZED) else None


def _computes_in(subgraph: Any, operator: Any) -> str | None:
    """The dtype of an operator's numeric outputs, or of its inputs where it has none; None where neither are numeric."""
    sides = (
        [subgraph.Tensors(int(operator.Outputs(k))) for k in range(operator.OutputsLength()) if operator.Outputs(k) >= 0],
        [subgraph.Tensors(int(operator.Inputs(k))) for k in range(operator.InputsLength()) if operator.Inputs(k) >= 0],
    )
    for tensors in sides:
        dtypes = [dtype for tensor in tensors if (dtype := _held(tensor)) is not None]
        if dtypes:
            return dtypes[0]
    return None
