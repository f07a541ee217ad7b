"""Reads .tflite flatbuffers: contract, operator counts, weights. Imports no TensorFlow."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from liteferry.types import Contract, TensorContract

SIGNATURE_KEY = "serving_default"
IDENTIFIER = b"TFL3"  # bytes 4 to 8 of every .tflite file
METADATA_NAME = "liteferry"


def is_tflite(path: str) -> bool:
    """Whether a file is a .tflite flatbuffer, by its bytes, not by its name."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(8)[4:] == IDENTIFIER


def schema_module() -> Any:
    """The generated code that reads and writes the format."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def text_of(value: Any) -> str:
    """A name in a flatbuffer, which is bytes or text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def read_metadata(content: bytes) -> dict[str, Any] | None:
    """The metadata that `add_signature` embedded; None in a file that LiteFerry did not write."""
    model = schema_module().Model.GetRootAs(content, 0)
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if text_of(entry.Name()) == METADATA_NAME:
            found: dict[str, Any] = json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
            return found
    return None


def count_weights(content: bytes) -> dict[str, int]:
    """Elements of constant float and quantised tensors, by dtype. Indices and shapes (int32 and wider without a scale) and the
    scales of blocks do not count.
    """
    schema = schema_module()
    model = schema.Model.GetRootAs(content, 0)
    counts: collections.Counter[str] = collections.Counter()
    for i in range(model.SubgraphsLength()):
        subgraph = model.Subgraphs(i)
        scales = {_scales_of_blocks(subgraph.Tensors(j)) for j in range(subgraph.TensorsLength())}
        for j in range(subgraph.TensorsLength()):
            tensor = subgraph.Tensors(j)
            if j in scales:
                continue
            if not is_constant(model, tensor):
                continue
            dtype = dtype_name(tensor)
            quantization = tensor.Quantization()
            if dtype.startswith("float") or (quantization and (quantization.ScaleLength() or quantization.Details())):
                counts[dtype] += math.prod(int(tensor.Shape(k)) for k in range(tensor.ShapeLength()))
    return dict(sorted(counts.items()))


def is_constant(model: Any, tensor: Any) -> bool:
    """Whether the file contains the tensor's values."""
    buffer = model.Buffers(tensor.Buffer())
    return bool(buffer.DataLength() or buffer.Offset() > 1)


def dtype_name(tensor: Any) -> str:
    """`float32`, `int8`, ..."""
    return _enum_name(schema_module().TensorType, tensor.Type()).lower()


def _scales_of_blocks(tensor: Any) -> int | None:
    """The tensor that holds the block scales of a blockwise-quantised tensor; None for any other."""
    schema = schema_module()
    quantization = tensor.Quantization()
    if quantization is None or quantization.DetailsType() != schema.QuantizationDetails.BlockwiseQuantization:
        return None
    blocks, details = schema.BlockwiseQuantization(), quantization.Details()
    blocks.Init(details.Bytes, details.Pos)
    return int(blocks.Scales())


def read_contract(content: bytes, signature_name: str | None = None) -> Contract:
    """Names, positions, dtypes, shapes and quantisation parameters of the inputs and outputs of a signature; in a file without
    one, of the main graph, under tensor names.

    Args:
      signature_name: None for that of the graph that an interpreter runs by default: `serving_default`, or the first one that
        is about this graph.
    """
    model = schema_module().Model.GetRootAs(content, 0)
    signature = _signature_of(model, signature_name)
    subgraph = model.Subgraphs(0 if signature is None else signature.SubgraphIndex())
    input_positions = {int(subgraph.Inputs(i)): i for i in range(subgraph.InputsLength())}
    output_positions = {int(subgraph.Outputs(i)): i for i in range(subgraph.OutputsLength())}
    if signature is not None:
        inputs = [_named(signature.Inputs(i)) for i in range(signature.InputsLength())]
        outputs = [_named(signature.Outputs(i)) for i in range(signature.OutputsLength())]
    else:
        inputs = [(text_of(subgraph.Tensors(index).Name() or b""), index) for index in input_positions]
        outputs = [(text_of(subgraph.Tensors(index).Name() or b""), index) for index in output_positions]
    return Contract(
        inputs=tuple(_tensor_contract(subgraph, name, index, input_positions) for name, index in inputs),
        outputs=tuple(_tensor_contract(subgraph, name, index, output_positions) for name, index in outputs),
    )


def signature_names(content: bytes) -> list[str]:
    """The signatures of a .tflite file in their order; empty where inputs and outputs have tensor names only."""
    model = schema_module().Model.GetRootAs(content, 0)
    return [text_of(model.SignatureDefs(i).SignatureKey() or b"") for i in range(model.SignatureDefsLength())]


def has_signature(content: bytes) -> bool:
    """Whether a .tflite file names its inputs and outputs in a signature."""
    return bool(signature_names(content))


