"""Sends messages from a unit of work to its supervisor, and takes what the supervisor answers."""

from __future__ import annotations

import os
import pickle
import socket
from typing import Any

from liteferry.errors import Stage
from liteferry.sandbox import frames


class Reporter:
    """Sends stages and results to the supervisor while a unit runs."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.current_stage = Stage.LOAD

    def stage(self, stage: Stage, *, subject: str | None = None) -> None:
        """Says which stage begins and for which subject (a model id, a variant): a crash is reported with the latest of both."""
        self.current_stage = stage
        frames.send_json(self._channel, {"event": "stage", "stage": stage.value, "subject": subject})

    def result(self, result: Any) -> None:
        """Hands over one JSON-friendly result; the result is kept even if this process crashes afterwards."""
        frames.send_json(self._channel, {"event": "result", "result": result})

    def wait(self) -> Any:
        """Says that one piece of the work is done, and waits until the next one is wanted. Returns the item that it is about;
        None where the supervisor sends none. EOFError when the supervisor has gone.
        """
        frames.send_json(self._channel, {"event": "waits"})
        return receive_object(self._channel)


def receive_object(channel: socket.socket) -> Any:
    """Reads an object from the file whose path the channel carries; None for an empty path. The object may be larger than a
    socket buffer, and its sender must not wait.
    """
    path = os.fsdecode(frames.receive_frame(channel))
    if not path:
        return None
    with open(path, "rb") as file:
        received = pickle.load(file)  # noqa: S301  # from the parent, which is trusted; nothing from a child is unpickled
    os.remove(path)
    return received
