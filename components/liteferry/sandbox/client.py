"""Starts nurseries and supervises children: wall clock, memory, wait status, each turned into a plain outcome."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import pickle
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from liteferry.errors import ReasonCode, Stage
from liteferry.sandbox import frames
from liteferry.sandbox.child import Request
from liteferry.sandbox.flavors import Flavor
from liteferry.sandbox.nursery import STATUS

_POLL_S = 0.1
_LOG_TAIL_BYTES = 4000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What one unit of work may use. `seconds` is wall clock; `memory_bytes` is the resident memory of the child and its children."""

    seconds: float
    memory_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one unit of work. `results` were handed over before the end and stand, whatever the end was.

    `error` is None when the function returned; else {code: ReasonCode value or None, stage, message, traceback?}. `stage` and `subject`
    are what the child announced last.
    """

    results: tuple[Any, ...]
    error: dict[str, Any] | None
    stage: Stage
    subject: str | None
    seconds: float
    peak_memory_bytes: int


class _Nursery:
    """A running nursery process; restarted by `_nursery` when it has died."""

    def __init__(self, flavor: Flavor) -> None:
        parent_end, nursery_end = socket.socketpair()
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_ENABLE_FORK_SUPPORT": "0", "CUDA_VISIBLE_DEVICES": "-1"}
        self._socket = parent_end
        self._lock = threading.Lock()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the nursery lives
        with nursery_end:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "liteferry.sandbox.nursery", str(nursery_end.fileno()), flavor.value],
                pass_fds=[nursery_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None if environment.get("LITEFERRY_VERBOSE") else self._errors,
                env=environment,
                start_new_session=True,  # Ctrl-C is the launcher's to handle; the nursery ends when the launcher does
            )

    def fork(self, channel_fd: int, status_fd: int) -> None:
        with self._lock:
            socket.send_fds(self._socket, [b"f"], [channel_fd, status_fd])

    def last_words(self) -> str:
        """What it said before it ended; the reason, when it could not import what it preloads."""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
        return self._errors.read().decode(errors="replace").strip()

    def close(self) -> None:
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)


_nurseries: dict[Flavor, _Nursery] = {}
_nurseries_lock = threading.Lock()


def _nursery(flavor: Flavor) -> _Nursery:
    with _nurseries_lock:
        nursery = _nurseries.get(flavor)
        if nursery is None or nursery.process.poll() is not None:
            nursery = _nurseries[flavor] = _Nursery(flavor)
        return nursery


def warm_up() -> None:
    """Starts every nursery now, so that their imports overlap with the caller's own start-up."""
    for flavor in Flavor:
        _nursery(flavor)


@atexit.register
def close() -> None:
    """Ends the nurseries; their children die with them."""
    with _nurseries_lock:
        for nursery in _nurseries.values():
            nursery.close()
        _nurseries.clear()


