"""Protocol buffers changed field by field, without their schemas: the wire format says where fields begin and end."""

from __future__ import annotations

import random
from typing import NamedTuple

from tests.campaigns.fuzz import raw

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_MOST_FIELDS = 3000
_MOST_COPIED_BYTES = 2**26


class Field(NamedTuple):
    number: int
    kind: int
    value: int | bytes


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]  # IndexError: it is no message
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError("too long")


def fields(content: bytes) -> list[Field] | None:
    """The fields of a message; None for bytes that are none."""
    found: list[Field] = []
    at = 0
    try:
        while at < len(content):
            key, at = read_varint(content, at)
            number, kind = key >> 3, key & 7
            value: int | bytes
            if kind == _VARINT:
                value, at = read_varint(content, at)
            elif kind == _BYTES:
                size, at = read_varint(content, at)
                value, at = content[at : at + size], at + size
            elif kind in (_EIGHT, _FOUR):
                size = 8 if kind == _EIGHT else 4
                value, at = content[at : at + size], at + size
            else:
                return None
            if at > len(content) or not number or len(found) > _MOST_FIELDS:
                return None
            found.append(Field(number, kind, value))
    except IndexError:
        return None
    return found


def encode(message: list[Field]) -> bytes:
    parts = []
    for number, kind, value in message:
        parts.append(varint(number << 3 | kind))
        if isinstance(value, int):
            parts.append(varint(value))
        else:
            parts.append(varint(len(value)) if kind == _BYTES else b"")
            parts.append(value)
    return b"".join(parts)


def change(rng: random.Random, content: bytes, depth: int = 0) -> bytes:
    """The message with one field changed, at any depth."""
    message = fields(content)
    if not message:
        return (
            raw.damage(rng, content, times=1)
            if content
            else rng.choice((b"\x08\x01", b"\xff", raw.text(rng).encode("utf-8", "replace")))
        )
    at = rng.randrange(len(message))
    number, kind, value = message[at]
    if isinstance(value, bytes) and kind == _BYTES and depth < 40 and rng.random() < 0.75:
        message[at] = Field(number, kind, _change_bytes(rng, value, depth))
        return encode(message)
    what = rng.randrange(8)
    if what == 0:
        del message[at]
    elif what == 1:
        size = len(value) if isinstance(value, bytes) else 1
        message[at:at] = [message[at]] * min(rng.choice((1, 2, 50, 2000)), 1 + _MOST_COPIED_BYTES // (size + 1))
    elif what == 2:
        message[at] = Field(rng.choice((number + 1, number - 1 or 1, rng.randrange(1, 40), 2**28)), kind, value)
    elif what == 3 and isinstance(value, int):
        message[at] = Field(number, kind, raw.integer(rng))
    elif what == 4:
        message[at] = Field(number, _VARINT, raw.integer(rng))
    elif what == 5:
        message[at] = Field(number, _BYTES, raw.text(rng).encode("utf-8", "surrogatepass"))
    elif what == 6:
        nested = encode(message)
        for _ in range(rng.choice((2, 30, 99, 101, 2000))):
            nested = encode([Field(number, _BYTES, nested)])
        return nested
    else:
        rng.shuffle(message)
    return encode(message)


def _change_bytes(rng: random.Random, value: bytes, depth: int) -> bytes:
    inner = fields(value)
    if inner and rng.random() < 0.85:
        return change(rng, value, depth + 1)
    return raw.text(rng).encode("utf-8", "surrogatepass") if rng.random() < 0.6 else raw.damage(rng, value, times=1)


def changed(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.2:
        return raw.damage(rng, content)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        content = change(rng, content)
    return content
