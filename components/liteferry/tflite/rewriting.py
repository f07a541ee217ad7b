"""Changes .tflite flatbuffers: adds signatures and metadata, renames, and stores equal constants once. Imports no TensorFlow."""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.tflite.flatbuffer import IDENTIFIER, METADATA_NAME, SIGNATURE_KEY, schema_module, text_of


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
    schema = schema_module()
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
    return packed(model, len(content))


def embed_metadata(content: bytes, metadata: Mapping[str, Any] | None) -> bytes:
    """A flatbuffer with JSON-friendly metadata under the name "liteferry"; itself where there is none."""
    if metadata is None:
        return content
    schema = schema_module()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    _embed(schema, model, metadata)
    return packed(model, len(content))


def with_metadata_buffer(content: bytes, name: str, data: bytes) -> bytes:
    """A flatbuffer with a buffer of metadata under a name; one that it had under this name is replaced."""
    schema = schema_module()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.metadata = [entry for entry in model.metadata or [] if text_of(entry.name) != name]
    _add_buffer(schema, model, name, data)
    return packed(model, len(content))


def with_signature_renamed(content: bytes, name: str, new_name: str) -> bytes:
    """The same file with another name for one of its signatures."""
    model = schema_module().ModelT.InitFromPackedBuf(content, 0)
    for signature in model.signatureDefs or ():
        if text_of(signature.signatureKey) == name:
            signature.signatureKey = new_name.encode()
    return packed(model, len(content))


def with_shared_constants(content: bytes) -> bytes:
    """The same file with constants of equal bytes stored once: signatures that use the same weights get a copy each otherwise."""
    model = schema_module().ModelT.InitFromPackedBuf(content, 0)
    of_metadata = {entry.buffer for entry in model.metadata or ()}
    first: dict[bytes, int] = {}
    moved: dict[int, int] = {}
    for index, buffer in enumerate(model.buffers):
        data = b"" if buffer.data is None or index in of_metadata else bytes(buffer.data)
        if data and first.setdefault(data, index) != index:
            moved[index] = first[data]
            buffer.data = None
    if not moved:
        return content
    for tensor in (tensor for subgraph in model.subgraphs for tensor in subgraph.tensors):
        tensor.buffer = moved.get(tensor.buffer, tensor.buffer)
    return packed(model, len(content))


def with_one_row(content: bytes) -> bytes:
    """The same file with a batch of one where the batch is free, as its tensors' shapes have it; itself where another size is
    free, too.
    """
    model = schema_module().ModelT.InitFromPackedBuf(content, 0)
    tensors = [tensor for subgraph in model.subgraphs for tensor in subgraph.tensors]
    free = [[int(size) < 0 for size in tensor.shapeSignature] for tensor in tensors if tensor.shapeSignature is not None]
    if not any(map(any, free)) or any(any(sizes[1:]) for sizes in free):
        return content
    for tensor in tensors:
        tensor.shapeSignature = None
    return packed(model, len(content))


def with_short_names(content: bytes) -> bytes:
    """The same file with shorter tensor names, without the prefixes of the calls that wrap a loaded SavedModel's graph: in a
    small file these take more bytes than the weights. A name that would then clash with another tensor's is kept.
    """
    schema = schema_module()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for subgraph in model.subgraphs:
        taken = {text_of(tensor.name) for tensor in subgraph.tensors}
        for tensor in subgraph.tensors:
            short = ";".join(dict.fromkeys(_CALLS.sub("", part) for part in text_of(tensor.name).split(";")))
            if short not in taken:
                taken.add(short)
                tensor.name = short.encode()
    return packed(model, len(content))


_CALLS = re.compile(r"^(?:(?:Stateful)?PartitionedCall(?:_\d+)?/)+")


def packed(model: Any, size: int) -> bytes:
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
        by_name[text_of(subgraph.tensors[index].name)].append(int(index))
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
