"""Framed messages over a stream socket: four bytes of length, then the body."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

_LENGTH = struct.Struct("!I")
# Results are facts and statistics. A larger message is not LiteFerry's: other code has written to the descriptor.
_MAX_MESSAGE_BYTES = 256 * 2**20


def send_frame(channel: socket.socket, body: bytes) -> None:
    """Sends one frame whole, or raises OSError."""
    channel.sendall(_LENGTH.pack(len(body)) + body)


def send_json(channel: socket.socket, message: dict[str, Any]) -> None:
    """Sends one message. Floats survive exactly (Python writes the shortest text that reads back as the same float64)."""
    send_frame(channel, json.dumps(message).encode())


def receive_exactly(channel: socket.socket, count: int) -> bytes:
    """Reads `count` bytes, or raises EOFError when the other side has closed."""
    chunks = bytearray()
    while len(chunks) < count:
        chunk = channel.recv(min(count - len(chunks), 1 << 20))
        if not chunk:
            raise EOFError(f"the channel closed after {len(chunks)} of {count} bytes")
        chunks += chunk
    return bytes(chunks)


def receive_frame(channel: socket.socket) -> bytes:
    """Reads one frame, or raises EOFError."""
    (length,) = _LENGTH.unpack(receive_exactly(channel, _LENGTH.size))
    return receive_exactly(channel, length)


class FrameBuffer:
    """Cuts a byte stream that arrives in pieces into messages. A frame that is never completed is not returned."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, piece: bytes) -> Iterator[dict[str, Any]]:
        """Adds bytes; yields the messages that are complete now.

        Raises:
          ValueError: the bytes were not written by `send_json`.
        """
        self._pending += piece
        while len(self._pending) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending)
            if length > _MAX_MESSAGE_BYTES:
                raise ValueError(f"a message of {length:,} bytes")
            end = _LENGTH.size + length
            if len(self._pending) < end:
                break
            body = bytes(self._pending[_LENGTH.size : end])
            del self._pending[:end]
            yield _decode(body)


def _decode(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except RecursionError as error:
        raise ValueError("a message that is nested too deeply") from error
    if not isinstance(message, dict):
        raise ValueError(f"a message that is not an object: {body[:40]!r}")
    return message