def run(function: str, argument: Any, *, flavor: Flavor, limits: Limits) -> Outcome:
    """Runs `function(argument, reporter)` in a process of its own and waits for its end. Never raises for what happens inside.

    Args:
      function: "module:name" of a function in an installed module.
      argument: anything picklable; it travels to the child only.
      flavor: which nursery the child is born in.
      limits: wall clock and memory; passing either kills the child's whole process group.
    """
    scratch = tempfile.mkdtemp(prefix="liteferry-")
    try:
        request = Request(function=function, argument=argument, scratch=scratch, log_path=os.path.join(scratch, ".log"))
        return _Supervision(request, flavor, limits).watch()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Supervision:
    """One child from fork to wait status."""

    def __init__(self, request: Request, flavor: Flavor, limits: Limits) -> None:
        self._request = request
        self._limits = limits
        self._started = time.monotonic()
        self._buffer = frames.FrameBuffer()
        self._results: list[Any] = []
        self._error: dict[str, Any] | None = None
        self._done = False
        self._stage = Stage.LOAD
        self._subject: str | None = None
        self._killed_for: ReasonCode | None = None
        self._peak_bytes = 0
        self._pid: int | None = None
        self._wait_status: int | None = None
        self._nursery = self._open(flavor)

    def _open(self, flavor: Flavor) -> _Nursery:
        self._channel, channel_end = socket.socketpair()
        self._status, status_end = socket.socketpair()
        with channel_end, status_end:
            nursery = _nursery(flavor)
            try:
                nursery.fork(channel_end.fileno(), status_end.fileno())
            except OSError:  # it was killed between its start and this request: a fresh one gets it
                with _nurseries_lock:
                    if _nurseries.get(flavor) is nursery:
                        del _nurseries[flavor]
                nursery = _nursery(flavor)
                nursery.fork(channel_end.fileno(), status_end.fileno())
        return nursery

    def watch(self) -> Outcome:
        with self._channel, self._status:
            with contextlib.suppress(OSError):  # a child that died at once is described by its wait status
                frames.send_frame(self._channel, pickle.dumps(self._request))
            waiting = [self._channel, self._status]
            while self._status in waiting:
                readable, _, _ = select.select(waiting, [], [], _POLL_S)
                for source in readable:
                    if not self._read(source):
                        waiting.remove(source)
                self._enforce_limits()
            if self._channel in waiting:
                self._drain()
            self._kill()  # grandchildren that outlived the child
        return self._outcome()

    def _read(self, source: socket.socket) -> bool:
        """Takes in what is there; False when the source has ended."""
        try:
            piece = source.recv(1 << 20)
        except OSError:
            return False
        if not piece:
            return False
        if source is self._channel:
            for message in self._buffer.feed(piece):
                self._take(message)
            return True
        for offset in range(0, len(piece), STATUS.size):
            (number,) = STATUS.unpack_from(piece, offset)
            if self._pid is None:
                self._pid = number
            else:
                self._wait_status = number
        return self._wait_status is None

    def _drain(self) -> None:
        self._channel.settimeout(1.0)  # a grandchild may hold the channel open: what is there comes at once, the rest never
        while self._read(self._channel):
            pass

    def _take(self, message: dict[str, Any]) -> None:
        event = message.get("event")
        if event == "stage":
            self._stage = Stage(message["stage"])
            self._subject = message["subject"]
        elif event == "result":
            self._results.append(message["result"])
        elif event == "error":
            self._error = message
        elif event == "done":
            self._done = True

    def _enforce_limits(self) -> None:
        if self._pid is None or self._wait_status is not None or self._killed_for is not None:
            if self._pid is None and time.monotonic() - self._started > self._limits.seconds + 120:
                self._killed_for = ReasonCode.TIMEOUT  # the nursery never answered
                self._status.shutdown(socket.SHUT_RDWR)
            return
        resident = resident_bytes(self._pid)
        self._peak_bytes = max(self._peak_bytes, resident)
        if resident > self._limits.memory_bytes:
            self._killed_for = ReasonCode.OUT_OF_MEMORY
        elif time.monotonic() - self._started > self._limits.seconds:
            self._killed_for = ReasonCode.TIMEOUT
        if self._killed_for is not None:
            self._kill()

    def _kill(self) -> None:
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)

    def _outcome(self) -> Outcome:
        error = None if self._done and self._killed_for is None else self._describe_end()
        return Outcome(
            results=tuple(self._results),
            error=error,
            stage=self._stage,
            subject=self._subject,
            seconds=time.monotonic() - self._started,
            peak_memory_bytes=self._peak_bytes,
        )

    def _describe_end(self) -> dict[str, Any]:
        if self._killed_for is ReasonCode.TIMEOUT:
            message = f"still in {self._stage.value} after {self._limits.seconds:g} s; raise limits.seconds_per_model or look for an endless loop"
            return self._error_of(ReasonCode.TIMEOUT, message)
        if self._killed_for is ReasonCode.OUT_OF_MEMORY:
            used, limit = self._peak_bytes / 2**30, self._limits.memory_bytes / 2**30
            message = f"used {used:.1f} GiB in {self._stage.value}, the limit is {limit:.1f} GiB; raise limits.memory_gb_per_model"
            return self._error_of(ReasonCode.OUT_OF_MEMORY, message)
        if self._error is not None:
            return self._error
        return self._error_of(ReasonCode.CRASHED, f"the process ended in {self._stage.value}: {self._how_it_ended()}{self._log_tail()}")

    def _error_of(self, code: ReasonCode, message: str) -> dict[str, Any]:
        return {"code": code.value, "stage": self._stage.value, "message": message}

    def _how_it_ended(self) -> str:
        if self._pid is None:
            return f"its parent process could not start it: {self._nursery.last_words() or 'no word of why'}"
        if self._wait_status is None:
            return "its parent process was killed"
        code = os.waitstatus_to_exitcode(self._wait_status)
        if code >= 0:
            return f"it called exit with status {code} instead of returning"
        name = signal.Signals(-code).name if -code in signal.Signals._value2member_map_ else f"signal {-code}"
        hint = " (nobody here sent it: the kernel's out-of-memory killer, most likely)" if -code == signal.SIGKILL else ""
        return f"{name}{hint}"

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError), open(self._request.log_path, "rb") as log:
            log.seek(max(0, os.path.getsize(self._request.log_path) - _LOG_TAIL_BYTES))
            text = log.read().decode(errors="replace").strip()
            if text:
                return f"; its last words:\n{text}"
        return ""


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants, in bytes; 0 when it has gone."""
    import psutil

    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for member in family:
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
    return total
