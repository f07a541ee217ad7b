"""TFRecord sample files of tf.Example, plain and gzip: framing and checksums here, decoding by tfx-bsl.

The decoder is the one that `tfx_bsl.tfxio.TFExampleRecord` uses. It is used directly because tfxio imports Beam, TensorFlow and
Keras, which a process that only reads rows does not need. Imports pyarrow, so only `registry` imports this module.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from liteferry.samples.formats import tf_structures
from liteferry.samples.formats.arrow import rows_of, with_default
from liteferry.samples.formats.record_files import frame_lengths, opened, records
from liteferry.samples.formats.rows import RECORD, ColumnSpec, FileFacts, RowRange, Rows, changed, mismatch
from liteferry.samples.formats.tf_schema import columns_of_schema

# A plain file can be cut anywhere, by walking over the frames before; a gzip file would have to be unpacked up to there.
_RANGE_ROWS = 65_536
_ROWS_LOOKED_AT, _BYTES_LOOKED_AT = 4096, 2**28


def describe_tfrecord(path: str, *, schema_file: str | None) -> FileFacts:
    """Counts the records by reading through the file. Columns come from the schema, or from the first records: a feature that has
    the same number of values in each of them has that shape, () for one value.
    """
    with opened(path) as (file, is_gzip):
        lengths = frame_lengths(file)
        row_count = sum(1 for _ in lengths)
    columns = columns_of_schema(schema_file) if schema_file else _infer(path)
    if not columns:
        raise mismatch(f"{path}: no tf.Example in it has a feature with a value; write one for each model input")
    whole, rest = divmod(row_count, _RANGE_ROWS)
    sizes = (row_count,) if is_gzip else (*[_RANGE_ROWS] * whole, rest)
    return FileFacts(columns=columns, range_sizes=sizes)


def read_tfrecord(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """Memory: one block. `@record` is the serialized record itself."""
    features = {name: spec for name, spec in columns.items() if name != RECORD}
    decoder = _decoder_of(features) if features else None
    with opened(path) as (file, _):
        if sum(1 for _ in itertools.islice(frame_lengths(file), wanted.start)) < wanted.start:
            raise changed(path, f"fewer than {wanted.start} records")
        found_records = records(file, wanted.start)
        row, left = wanted.first_row, wanted.count
        while left:
            block = list(itertools.islice(found_records, min(left, wanted.block_rows)))
            if not block:
                stop = wanted.start + wanted.count
                raise changed(path, f"{stop - left} records, had {stop} or more")
            batch = _decode(decoder, block, path, row) if features else None
            found = {name: _rows(batch, name, spec, row, path) for name, spec in features.items()}
            yield {**found, RECORD: _serialized(block)} if RECORD in columns else found
            row += len(block)
            left -= len(block)


def _decoder_of(columns: Mapping[str, ColumnSpec]) -> Any:
    from tensorflow_metadata.proto.v0 import schema_pb2

    if tf_structures.is_sequence_example(columns):
        types = {"int64": schema_pb2.INT, "float32": schema_pb2.FLOAT, "string": schema_pb2.BYTES}
        return tf_structures.sequence_decoder(columns, types)
    return _decoder(
        {part: dtype for name, spec in columns.items() for part, dtype in tf_structures.features_of(name, spec).items()}
    )


def _decoder(dtypes: Mapping[str, str] | None) -> Any:
    """Decodes tf.Examples to record batches: only these features, with these types, or all features for None."""
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tfx_bsl.cc.tfx_bsl_extension.coders import ExamplesToRecordBatchDecoder

    if dtypes is None:
        return ExamplesToRecordBatchDecoder(None)
    types = {"int64": schema_pb2.INT, "float32": schema_pb2.FLOAT, "string": schema_pb2.BYTES}
    schema = schema_pb2.Schema(feature=[schema_pb2.Feature(name=name, type=types[dtype]) for name, dtype in dtypes.items()])
    return ExamplesToRecordBatchDecoder(schema.SerializeToString())


def _decode(decoder: Any, records: Sequence[bytes], path: str, first_row: int) -> pa.RecordBatch:
    try:
        return decoder.DecodeBatch(records)
    except RuntimeError as error:  # tfx-bsl's error for an Example; it does not say which Example
        rows = f"rows {first_row} to {first_row + len(records) - 1}"
        raise mismatch(f"{path}: {rows}: not valid tf.Examples: {error}; write the file again") from error


def _infer(path: str) -> dict[str, ColumnSpec]:
    with opened(path) as (file, _):
        first = list(_up_to(records(file, 0), _ROWS_LOOKED_AT, _BYTES_LOOKED_AT))
    batch = _decode(_decoder(None), first, path, 0) if first else pa.RecordBatch.from_pylist([])
    columns = {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if pa.types.is_null(field.type):
            continue  # a feature that has no value in any record could be of any type
        lengths = np.unique(column.drop_null().value_lengths().to_numpy(zero_copy_only=False))
        shape: tuple[int | None, ...] = (int(lengths[0]) if len(lengths) == 1 else None,)
        value = field.type.value_type
        dtype = "string" if pa.types.is_large_binary(value) else np.dtype(value.to_pandas_dtype()).name
        columns[field.name] = ColumnSpec(dtype=dtype, shape=() if shape == (1,) else shape, is_flat=True)
    return columns


def _up_to(found: Iterator[bytes], most_rows: int, most_bytes: int) -> Iterator[bytes]:
    """The first records: at most a fixed number, or fewer if they reach a size limit."""
    total = 0
    for record in itertools.islice(found, most_rows):
        yield record
        total += len(record)
        if total > most_bytes:
            return


def _serialized(block: Sequence[bytes]) -> Rows:
    values = np.empty(len(block), object)
    values[:] = block
    return Rows(values, np.zeros((len(block), 0), np.int64))


def _rows(batch: pa.RecordBatch, name: str, spec: ColumnSpec, first_row: int, path: str) -> Rows:
    """A feature's lists as rows of its column's shape; a list that has another length is an error unless it is ragged."""
    if spec.origin[:1] == (tf_structures.SPARSE,):
        return tf_structures.dense_of(batch, name, spec, first_row=first_row, path=path)
    if spec.origin[:1] == (tf_structures.SEQUENCE,):
        return tf_structures.steps_of(batch, name, spec, first_row=first_row, path=path)
    filled = None
    if spec.default is not None:
        width = math.prod(size or 0 for size in spec.shape)
        column, filled = with_default(batch.column(name), spec.default, width=width)
        batch = pa.RecordBatch.from_arrays([column], names=[name])
    column = batch.column(name)
    if column.null_count:
        row = first_row + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise mismatch(
            f"{path}: column {name!r}, row {row}: this tf.Example has no such feature; LiteFerry fills nothing in, so write a "
            f"value, drop the row, or give one that stands in: `defaults: {{{name}: ...}}` of the samples entry"
        )
    flat = rows_of([batch], name, first_row, path)
    if spec.shape and spec.is_flat:
        return dataclasses.replace(flat, filled=filled)
    wanted = math.prod(size or 0 for size in spec.shape)
    uneven = np.flatnonzero(flat.shapes[:, 0] != wanted)
    if len(uneven):
        raise mismatch(
            f"{path}: column {name!r}, row {first_row + int(uneven[0])}: has {flat.shapes[uneven[0], 0]} values where "
            f"{wanted} are expected; correct or drop the row"
        )
    shape = np.array(spec.shape, np.int64)
    return Rows(flat.values, np.broadcast_to(shape, (len(flat.shapes), len(shape))), filled)
