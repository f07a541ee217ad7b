"""The framing of TFRecord files, plain and gzip: lengths, checksums, records."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, cast

import google_crc32c

_MOST_RECORD_BYTES = 2**31  # protobuf's own limit
_SMALL_RECORD_BYTES, _MAX_RATIO = 2**28, 100
_BUFFER_BYTES = 1 << 20
_FRAME = struct.Struct("<QI")  # length of the record, masked crc of these eight bytes; the record's own crc follows it
_CRC = struct.Struct("<I")


def records_of(path: str) -> Iterator[bytes]:
    """Every record of a file; each is checked by its checksum."""
    with opened(path) as (file, _):
        yield from records(file, 0)


@contextlib.contextmanager
def opened(path: str) -> Iterator[tuple[BinaryIO, bool]]:
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


def frame_lengths(file: BinaryIO) -> Iterator[int]:
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
    """The length that a record announces. Raises ValueError for a length that is too large for a tf.Example or for this file."""
    length: int = _FRAME.unpack(head)[0]
    if length > _MOST_RECORD_BYTES or (length > _SMALL_RECORD_BYTES and length > _MAX_RATIO * stored_bytes):
        raise ValueError(f"record {number} claims {length:,} bytes, in a file of {stored_bytes:,}")
    return length


def _skip(file: BinaryIO, count: int) -> bool:
    """Skips `count` bytes by reading them in pieces. Returns False if the stream ends before."""
    while count:
        piece = file.read(min(count, _BUFFER_BYTES))
        if not piece:
            return False
        count -= len(piece)
    return True


def _stored_bytes(file: BinaryIO) -> int:
    """The size of the file on disk, compressed if it is."""
    return os.fstat(file.fileno()).st_size


def records(file: BinaryIO, number: int) -> Iterator[bytes]:
    """The records from the current position of the file; `number` is the index of the first one."""
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
