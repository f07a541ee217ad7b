"""The index of a TensorFlow checkpoint (`*.index`), read without TensorFlow: names, shapes and dtypes of its arrays.

The file is a table of sorted keys in blocks, LevelDB's format (leveldb/doc/table_format.md), as TensorFlow's `BundleWriter`
writes it: not compressed. Values are `BundleEntryProto`; the empty key holds the header.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from typing import Any

_FOOTER_BYTES = 48
_TRAILER_BYTES = 5  # compression and checksum of a block
_MAGIC = bytes.fromhex("57fb808b247547db")
_MAX_INDEX_BYTES = 2**28  # a checkpoint of a million arrays has an index of some 100 MB
_ITEM_BYTES = {"int8": 1, "uint8": 1, "bool": 1, "float16": 2, "bfloat16": 2, "int16": 2, "uint16": 2, "string": 0}
_EIGHT_BYTES = ("float64", "int64", "uint64", "complex64")


def arrays(path: str) -> list[StoredArray]:
    """The arrays that an index names, in its order.

    Raises:
      ValueError: the file is no such table, or is damaged.
    """
    from tensorflow.core.protobuf import tensor_bundle_pb2

    size = os.path.getsize(path)
    if size < _FOOTER_BYTES or size > _MAX_INDEX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes, and an index has {_FOOTER_BYTES} to {_MAX_INDEX_BYTES:,}")
    with open(path, "rb") as file:
        content = file.read()
    result = []
    for key, value in _entries(content):
        if not key:
            continue
        entry = tensor_bundle_pb2.BundleEntryProto.FromString(value)
        shape = tuple(int(dim.size) for dim in entry.shape.dim)
        dtype = dtype_name(entry.dtype)
        result.append(StoredArray(name=key.decode(errors="replace"), shape=shape, dtype=dtype, item_bytes=_item_bytes(dtype)))
    return result


def dtype_name(number: int) -> str:
    """NumPy's name of a TensorFlow `DataType`."""
    from tensorflow.core.framework import types_pb2

    name: Any = types_pb2.DataType.Name(number).removeprefix("DT_").removesuffix("_REF").lower()
    return {"float": "float32", "double": "float64", "half": "float16"}.get(name, str(name))


def _item_bytes(dtype: str) -> int:
    return 8 if dtype in _EIGHT_BYTES else _ITEM_BYTES.get(dtype, 4)


def _entries(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    footer = content[-_FOOTER_BYTES:]
    if footer[-len(_MAGIC) :] != _MAGIC:
        raise ValueError("its end is not that of a checkpoint's index")
    _, _, at = _handle(footer, 0)  # the block of meta data, empty here
    offset, size, _ = _handle(footer, at)
    for _, handle in _block(content, offset, size):
        start, length, _ = _handle(handle, 0)
        yield from _block(content, start, length)


def _handle(content: bytes, at: int) -> tuple[int, int, int]:
    offset, at = _varint(content, at)
    size, at = _varint(content, at)
    return offset, size, at


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block: each key says how much of the one before it begins with."""
    if size < 4 or offset + size + _TRAILER_BYTES > len(content):
        raise ValueError(f"a block at {offset:,} with {size:,} bytes lies outside the file of {len(content):,}")
    if content[offset + size] != 0:
        raise ValueError("its blocks are compressed, which no version of TensorFlow writes")
    block = content[offset : offset + size]
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + own + length > end:
            raise ValueError("an entry of the index reaches beyond its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            raise ValueError("the index ends in the middle of a number")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number in the index is too long")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredArray:
    """One array by its name in the file; `item_bytes` of an element, 0 for strings."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    item_bytes: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)