def _signature_of(model: Any, name: str | None) -> Any:
    there = [model.SignatureDefs(i) for i in range(model.SignatureDefsLength())]
    if name is not None:
        return next(one for one in there if text_of(one.SignatureKey() or b"") == name)
    of_the_main_graph = [one for one in there if one.SubgraphIndex() == 0]
    return min(of_the_main_graph, key=lambda one: text_of(one.SignatureKey() or b"") != SIGNATURE_KEY, default=None)


def is_main_graph(content: bytes, name: str) -> bool:
    """Whether a signature is about the graph that an interpreter runs by default, the first one."""
    return bool(_signature_of(schema_module().Model.GetRootAs(content, 0), name).SubgraphIndex() == 0)


def _named(entry: Any) -> tuple[str, int]:
    return text_of(entry.Name()), int(entry.TensorIndex())


def _tensor_contract(subgraph: Any, name: str, index: int, positions: Mapping[int, int]) -> TensorContract:
    tensor = subgraph.Tensors(index)
    shape = [int(tensor.Shape(i)) for i in range(tensor.ShapeLength())]
    free = [int(tensor.ShapeSignature(i)) for i in range(tensor.ShapeSignatureLength())] or shape
    quantization = tensor.Quantization()
    scales = [float(quantization.Scale(i)) for i in range(quantization.ScaleLength())] if quantization else []
    zero_points = [int(quantization.ZeroPoint(i)) for i in range(quantization.ZeroPointLength())] if quantization else []
    return TensorContract(
        name=name,
        position=positions[index],
        tensor_index=index,
        tensor_name=text_of(tensor.Name()),
        dtype=_DTYPES.get(_enum_name(schema_module().TensorType, tensor.Type()), "unknown"),
        shape=tuple(None if size < 0 else size for size in free),
        scale=scales[0] if len(scales) == 1 else None,
        zero_point=zero_points[0] if len(scales) == 1 and zero_points else None,
    )


def _enum_name(enum: Any, value: int) -> str:
    return next((name for name, number in vars(enum).items() if number == value and not name.startswith("_")), f"#{value}")


_DTYPES = {
    "FLOAT32": "float32",
    "FLOAT16": "float16",
    "FLOAT64": "float64",
    "BFLOAT16": "bfloat16",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "BOOL": "bool",
    "STRING": "string",
    "COMPLEX64": "complex64",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class InnerTensorEntry:
    """An output of an operator of the main subgraph. `position` is the operator's index in order of execution; `constants` are
    the names of its constant inputs, mostly weights.
    """

    index: int
    name: str
    operator: str
    position: int
    constants: tuple[str, ...]


def read_inner_tensors(content: bytes) -> list[InnerTensorEntry]:
    """The outputs of the main subgraph's operators, in order of execution."""
    schema = schema_module()
    model = schema.Model.GetRootAs(content, 0)
    codes, subgraph = _operator_names(schema, model), model.Subgraphs(0)
    found = []
    for position in range(subgraph.OperatorsLength()):
        operator = subgraph.Operators(position)
        inputs = [subgraph.Tensors(int(operator.Inputs(j))) for j in range(operator.InputsLength()) if operator.Inputs(j) >= 0]
        constants = tuple(text_of(tensor.Name()) for tensor in inputs if model.Buffers(tensor.Buffer()).DataLength())
        for j in range(operator.OutputsLength()):
            index = int(operator.Outputs(j))
            name = text_of(subgraph.Tensors(index).Name())
            code = codes[operator.OpcodeIndex()]
            found.append(InnerTensorEntry(index=index, name=name, operator=code, position=position, constants=constants))
    return found


def count_operators(content: bytes) -> dict[str, int]:
    """How often each operator occurs in all subgraphs; custom ones by their own code."""
    schema = schema_module()
    model = schema.Model.GetRootAs(content, 0)
    codes = _operator_names(schema, model)
    counts: collections.Counter[str] = collections.Counter()
    for i in range(model.SubgraphsLength()):
        subgraph = model.Subgraphs(i)
        for j in range(subgraph.OperatorsLength()):
            counts[codes[subgraph.Operators(j).OpcodeIndex()]] += 1
    return dict(sorted(counts.items()))


def external_files(content: bytes) -> list[str]:
    """The external files with buffers that a model refers to: its groups of external buffers."""
    model = schema_module().Model.GetRootAs(content, 0)
    return [text_of(model.ExternalBufferGroups(number).Name() or b"") for number in range(model.ExternalBufferGroupsLength())]


def _operator_names(schema: Any, model: Any) -> list[str]:
    """By operator code; custom operators by their own code."""
    codes = []
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = _enum_name(schema.BuiltinOperator, builtin)
        codes.append(text_of(code.CustomCode()) if name == "CUSTOM" and code.CustomCode() else name)
    return codes
