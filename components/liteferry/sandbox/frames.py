"""Framed messages over a stream socket: four bytes of length, then the body."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!I")


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
    """Cuts a byte stream that arrives in pieces into messages; a frame that never ends is simply not returned."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        """Adds bytes as they came; returns the messages that are now whole."""
        self._pending += piece
        messages = []
        while len(self._pending) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending)
            end = _LENGTH.size + length
            if len(self._pending) < end:
                break
            messages.append(json.loads(bytes(self._pending[_LENGTH.size : end])))
            del self._pending[:end]
        return messages
