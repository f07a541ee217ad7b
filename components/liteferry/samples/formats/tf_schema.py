"""A TensorFlow Metadata schema -> the columns of TFRecord files: types, shapes, and what stands in for a missing feature."""

from __future__ import annotations

from typing import Any

from liteferry import storage
from liteferry.errors import ReasonCode, SamplesError, StorageError
from liteferry.samples.formats.rows import ColumnSpec, mismatch


def columns_of_schema(schema_file: str) -> dict[str, ColumnSpec]:
    """A TensorFlow Metadata schema, as TFX's SchemaGen writes it (.pbtxt or .pb): a feature's `shape`, or its dense tensor
    representation, is its shape; a feature with neither may have any number of values.
    """
    from google.protobuf import message, text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    try:
        content = storage.read_bytes(schema_file)
    except StorageError as error:
        raise SamplesError(ReasonCode.SAMPLES_MISSING, f"{error}; correct schema_file of the samples entry") from error
    try:
        if schema_file.endswith(".pb"):
            schema = schema_pb2.Schema.FromString(content)
        else:
            schema = text_format.Parse(content.decode(), schema_pb2.Schema())
    except (message.DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise mismatch(
            f"{schema_file}: is not a TensorFlow Metadata schema: {error}; give the schema.pbtxt that TFX or TFDV wrote"
        ) from error
    types = {schema_pb2.INT: "int64", schema_pb2.FLOAT: "float32", schema_pb2.BYTES: "string"}
    tensors = {
        representation.dense_tensor.column_name or name: representation.dense_tensor
        for group in schema.tensor_representation_group.values()
        for name, representation in group.tensor_representation.items()
        if representation.HasField("dense_tensor")
    }
    columns = {}
    for feature in schema.feature:
        if feature.type not in types:
            continue
        dense = tensors.get(feature.name)
        shape = feature.shape if feature.HasField("shape") else dense.shape if dense else None
        default = _default(dense.default_value) if dense and dense.HasField("default_value") else None
        sizes = (None,) if shape is None else tuple(int(dim.size) for dim in shape.dim)
        columns[feature.name] = ColumnSpec(dtype=types[feature.type], shape=sizes, is_flat=shape is None, default=default)
    return columns


def _default(value: Any) -> str | float | bytes | None:
    """The one value that a schema's `default_value` holds."""
    kind = value.WhichOneof("kind")
    return None if kind is None else getattr(value, kind)
