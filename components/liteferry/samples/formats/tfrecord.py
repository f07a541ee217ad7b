"""TFRecord sample files of tf.Example, plain and gzip: framing and checksums here, decoding by tfx-bsl.

The decoder is the one that `tfx_bsl.tfxio.TFExampleRecord` uses. It is taken by itself because tfxio imports Beam, TensorFlow and
Keras, none of which a process that reads rows may need. Imports pyarrow, so only `sample_readers` imports it.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import math
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, cast

import google_crc32c
import numpy as np
import pyarrow as pa

from liteferry import storage
from liteferry.errors import ReasonCode, SamplesError, StorageError
from liteferry.samples.formats.arrow import rows_of
from liteferry.samples.formats.rows import ColumnSpec, FileFacts, RowRange, Rows, changed, mismatch

# A plain file can be cut anywhere, by walking over the frames before; a gzip file would have to be unpacked up to there.
_RANGE_ROWS = 65_536
_ROWS_LOOKED_AT, _BYTES_LOOKED_AT = 4096, 2**28
_MOST_RECORD_BYTES = 2**31  # protobuf's own limit
_SMALL_RECORD_BYTES, _MAX_RATIO = 2**28, 100
_BUFFER_BYTES = 1 << 20
_FRAME = struct.Struct("<QI")  # length of the record, masked crc of these eight bytes; the record's own crc follows it
_CRC = struct.Struct("<I")


def describe_tfrecord(path: str, *, schema_file: str | None) -> FileFacts:
    """Counts the records, which walks over all of them. Columns are the schema's, or what the first records hold: a feature with
    as many values in each of them has that many, () for one.
    """
    with _open(path) as (file, is_gzip):
        lengths = _frame_lengths(file)
        row_count = sum(1 for _ in lengths)
    columns = _columns_of_schema(schema_file) if schema_file else _infer(path)
    if not columns:
        raise mismatch(f"{path}: no tf.Example in it has a feature with a value; write one for each model input")
    whole, rest = divmod(row_count, _RANGE_ROWS)
    sizes = (row_count,) if is_gzip else (*[_RANGE_ROWS] * whole, rest)
    return FileFacts(columns=columns, range_sizes=sizes)


def read_tfrecord(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """Memory: one block."""
    decoder = _decoder({name: spec.dtype for name, spec in columns.items()})
    with _open(path) as (file, _):
        if sum(1 for _ in itertools.islice(_frame_lengths(file), wanted.start)) < wanted.start:
            raise changed(path, f"fewer than {wanted.start} records")
        records = _records(file, wanted.start)
        row, left = wanted.first_row, wanted.count
        while left:
            block = list(itertools.islice(records, min(left, wanted.block_rows)))
            if not block:
                stop = wanted.start + wanted.count
                raise changed(path, f"{stop - left} records, had {stop} or more")
            batch = _decode(decoder, block, path, row)
            yield {name: _rows(batch, name, spec, row, path) for name, spec in columns.items()}
            row += len(block)
            left -= len(block)


@contextlib.contextmanager
def _open(path: str) -> Iterator[tuple[BinaryIO, bool]]:
    """The records' bytes, and whether they are compressed. The content decides, since names of shards end in anything."""
    with open(path, "rb", buffering=_BUFFER_BYTES) as raw:
        head = raw.read(_FRAME.size)
        raw.seek(0)
        if not head.startswith(b"\x1f\x8b") or _is_frame(head):
            yield raw, False
        else:
            with gzip.open(raw) as unpacked:
                yield cast(BinaryIO, unpacked), True


def _masked_crc(content: bytes) -> int:
    crc: int = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _is_frame(head: bytes) -> bool:
    return len(head) == _FRAME.size and _masked_crc(head[:8]) == _FRAME.unpack(head)[1]


def _frame_lengths(file: BinaryIO) -> Iterator[int]:
    """The length of every record; each is stepped over before the next is asked for."""
    is_gzip = isinstance(file, gzip.GzipFile)
    stored = _stored_bytes(file)
    for number in itertools.count():
        head = file.read(_FRAME.size)
        if not head:
            return
        if not _is_frame(head):
            raise ValueError(f"record {number} does not begin as one does, or its length is damaged")
        length = _length(head, number, stored)
        rest = length + _CRC.size
        if not _skip(file, rest) if is_gzip else file.seek(rest, os.SEEK_CUR) > stored:
            raise ValueError(f"record {number} is cut short")
        yield length


def _length(head: bytes, number: int, stored_bytes: int) -> int:
    """The length that a record announces. Raises ValueError for one that no tf.Example has, or no file of this size."""
    length: int = _FRAME.unpack(head)[0]
    if length > _MOST_RECORD_BYTES or (length > _SMALL_RECORD_BYTES and length > _MAX_RATIO * stored_bytes):
        raise ValueError(f"record {number} claims {length:,} bytes, in a file of {stored_bytes:,}")
    return length


