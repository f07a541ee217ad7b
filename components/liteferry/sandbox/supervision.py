"""Supervises one child from fork to wait status, with a limit on each: wall clock, memory, disk, log and messages.

A child may wait between two pieces of its work (`Reporter.wait`). While it does, it is not supervised, and its clock stands.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from liteferry.errors import ReasonCode, Stage
from liteferry.sandbox import disk, frames, nurseries
from liteferry.sandbox.child import SPEECHLESS
from liteferry.sandbox.memory import resident_bytes
from liteferry.sandbox.nursery import STATUS
from liteferry.sandbox.outcome import Failure, Limits, Outcome

_POLL_S = 0.1
_START_S = 300.0  # a nursery that has not forked by then hangs: its imports take seconds
_REAP_S = 60.0  # a process still alive after SIGKILL by then hangs in the kernel, for example on a dead network drive
_LOG_TAIL_BYTES = 4000
_MAX_LOG_BYTES = 32 * 2**20
_DISK_POLL_S = 1.0
_MOST_HEARD_BYTES = 2**30
_MOST_SUBJECTS = 1000  # each subject gets its own time; without a bound, a child could announce new subjects for ever
_MOST_WORDS = 50_000  # a child truncates its own messages, but hostile code in it may not


class Supervision:
    """Supervises one child from fork to wait status."""

    def __init__(self, paths: Sequence[str], log: IO[bytes], nursery: nurseries.Nursery, limits: Limits) -> None:
        """`paths`: the request's file, and the folders that the child may write to. `log`: the file that gets its output."""
        self._request_path, *self._folders = paths
        self._log = log
        self._heard_bytes = 0
        self._looked_at_disk = 0.0
        self._usage = disk.Usage(bytes=0, files=0)
        self._nursery = nursery
        self._limits = limits
        self._started = self._subject_started = time.monotonic()
        self._killed_for: ReasonCode | None = None
        self._killed_at = 0.0
        self._buffer = frames.FrameBuffer()
        self._results: list[Any] = []
        self._error: Failure | None = None
        self._done = False
        self._stage = Stage.LOAD
        self._subject: str | None = None
        self._subjects: set[str | None] = set()
        self._peak_bytes = 0
        self._status_bytes = b""
        self._pid: int | None = None
        self._wait_status: int | None = None
        self._waits_since: float | None = None
        self._channel, self._channel_end = socket.socketpair()
        self._status, self._status_end = socket.socketpair()
        self._selector = selectors.PollSelector()

    @property
    def has_begun(self) -> bool:
        return self._pid is not None

    @property
    def is_waiting(self) -> bool:
        """Whether the child waits for `go_on`."""
        return self._waits_since is not None

    def watch(self) -> Outcome:
        """Asks for the child, waits for its exit status, returns the outcome. A child that waits goes on at once."""
        try:
            self.start()
            self.listen()
            while self.is_waiting:
                self.go_on()
                self.listen()
        finally:
            self.close()
        return self.outcome()

    def start(self) -> None:
        """Asks the nursery for the child."""
        with self._channel_end, self._status_end, contextlib.suppress(OSError):  # of a dead nursery `status` reads as closed
            frames.send_frame(self._channel, os.fsencode(self._request_path))
            self._nursery.fork(self._channel_end, self._status_end)
        self._selector.register(self._channel, selectors.EVENT_READ, self._hear)
        self._selector.register(self._status, selectors.EVENT_READ, self._learn)

    def listen(self) -> None:
        """Returns when the child waits or has ended."""
        known = self._selector.get_map()
        while self._status in known and not self.is_waiting and not self._is_given_up():
            for key, _ in self._selector.select(_POLL_S):
                if not _read(key.fileobj, key.data):
                    self._selector.unregister(key.fileobj)
            if self._wait_status is None:
                self._enforce_limits()
        if self._channel in known and not self.is_waiting:
            self._channel.setblocking(False)  # the child has ended: all its messages have arrived
            while _read(self._channel, self._hear):
                pass

    def go_on(self, item_path: str = "") -> None:
        """Lets a child that waits do its next piece, on the item in a file where it needs one. The time that it waited does not
        count.
        """
        assert self._waits_since is not None
        waited, self._waits_since = time.monotonic() - self._waits_since, None
        self._started += waited
        self._subject_started += waited
        with contextlib.suppress(OSError):  # it has died meanwhile: `listen` sees that
            frames.send_frame(self._channel, os.fsencode(item_path))

    def close(self) -> None:
        """Ends a child that has not ended, and waits for its end."""
        if self._wait_status is None:
            self._kill()  # usually the nursery does this; needed if it has died, if the wait was interrupted, or the child waits
            if self.is_waiting:
                self._killed_for, self._waits_since = ReasonCode.KILLED, None
                self._killed_at = time.monotonic() - self._started
                self.listen()
        for one in (self._selector, self._channel, self._status):
            one.close()

    def take_results(self) -> tuple[Any, ...]:
        """The results that have arrived since the last call."""
        results, self._results = tuple(self._results), []
        return results

    def _learn(self, piece: bytes) -> bool:
        self._status_bytes += piece
        numbers = [number for (number,) in STATUS.iter_unpack(self._status_bytes[: len(self._status_bytes) // 8 * 8])]
        if numbers and self._pid is None:
            self._pid = numbers[0]
            self._started = self._subject_started = time.monotonic()
        if len(numbers) < 3:
            return True
        self._wait_status = numbers[1]
        self._peak_bytes = max(self._peak_bytes, numbers[2])
        return False

    def _hear(self, piece: bytes) -> bool:
        try:
            self._heard_bytes += len(piece)
            if self._heard_bytes > _MOST_HEARD_BYTES:
                raise ValueError(f"more than {_MOST_HEARD_BYTES:,} bytes of messages")
            for message in self._buffer.feed(piece):
                self._take(message)
        except (ValueError, KeyError, TypeError) as error:
            what = (
                f"the process wrote something that is not a message to its supervisor's channel in {self._stage.value} ({error})"
            )
            self._error = self._error_of(ReasonCode.CRASHED, what)
            self._done = False
            self._kill()
            return False
        return True

    def _take(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "stage":
            if message["subject"] not in self._subjects and len(self._subjects) < _MOST_SUBJECTS:
                self._subject_started = time.monotonic() if self._subjects else self._started
                self._subjects.add(message["subject"])
            self._stage, self._subject = Stage(message["stage"]), message["subject"]
        elif event == "result":
            self._results.append(message["result"])
        elif event == "error":
            self._error = _failure_in(message)
        elif event == "waits":
            self._waits_since = time.monotonic()
        elif event == "done":
            self._done = True
        else:
            raise ValueError(f"no such event: {event!r}")

    def _enforce_limits(self) -> None:
        elapsed = time.monotonic() - self._started
        on_subject = time.monotonic() - self._subject_started
        if self._pid is None:
            if elapsed > _START_S:
                self._nursery.kill()
            return
        resident = resident_bytes(self._pid)
        self._peak_bytes = max(self._peak_bytes, resident)
        if self._killed_for is None and resident > self._limits.memory_bytes:
            self._killed_for, self._killed_at = ReasonCode.OUT_OF_MEMORY, elapsed
        elif self._killed_for is None and on_subject > self._limits.seconds:
            self._killed_for, self._killed_at = ReasonCode.TIMEOUT, elapsed
        elif self._killed_for is None and self._is_filling_the_disk():
            self._killed_for, self._killed_at = ReasonCode.OUT_OF_DISK, elapsed
        if self._killed_for is not None:
            self._kill()
        with contextlib.suppress(OSError):
            if os.fstat(self._log.fileno()).st_size > _MAX_LOG_BYTES:
                os.ftruncate(self._log.fileno(), 0)  # only the end of the log is needed, and the disk is shared

    def _is_filling_the_disk(self) -> bool:
        """Measures once a second what a unit has written so far."""
        if time.monotonic() < self._looked_at_disk + _DISK_POLL_S:
            return False
        self._looked_at_disk = time.monotonic()
        self._usage = disk.usage_of(self._folders, pid=self._pid, most_files=self._limits.files)
        is_too_much = self._usage.bytes > self._limits.disk_bytes or self._usage.files > self._limits.files
        return is_too_much or any(disk.is_running_low(folder, used=self._usage.bytes) for folder in self._folders)

    def _is_given_up(self) -> bool:
        return self._killed_for is not None and time.monotonic() - self._started > self._killed_at + _REAP_S

    def _kill(self) -> None:
        """Kills the group, and the child itself in case it has not made its group yet."""
        if self._pid is not None:
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(self._pid, signal.SIGKILL)

    def outcome(self) -> Outcome:
        """What the child has handed over and not been asked for (`take_results`), and how it has ended; without an error where
        it waits.
        """
        is_well = self.is_waiting or (self._done and self._killed_for is None)
        return Outcome(
            results=self.take_results(),
            error=None if is_well else self._describe_end(),
            stage=self._stage,
            subject=self._subject,
            seconds=(self._waits_since or time.monotonic()) - self._started,
            peak_memory_bytes=self._peak_bytes,
        )

    def _describe_end(self) -> Failure:
        if self._killed_for is ReasonCode.TIMEOUT:
            message = (
                f"still in {self._stage.value} after {self._limits.seconds:g} s; "
                "raise limits.seconds_per_model or look for an endless loop"
            )
            return self._error_of(ReasonCode.TIMEOUT, message)
        if self._killed_for is ReasonCode.OUT_OF_MEMORY:
            used, limit = self._peak_bytes / 10**9, self._limits.memory_bytes / 10**9
            message = f"used {used:.1f} GB in {self._stage.value}, the limit is {limit:.1f} GB; raise limits.memory_gb_per_model"
            return self._error_of(ReasonCode.OUT_OF_MEMORY, message)
        if self._killed_for is ReasonCode.OUT_OF_DISK:
            return self._error_of(ReasonCode.OUT_OF_DISK, self._how_the_disk_was_filled())
        if self._error is not None:
            return self._error
        if self._nursery.is_closed and self._wait_status is None:
            return self._error_of(ReasonCode.INTERNAL, f"the run was ended while this was in {self._stage.value}; run it again")
        if self._pid is None:
            last_words = self._nursery.last_words() or "it said nothing"
            return self._error_of(ReasonCode.INTERNAL, f"no process could be started, its nursery failed: {last_words}")
        code = ReasonCode.KILLED if self._wait_status in (None, signal.SIGKILL) else ReasonCode.CRASHED
        return self._error_of(code, f"the process ended in {self._stage.value}: {self._how_it_ended()}{self._log_tail()}")

    def _how_the_disk_was_filled(self) -> str:
        used, limit = self._usage.bytes / 10**9, self._limits.disk_bytes / 10**9
        if self._usage.files > self._limits.files:
            return f"wrote more than {self._limits.files:,} files in {self._stage.value}; no export has that many"
        if self._usage.bytes > self._limits.disk_bytes:
            return f"wrote {used:.1f} GB in {self._stage.value}, the limit is {limit:g} GB; raise limits.disk_gb_per_model"
        return f"wrote {used:.1f} GB in {self._stage.value} and left less than that on the disk; free some, or run fewer at once"

    def _error_of(self, code: ReasonCode, message: str) -> Failure:
        return Failure(code=code, stage=self._stage, message=message)

    def _how_it_ended(self) -> str:
        if self._wait_status is None:
            return "its parent process was killed"
        code = os.waitstatus_to_exitcode(self._wait_status)
        if code == SPEECHLESS:
            return "it closed the channel to its supervisor"
        if code >= 0:
            return f"it called exit with status {code} instead of returning"
        name = signal.Signals(-code).name if -code in signal.Signals._value2member_map_ else f"signal {-code}"
        hint = " (not sent by LiteFerry: most likely the kernel's out-of-memory killer)" if -code == signal.SIGKILL else ""
        return f"{name}{hint}"

    def _log_tail(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        words = os.pread(self._log.fileno(), _LOG_TAIL_BYTES, max(0, size - _LOG_TAIL_BYTES)).decode(errors="replace").strip()
        return f"; its last words:\n{words}" if words else ""


def _failure_in(message: dict[str, Any]) -> Failure:
    """Decodes a failure that a child has sent. Raises ValueError, KeyError or TypeError for anything else; truncates texts."""
    trace = message.get("traceback")
    return Failure(
        code=None if message["code"] is None else ReasonCode(message["code"]),
        stage=Stage(message["stage"]),
        message=str(message.get("message", ""))[:_MOST_WORDS],
        traceback=None if trace is None else str(trace)[:_MOST_WORDS],
        misread=message.get("misread") is True,
    )


def _read(source: Any, take: Callable[[bytes], bool]) -> bool:
    """Reads available data; returns False at the end, or if later data no longer matters."""
    try:
        piece = source.recv(1 << 20)
    except OSError:
        return False
    return bool(piece) and take(piece)
