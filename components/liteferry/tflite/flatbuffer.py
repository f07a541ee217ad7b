"""Reads .tflite flatbuffers (contract, operator counts, weights) and adds signature names to them. Imports no TensorFlow."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage
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


def _schema() -> Any:
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def add_signature(
    content: bytes, *, inputs: Mapping[str, str], outputs: Mapping[str, str], metadata: Mapping[str, Any] | None = None
) -> bytes:
    """Puts a SignatureDef with the model's own names into a flatbuffer that came from a frozen graph.

    Args:
      content: the flatbuffer.
      inputs: signature name -> tensor name of every graph input.
      outputs: signature name -> tensor name of every graph output.
      metadata: JSON-friendly; embedded under the name "liteferry", where `read_metadata` finds it.

    Raises:
      ModelError: CONVERT_FAILED when a name does not match exactly one input or output. Positions are never used instead.
    """
    schema = _schema()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    subgraph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey = SIGNATURE_KEY
    signature.subgraphIndex = 0
    signature.inputs = _tensor_maps(schema, subgraph, subgraph.inputs, inputs, "input")
    signature.outputs = _tensor_maps(schema, subgraph, subgraph.outputs, outputs, "output")
    model.signatureDefs = [signature]
    if metadata is not None:
        _embed(schema, model, metadata)
    return _packed(model, len(content))


def embed_metadata(content: bytes, metadata: Mapping[str, Any] | None) -> bytes:
    """A flatbuffer with JSON-friendly metadata under the name "liteferry"; itself where there is none."""
    if metadata is None:
        return content
    schema = _schema()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    _embed(schema, model, metadata)
    return _packed(model, len(content))


def with_metadata_buffer(content: bytes, name: str, data: bytes) -> bytes:
    """A flatbuffer with a buffer of metadata under a name; one that it had under this name is replaced."""
    schema = _schema()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.metadata = [entry for entry in model.metadata or [] if _text(entry.name) != name]
    _add_buffer(schema, model, name, data)
    return _packed(model, len(content))


def with_short_names(content: bytes) -> bytes:
    """The same file with shorter tensor names, without the prefixes of the calls that wrap a loaded SavedModel's graph: in a
    small file these take more bytes than the weights. A name that would then clash with another tensor's is kept.
    """
    schema = _schema()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for subgraph in model.subgraphs:
        taken = {_text(tensor.name) for tensor in subgraph.tensors}
        for tensor in subgraph.tensors:
            short = ";".join(dict.fromkeys(_CALLS.sub("", part) for part in _text(tensor.name).split(";")))
            if short not in taken:
                taken.add(short)
                tensor.name = short.encode()
    return _packed(model, len(content))


_CALLS = re.compile(r"^(?:(?:Stateful)?PartitionedCall(?:_\d+)?/)+")


def _packed(model: Any, size: int) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(size + 4096)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _embed(schema: Any, model: Any, metadata: Mapping[str, Any]) -> None:
    _add_buffer(schema, model, METADATA_NAME, json.dumps(metadata, sort_keys=True).encode())


def _add_buffer(schema: Any, model: Any, name: str, data: bytes) -> None:
    buffer = schema.BufferT()
    buffer.data = list(data)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name = name
    entry.buffer = len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]


def read_metadata(content: bytes) -> dict[str, Any] | None:
    """The metadata that `add_signature` embedded; None in a file that LiteFerry did not write."""
    model = _schema().Model.GetRootAs(content, 0)
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if _text(entry.Name()) == METADATA_NAME:
            found: dict[str, Any] = json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
            return found
    return None


def count_weights(content: bytes) -> dict[str, int]:
    """Elements of constant float and quantised tensors, by dtype. Indices and shapes (int32 and wider without a scale) and the
    scales of blocks do not count.
    """
    schema = _schema()
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
    return _enum_name(_schema().TensorType, tensor.Type()).lower()


def _scales_of_blocks(tensor: Any) -> int | None:
    """The tensor that holds the block scales of a blockwise-quantised tensor; None for any other."""
    schema = _schema()
    quantization = tensor.Quantization()
    if quantization is None or quantization.DetailsType() != schema.QuantizationDetails.BlockwiseQuantization:
        return None
    blocks, details = schema.BlockwiseQuantization(), quantization.Details()
    blocks.Init(details.Bytes, details.Pos)
    return int(blocks.Scales())


def _tensor_maps(schema: Any, subgraph: Any, indices: Sequence[int], names: Mapping[str, str], side: str) -> list[Any]:
    if len(indices) != len(names):
        raise ModelError(
            ReasonCode.CONVERT_FAILED,
            Stage.CONVERT,
            f"the flatbuffer has {len(indices)} {side}s, the model {len(names)} ({', '.join(names)}); "
            "one that has no name would be left unset by every caller",
        )
    by_name: dict[str, list[int]] = collections.defaultdict(list)
    for index in indices:
        by_name[_text(subgraph.tensors[index].name)].append(int(index))
    maps = []
    for name, tensor_name in names.items():
        found = by_name.get(tensor_name, [])
        if len(found) != 1:
            there = ", ".join(sorted(by_name)) or "none"
            raise ModelError(
                ReasonCode.CONVERT_FAILED,
                Stage.CONVERT,
                f"{side} {name!r} should be tensor {tensor_name!r} of the flatbuffer, which has {len(found)} such {side}s "
                f"({side}s: {there}); "
                "two names for one tensor cannot be told apart: give the model separate tensors",
            )
        entry = schema.TensorMapT()
        entry.name = name
        entry.tensorIndex = found[0]
        maps.append(entry)
    return maps


def read_contract(content: bytes) -> Contract:
    """Names, positions, dtypes, shapes and quantisation parameters of the inputs and outputs of the first signature; in a file
    without a signature, of the main graph, under tensor names.
    """
    schema = _schema()
    model = schema.Model.GetRootAs(content, 0)
    subgraph = model.Subgraphs(0)
    input_positions = {int(subgraph.Inputs(i)): i for i in range(subgraph.InputsLength())}
    output_positions = {int(subgraph.Outputs(i)): i for i in range(subgraph.OutputsLength())}
    if has_signature(content):
        signature = model.SignatureDefs(0)
        inputs = [_named(signature.Inputs(i)) for i in range(signature.InputsLength())]
        outputs = [_named(signature.Outputs(i)) for i in range(signature.OutputsLength())]
    else:
        inputs = [(_text(subgraph.Tensors(index).Name() or b""), index) for index in input_positions]
        outputs = [(_text(subgraph.Tensors(index).Name() or b""), index) for index in output_positions]
    return Contract(
        inputs=tuple(_tensor_contract(subgraph, name, index, input_positions) for name, index in inputs),
        outputs=tuple(_tensor_contract(subgraph, name, index, output_positions) for name, index in outputs),
    )


def has_signature(content: bytes) -> bool:
    """Whether a .tflite file names its inputs and outputs in a signature."""
    return int(_schema().Model.GetRootAs(content, 0).SignatureDefsLength()) > 0


def _named(entry: Any) -> tuple[str, int]:
    return _text(entry.Name()), int(entry.TensorIndex())


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
        tensor_name=_text(tensor.Name()),
        dtype=_DTYPES.get(_enum_name(_schema().TensorType, tensor.Type()), "unknown"),
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
    schema = _schema()
    model = schema.Model.GetRootAs(content, 0)
    codes, subgraph = _operator_names(schema, model), model.Subgraphs(0)
    found = []
    for position in range(subgraph.OperatorsLength()):
        operator = subgraph.Operators(position)
        inputs = [subgraph.Tensors(int(operator.Inputs(j))) for j in range(operator.InputsLength()) if operator.Inputs(j) >= 0]
        constants = tuple(_text(tensor.Name()) for tensor in inputs if model.Buffers(tensor.Buffer()).DataLength())
        for j in range(operator.OutputsLength()):
            index = int(operator.Outputs(j))
            name = _text(subgraph.Tensors(index).Name())
            code = codes[operator.OpcodeIndex()]
            found.append(InnerTensorEntry(index=index, name=name, operator=code, position=position, constants=constants))
    return found


def count_operators(content: bytes) -> dict[str, int]:
    """How often each operator occurs in all subgraphs; custom ones by their own code."""
    schema = _schema()
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
    model = _schema().Model.GetRootAs(content, 0)
    return [_text(model.ExternalBufferGroups(number).Name() or b"") for number in range(model.ExternalBufferGroupsLength())]


def _operator_names(schema: Any, model: Any) -> list[str]:
    """By operator code; custom operators by their own code."""
    codes = []
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = _enum_name(schema.BuiltinOperator, builtin)
        codes.append(_text(code.CustomCode()) if name == "CUSTOM" and code.CustomCode() else name)
    return codes