def _skip(file: BinaryIO, count: int) -> bool:
    """Reads over so many bytes, a piece at a time. False when there are not so many."""
    while count:
        piece = file.read(min(count, _BUFFER_BYTES))
        if not piece:
            return False
        count -= len(piece)
    return True


def _stored_bytes(file: BinaryIO) -> int:
    """The size of the file that is read, packed if it is."""
    return os.fstat(file.fileno()).st_size


def _records(file: BinaryIO, number: int) -> Iterator[bytes]:
    """The records from where the file stands; `number` is the first one's place in the file."""
    stored = _stored_bytes(file)
    while head := file.read(_FRAME.size):
        if not _is_frame(head):
            raise ValueError(f"record {number} does not begin as one does, or its length is damaged")
        length = _length(head, number, stored)
        content = file.read(length + _CRC.size)
        if len(content) < length + _CRC.size:
            raise ValueError(f"record {number} is cut short")
        record = content[:length]
        if _masked_crc(record) != _CRC.unpack(content[length:])[0]:
            raise ValueError(f"record {number} is damaged: its checksum is not that of its bytes")
        yield record
        number += 1


def _decoder(dtypes: Mapping[str, str] | None) -> Any:
    """Decodes tf.Examples to record batches: these features alone, with these types, or, for None, whatever there is."""
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
    except RuntimeError as error:  # how tfx-bsl says what is wrong with an Example; it does not say in which
        rows = f"rows {first_row} to {first_row + len(records) - 1}"
        raise mismatch(f"{path}: {rows}: not the tf.Examples they should be: {error}; write the file again") from error


def _infer(path: str) -> dict[str, ColumnSpec]:
    with _open(path) as (file, _):
        records = list(_up_to(_records(file, 0), _ROWS_LOOKED_AT, _BYTES_LOOKED_AT))
    batch = _decode(_decoder(None), records, path, 0) if records else pa.RecordBatch.from_pylist([])
    columns = {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if pa.types.is_null(field.type):
            continue  # a feature without a value anywhere: it could be of any type
        lengths = np.unique(column.drop_null().value_lengths().to_numpy(zero_copy_only=False))
        shape: tuple[int | None, ...] = (int(lengths[0]) if len(lengths) == 1 else None,)
        value = field.type.value_type
        dtype = "string" if pa.types.is_large_binary(value) else np.dtype(value.to_pandas_dtype()).name
        columns[field.name] = ColumnSpec(dtype=dtype, shape=() if shape == (1,) else shape, is_flat=True)
    return columns


def _up_to(records: Iterator[bytes], most_rows: int, most_bytes: int) -> Iterator[bytes]:
    """The first records: so many, or fewer when they have so many bytes together."""
    total = 0
    for record in itertools.islice(records, most_rows):
        yield record
        total += len(record)
        if total > most_bytes:
            return


def _columns_of_schema(schema_file: str) -> dict[str, ColumnSpec]:
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
            f"{schema_file}: is no TensorFlow Metadata schema: {error}; give the schema.pbtxt that TFX or TFDV wrote"
        ) from error
    types = {schema_pb2.INT: "int64", schema_pb2.FLOAT: "float32", schema_pb2.BYTES: "string"}
    tensors = {
        representation.dense_tensor.column_name or name: representation.dense_tensor.shape
        for group in schema.tensor_representation_group.values()
        for name, representation in group.tensor_representation.items()
        if representation.HasField("dense_tensor")
    }
    columns = {}
    for feature in schema.feature:
        if feature.type not in types:
            continue
        shape = feature.shape if feature.HasField("shape") else tensors.get(feature.name)
        if shape is not None:
            columns[feature.name] = ColumnSpec(dtype=types[feature.type], shape=tuple(int(dim.size) for dim in shape.dim))
        else:
            columns[feature.name] = ColumnSpec(dtype=types[feature.type], shape=(None,), is_flat=True)
    return columns


def _rows(batch: pa.RecordBatch, name: str, spec: ColumnSpec, first_row: int, path: str) -> Rows:
    """A feature's lists as rows of its column's shape; a list that has another length is an error unless it is ragged."""
    column = batch.column(name)
    if column.null_count:
        row = first_row + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise mismatch(
            f"{path}: column {name!r}, row {row}: this tf.Example has no such feature; LiteFerry fills nothing in, so write a "
            "value or drop the row"
        )
    flat = rows_of([batch], name, first_row, path)
    if spec.shape and spec.is_flat:
        return flat
    wanted = math.prod(size or 0 for size in spec.shape)
    uneven = np.flatnonzero(flat.shapes[:, 0] != wanted)
    if len(uneven):
        raise mismatch(
            f"{path}: column {name!r}, row {first_row + int(uneven[0])}: has {flat.shapes[uneven[0], 0]} values where "
            f"{wanted} are expected; correct or drop the row"
        )
    shape = np.array(spec.shape, np.int64)
    return Rows(flat.values, np.broadcast_to(shape, (len(flat.shapes), len(shape))))
