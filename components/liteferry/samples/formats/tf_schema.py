"""A TensorFlow Metadata schema -> the columns of TFRecord files: types, shapes, and defaults of missing features."""

from __future__ import annotations

import dataclasses
from typing import Any

from liteferry import storage
from liteferry.errors import ReasonCode, SamplesError, StorageError
from liteferry.samples.formats.rows import ColumnSpec, mismatch
from liteferry.samples.formats.tf_structures import CONTEXT, SEQUENCE, SPARSE, STEPS


def columns_of_schema(schema_file: str) -> dict[str, ColumnSpec]:
    """A TensorFlow Metadata schema, as TFX's SchemaGen writes it (.pbtxt or .pb): a feature's `shape`, or its dense tensor
    representation, is its shape; a feature with neither may have any number of values. Sparse tensors become dense columns. A
    struct `##SEQUENCE##` says that the records are tf.SequenceExamples.
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
    steps = [feature for feature in schema.feature if feature.name == STEPS and feature.HasField("struct_domain")]
    if steps:
        context = {name: dataclasses.replace(spec, origin=(CONTEXT,)) for name, spec in _lists(schema).items()}
        return {**context, **_steps(steps[0])}
    return {**_lists(schema), **_sparse(schema)}


def _types() -> dict[int, str]:
    from tensorflow_metadata.proto.v0 import schema_pb2

    return {schema_pb2.INT: "int64", schema_pb2.FLOAT: "float32", schema_pb2.BYTES: "string"}


def _representations(schema: Any, kind: str) -> dict[str, Any]:
    """Tensor -> its representation, for those of one kind."""
    return {
        name: getattr(representation, kind)
        for group in schema.tensor_representation_group.values()
        for name, representation in group.tensor_representation.items()
        if representation.HasField(kind)
    }


def _lists(schema: Any) -> dict[str, ColumnSpec]:
    tensors = {dense.column_name or name: dense for name, dense in _representations(schema, "dense_tensor").items()}
    columns, types = {}, _types()
    for feature in schema.feature:
        if feature.type not in types:
            continue
        dense = tensors.get(feature.name)
        shape = feature.shape if feature.HasField("shape") else dense.shape if dense else None
        default = _default(dense.default_value) if dense and dense.HasField("default_value") else None
        sizes = (None,) if shape is None else tuple(int(dim.size) for dim in shape.dim)
        columns[feature.name] = ColumnSpec(dtype=types[feature.type], shape=sizes, is_flat=shape is None, default=default)
    return columns


def _steps(struct: Any) -> dict[str, ColumnSpec]:
    """The feature lists of tf.SequenceExamples: any number of steps, each of its feature's shape; one value where it has none."""
    columns, types = {}, _types()
    for feature in struct.struct_domain.feature:
        if feature.type in types:
            is_one = not feature.HasField("shape") and (not feature.HasField("value_count") or feature.value_count.max == 1)
            step = () if is_one else tuple(int(dim.size) for dim in feature.shape.dim) if feature.HasField("shape") else (None,)
            columns[feature.name] = ColumnSpec(dtype=types[feature.type], shape=(None, *step), origin=(SEQUENCE,))
    return columns


def _sparse(schema: Any) -> dict[str, ColumnSpec]:
    """Sparse tensors of a known shape, by their representations and by the schema's sparse features, as dense columns."""
    features, types = {feature.name: feature for feature in schema.feature}, _types()
    found = {
        name: (sparse.value_column_name, list(sparse.index_column_names), [int(dim.size) for dim in sparse.dense_shape.dim])
        for name, sparse in _representations(schema, "sparse_tensor").items()
    }
    for sparse in schema.sparse_feature:
        indices = [index.name for index in sparse.index_feature]
        sizes = [features[name].int_domain.max + 1 if name in features else 0 for name in indices]
        found.setdefault(sparse.name, (sparse.value_feature.name, indices, sizes))
    columns = {}
    for name, (values, indices, sizes) in found.items():
        kind = features[values].type if values in features else None
        is_known = len(sizes) == len(indices) and all(size > 0 for size in sizes)
        if is_known and (kind is None or kind in types):
            dtype = "float32" if kind is None else types[kind]
            columns[name] = ColumnSpec(dtype=dtype, shape=tuple(sizes), origin=(SPARSE, values, *indices))
    return columns


def _default(value: Any) -> str | float | bytes | None:
    """The one value that a schema's `default_value` holds."""
    kind = value.WhichOneof("kind")
    return None if kind is None else getattr(value, kind)
