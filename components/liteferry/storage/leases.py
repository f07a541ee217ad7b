"""Leases on an object store, which has no locks: a lease says which process may write a place, and is renewed while that process
lives.

A lease is a folder of small objects with rising numbers; the highest one counts. A process takes the lease by creating the next
number, which the store grants to one process only (`storage.create_exclusively`). So of two processes that find a dead holder,
one gets the lease. No process overwrites another's object. A holder that was wrongly taken for dead finds that its object is
gone, or that a higher one names it as the dead holder.

Numbers start again when a lease is released. A process may therefore read the lease, be delayed, and create its number only
after other processes have taken and released the lease. So it reads the lease once more after creating its object, and holds
the lease only if nothing has changed since the first read.

A holder counts as dead when its process has ended (same machine, and no process with that id, or a later process that reuses
the id), or when it has not renewed its lease for `TTL_S`. The clocks of two machines may differ by `SKEW_S`; a holder stops
trusting its own lease before others do, measured by a monotonic clock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.json_records import parse

TTL_S = 90.0
SKEW_S = 30.0
RENEW_EVERY_S = 15.0
LOOK_EVERY_S = 1.0
_LOOKS, _GIVEN_BACK_S = 100, 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
    """The holder of a lease, as its object says. `token`: a random id, and behind it the id of the dead holder that this one
    follows. `expires`, `since`: Unix time in seconds. `note`: what the holder stored with the lease.
    """

    token: str
    host: str
    pid: int
    process: str
    since: float
    expires: float
    note: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def is_gone(self) -> bool:
        """Whether its process has ended, as far as this machine can tell, or the lease has expired."""
        if self.token in _given_up:
            return True
        here, own = _machine(), _process(self.pid)
        is_here = here is not None and self.process.startswith(f"{here} ")
        return (is_here and self.process != own) or time.time() > self.expires

    def follows(self, other: Holder) -> bool:
        """Whether this holder took the lease because `other` was dead."""
        return self.token.partition(" ")[2] == other.token.partition(" ")[0] != ""

    def in_words(self) -> str:
        """`process 4711 on build-3 since 2026-01-31 03:00:02 UTC`."""
        since = datetime.datetime.fromtimestamp(self.since, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"process {self.pid} on {self.host} since {since}"

    def seconds_left(self) -> int:
        """Seconds until the holder counts as dead unless it renews."""
        return max(1, round(self.expires - time.time()))


_given_up: set[str] = set()  # tokens of leases that this process has given up but could not release


class Lease:
    """A lease that this process holds; made by `held` and `take`."""

    def __init__(self, folder: str, number: int, holder: Holder) -> None:
        self._folder = folder
        self._number = number
        self._holder = holder
        self._lock = threading.Lock()
        self._is_lost = False
        self._renewed = _now()

    def is_safe(self) -> bool:
        """Whether the lease is surely still valid by this process's own clock, so that no other process can have taken it over.
        Sends no request.
        """
        return not self._is_lost and _now() < self._renewed + TTL_S - SKEW_S

    def is_mine(self) -> bool:
        """Whether this process still holds the lease, read from the store. Raises StorageError."""
        if not self._is_lost:
            # Numbers start again when a lease is released, so the same number may belong to another process.
            found = _read(self._folder, self._number)
            self._is_lost = found is None or found.token != self._holder.token or self._is_followed()
        return self.is_safe()

    def _is_followed(self) -> bool:
        """Whether a later object names this holder as its dead predecessor. A later object that does not belongs to a process
        that came too late and will withdraw.
        """
        later = (_read(self._folder, number) for number in _numbers(self._folder) if number > self._number)
        return any(holder is not None and holder.follows(self._holder) for holder in later)

    def renew(self) -> None:
        """Extends the lease. A failed request is repeated at the next renewal."""
        with self._lock, contextlib.suppress(StorageError):
            if not self.is_mine():
                self._is_lost = True
                return
            began = _now()
            holder = dataclasses.replace(self._holder, expires=time.time() + TTL_S)
            storage.write_bytes(_path(self._folder, self._number), _content(holder))
            self._renewed = began

    def release(self) -> None:
        """Releases the lease."""
        with self._lock:
            _given_up.add(self._holder.token)
            if self.is_safe():
                _remove(self._folder, [self._number])
            self._is_lost = True

    def abandon(self) -> None:
        """Gives the lease up and leaves its note for the next holder: the work was not finished."""
        with self._lock, contextlib.suppress(StorageError):
            _given_up.add(self._holder.token)
            if not self._is_lost and self.is_mine():
                self._is_lost = True
                storage.write_bytes(
                    _path(self._folder, self._number), _content(dataclasses.replace(self._holder, expires=time.time()))
                )
            self._is_lost = True


@contextlib.contextmanager
def held(folder: str, note: Mapping[str, Any] | None = None, *, at_most_s: float = 3600.0) -> Iterator[Lease]:
    """Waits for the lease and holds it while the context lasts, but no longer than `at_most_s`: a holder that hangs must not keep
    others waiting for ever.

    Raises:
      StorageError: the store cannot be read or written.
    """
    found = take(folder, note)
    while isinstance(found, Holder):
        time.sleep(min(LOOK_EVERY_S, found.seconds_left()))
        found = take(folder, note)
    with _kept(found, at_most_s=at_most_s):
        yield found


@contextlib.contextmanager
def _kept(lease: Lease, *, at_most_s: float = math.inf) -> Iterator[None]:
    stop, until = threading.Event(), time.monotonic() + at_most_s
    thread = threading.Thread(target=_keep, args=(lease, stop, until), name="liteferry-lease", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        stop.set()
        lease.abandon()
        raise
    stop.set()
    lease.release()


def _keep(lease: Lease, stop: threading.Event, until: float) -> None:
    while not stop.wait(RENEW_EVERY_S) and time.monotonic() < until:
        lease.renew()


@contextlib.contextmanager
def exclusive(folder: str, *, place: str) -> Iterator[Lease]:
    """Holds the lease while the context lasts. Does not wait for it.

    Raises:
      StorageError: another process holds it; the message says which, and what to do. `place` is what the lease is about.
    """
    found = take(folder)
    if isinstance(found, Holder):
        raise StorageError(
            f"{place}: another run is writing here: {found.in_words()}. Wait for it, or give this one its own --output. If that "
            f"process is gone, run again in {found.seconds_left()} s: its lease ends then"
        )
    with _kept(found):
        yield found


def holder_of(folder: str) -> Holder | None:
    """The living holder of the lease, or None. Raises StorageError."""
    return _living([_read(folder, number) for number in _numbers(folder)])


def _living(holders: Sequence[Holder | None]) -> Holder | None:
    """The lowest living holder that no other object names as its predecessor. A living holder above it came too late, and
    withdraws when it reads the lease again.
    """
    there = [holder for holder in holders if holder is not None]
    living = (holder for holder in there if not holder.is_gone() and not any(other.follows(holder) for other in there))
    return next(living, None)


def take(folder: str, note: Mapping[str, Any] | None = None) -> Lease | Holder:
    """The lease, or its present holder. Raises StorageError."""
    for _ in range(_LOOKS):
        numbers = _numbers(folder)
        holders = [_read(folder, number) for number in numbers]
        if None in holders:
            time.sleep(_GIVEN_BACK_S)  # released just now
            continue
        living = _living(holders)
        if living is not None:
            return living
        last, before = (numbers[-1], holders[-1]) if numbers else (0, None)
        now = time.time()
        mine = Holder(
            token=uuid.uuid4().hex + (f" {before.token.partition(' ')[0]}" if before else ""),
            host=socket.gethostname(),
            pid=os.getpid(),
            process=_process(os.getpid()),
            since=now,
            expires=now + TTL_S,
            note=dict(note or {}),
        )
        began = Lease(folder, last + 1, mine)
        if storage.create_exclusively(_path(folder, last + 1), _content(mine)):
            if _numbers(folder) == [*numbers, last + 1] and (not numbers or _read(folder, last) == before):
                _remove(folder, numbers)
                return began
            storage.remove_tree(_path(folder, last + 1))
    raise StorageError(
        f"{folder}: objects in its listing could not be read {_LOOKS} times in a row; check that this store lists what it holds"
    )


def clear(folder: str) -> None:
    """Removes the objects of dead holders, if no process holds the lease. Raises StorageError."""
    numbers = _numbers(folder)
    if numbers and holder_of(folder) is None:
        _remove(folder, numbers)


def note_of(folder: str) -> Mapping[str, Any]:
    """The note of the last holder, dead or alive; empty where there is none. Raises StorageError."""
    for number in reversed(_numbers(folder)):
        holder = _read(folder, number)
        if holder is not None:
            return holder.note
    return {}


def _path(folder: str, number: int) -> str:
    return storage.join(folder, f"{number:09d}.json")


def _numbers(folder: str) -> list[int]:
    stems = (name.removesuffix(".json") for name in storage.sizes_under(folder))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def _remove(folder: str, numbers: Iterable[int]) -> None:
    for number in numbers:
        with contextlib.suppress(StorageError):
            storage.remove_tree(_path(folder, number))


def _content(holder: Holder) -> bytes:
    return json.dumps(dataclasses.asdict(holder), indent=1).encode()


def _read(folder: str, number: int) -> Holder | None:
    """The holder in an object, or None where the object is gone. An object that does not parse counts as unheld: somebody wrote
    it by hand.
    """
    content = storage.read_if_there(_path(folder, number))
    if content is None:
        return None
    try:
        return Holder(**parse(content))
    except (ValueError, TypeError):
        return Holder(token="", host="", pid=0, process="", since=0.0, expires=0.0)


def _now() -> float:
    """Seconds on a monotonic clock that also counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _machine() -> str | None:
    """An id of this machine and its process-id namespace; None if the system gives none."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _process(pid: int) -> str:
    """An id of a process on this machine that stays unique when the process number is reused; empty if there is no such
    process.
    """
    machine = _machine()
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        state, started = fields[0], fields[19]
    except (OSError, IndexError):
        return ""
    return f"{machine} {pid} {started}" if machine and state not in "ZX" else ""
