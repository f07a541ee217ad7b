"""Sends messages from a unit of work to its supervisor."""

from __future__ import annotations

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
