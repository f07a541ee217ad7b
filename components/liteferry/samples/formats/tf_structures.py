"""Columns of TFRecord files that consist of several lists by their schema: steps of a tf.SequenceExample, and sparse tensors.

`ColumnSpec.origin` says which: ("sequence",) and ("context",) for the two halves of a tf.SequenceExample, or ("sparse", values,
index, index, ...) for the features that a sparse tensor is made of. Imports pyarrow, as `tfrecord` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from liteferry.samples.formats.arrow import rows_of
from liteferry.samples.formats.rows import ColumnSpec, Rows, mismatch

SEQUENCE, CONTEXT, SPARSE = "sequence", "context", "sparse"
STEPS = "##SEQUENCE##"  # TFX's name for the struct with the lists of a tf.SequenceExample, in schemas and in batches


def is_sequence_example(columns: Mapping[str, ColumnSpec]) -> bool:
    """Whether the columns are those of tf.SequenceExamples."""
    return any(spec.origin[:1] in ((SEQUENCE,), (CONTEXT,)) for spec in columns.values())


def features_of(name: str, spec: ColumnSpec) -> dict[str, str]:
    """The features that a column is read from -> their types."""
    if spec.origin[:1] == (SPARSE,):
        values, *indices = spec.origin[1:]
        return {values: spec.dtype, **dict.fromkeys(indices, "int64")}
    return {name: spec.dtype}


def sequence_decoder(columns: Mapping[str, ColumnSpec], types: Mapping[str, int]) -> Any:
    """Decodes tf.SequenceExamples to record batches of these columns, steps below STEPS."""
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tfx_bsl.cc.tfx_bsl_extension.coders import SequenceExamplesToRecordBatchDecoder

    schema = schema_pb2.Schema()
    steps = schema.feature.add(name=STEPS, type=schema_pb2.STRUCT)
    for name, spec in columns.items():
        features = steps.struct_domain.feature if spec.origin[:1] == (SEQUENCE,) else schema.feature
        features.add(name=name, type=types[spec.dtype])
    if not steps.struct_domain.feature:
        del schema.feature[0]
    return SequenceExamplesToRecordBatchDecoder(STEPS, schema.SerializeToString())


def steps_of(batch: pa.RecordBatch, name: str, spec: ColumnSpec, *, first_row: int, path: str) -> Rows:
    """A feature list of tf.SequenceExamples as rows (steps, *shape of a step)."""
    struct = batch.column(STEPS)
    lists = struct.field(name) if struct.null_count == 0 else struct.flatten()[struct.type.get_field_index(name)]
    if lists.null_count:
        row = first_row + int(np.flatnonzero(lists.is_null().to_numpy(zero_copy_only=False))[0])
        raise mismatch(f"{path}: column {name!r}, row {row}: this tf.SequenceExample has no such feature list; drop the row")
    found = rows_of([pa.RecordBatch.from_arrays([lists], names=[name])], name, first_row, path)
    step = spec.shape[1:]
    if None in step:
        return found
    width = math.prod(size or 0 for size in step)
    uneven = np.flatnonzero((found.shapes[:, 1] != width) & (found.shapes[:, 0] > 0))
    if len(uneven):
        row, held = first_row + int(uneven[0]), int(found.shapes[uneven[0], 1])
        raise mismatch(f"{path}: column {name!r}, row {row}: a step has {held} values where {width} are expected; drop the row")
    tail = np.broadcast_to(np.array(step, np.int64), (len(found.shapes), len(step)))
    return Rows(found.values, np.concatenate([found.shapes[:, :1], tail], axis=1))


def dense_of(batch: pa.RecordBatch, name: str, spec: ColumnSpec, *, first_row: int, path: str) -> Rows:
    """A sparse tensor as dense rows, (rows, *shape): zeros, or empty texts, where it has no value. A row without any value is one
    of zeros.

    Raises:
      SamplesError: SAMPLES_MISMATCH if there are more or fewer indices than values, or indices outside the shape.
    """
    shape = tuple(size or 0 for size in spec.shape)
    values, *indices = (_lists(batch.column(feature)) for feature in spec.origin[1:])
    is_text = spec.dtype == "string"
    dense = np.full((len(batch), *shape), b"", object) if is_text else np.zeros((len(batch), *shape), spec.dtype)
    for row, found in enumerate(values):
        places = [index[row] for index in indices]
        where = f"{path}: column {name!r}, row {first_row + row}"
        if any(len(place) != len(found) for place in places):
            told = ", ".join(str(len(place)) for place in places)
            raise mismatch(f"{where}: a sparse tensor with {len(found)} values and {told} indices; correct or drop the row")
        for axis, place in enumerate(places):
            outside = [at for at in place if not 0 <= at < shape[axis]]
            if outside:
                raise mismatch(
                    f"{where}: index {outside[0]} of a sparse tensor of shape {shape}; correct the schema's shape, or the row"
                )
        for value, *place in zip(found, *places, strict=True):
            dense[(row, *place)] = value
    shapes = np.broadcast_to(np.array(shape, np.int64), (len(batch), len(shape)))
    return Rows(dense.reshape(-1), shapes)


def _lists(column: pa.Array) -> Sequence[Sequence[Any]]:
    return [found or [] for found in column.to_pylist()]
