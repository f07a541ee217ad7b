"""Protocol buffers of TensorFlow without TensorFlow: the wire format, TensorProto, and the TensorSpec of a saved structure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

# DataType of tensorflow/core/framework/types.proto -> NumPy's name.
_DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    9: "int64",
    10: "bool",
    17: "uint16",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_VARINT_BITS = 70
# Fields of TensorProto.
_DTYPE, _SHAPE, _CONTENT, _STRINGS = 1, 2, 4, 8


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field, in order: whole numbers as they are on the wire, all else as bytes.

    Raises:
      ValueError: the bytes are not a message.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of wire type {kind}, which no message of TensorFlow has")
        if at + size > len(message):
            raise ValueError("a field that is longer than its message")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < _MOST_VARINT_BITS:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
    raise ValueError("a number that does not end")


def tensor(message: bytes) -> np.ndarray:
    """The array of a TensorProto that holds its content as bytes, or texts; texts as an object array of bytes.

    Raises:
      ValueError: it has another form, or its sizes do not agree.
    """
    dtype, content, texts = 0, b"", []
    shape: tuple[int | None, ...] = ()
    for number, value in fields(message):
        if number == _DTYPE and isinstance(value, int):
            dtype = value
        elif number == _SHAPE and isinstance(value, bytes):
            shape = _shape(value)
        elif number == _CONTENT and isinstance(value, bytes):
            content = value
        elif number == _STRINGS and isinstance(value, bytes):
            texts.append(value)
    if dtype not in _DTYPES or any(size is None for size in shape):
        raise ValueError(f"a tensor of type {dtype}, which no column has")
    sizes = tuple(size or 0 for size in shape)
    if _DTYPES[dtype] == "string":
        texts = texts or _texts(content, math.prod(sizes))
        if len(texts) != math.prod(sizes):
            raise ValueError(f"{len(texts)} texts in a tensor of shape {sizes}")
        array = np.empty(len(texts), object)
        array[:] = texts
        return array.reshape(sizes)
    return np.frombuffer(content, _DTYPES[dtype]).reshape(sizes)


def _texts(content: bytes, count: int) -> list[bytes]:
    """Texts that are stored as a tensor's content: their lengths, then the texts (`EncodeStringList` of TensorFlow)."""
    if count > len(content):
        raise ValueError(f"{count:,} texts in {len(content):,} bytes")
    at, sizes = 0, []
    for _ in range(count):
        size, at = _varint(content, at)
        sizes.append(size)
    if at + sum(sizes) != len(content):
        raise ValueError(f"texts of {sum(sizes):,} bytes in {len(content) - at:,}")
    ends = [at, *(at + end for end in itertools.accumulate(sizes))]
    return [content[start:end] for start, end in itertools.pairwise(ends)]


def tensor_spec(message: bytes) -> tuple[str, tuple[int | None, ...]]:
    """(dtype, shape) of a TensorSpecProto."""
    shape: tuple[int | None, ...] = ()
    dtype = 0
    for number, value in fields(message):
        if number == 2 and isinstance(value, bytes):
            shape = _shape(value)
        elif number == 3 and isinstance(value, int):
            dtype = value
    if dtype not in _DTYPES:
        raise ValueError(f"a component of type {dtype}, which no column has")
    return _DTYPES[dtype], shape


def _shape(message: bytes) -> tuple[int | None, ...]:
    """The shape in a TensorShapeProto; None for an unknown size."""
    sizes: list[int | None] = []
    for number, value in fields(message):
        if number == 3 and value:
            raise ValueError("a tensor of unknown rank")
        if number == 2 and isinstance(value, bytes):
            size = next((found for at, found in fields(value) if at == 1 and isinstance(found, int)), 0)
            sizes.append(None if size >= 2**63 else size)
    return tuple(sizes)
