"""This process's nurseries, one of each flavor: started when first needed, replaced when they have died.

The two that every run needs are started as one process. It imports what both have in common, TensorFlow above all, and forks the
second nursery before either imports anything of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, Protocol

from liteferry.sandbox.flavors import Flavor, preloaded

# The environment variables that a process needs to find its interpreter, libraries and locale. A nursery gets no others, above
# all no credentials, so no child can find them, not even in /proc/self/environ.
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD", "TMPDIR")
_KEPT_PREFIXES = ("LC_", "PYTHON", "TF_", "KERAS_", "LITEFERRY_", "OMP_", "OPENBLAS_", "MKL_", "MALLOC_", "XNNPACK_")

# Children import from the same folders as this process, also when a launcher has added folders to the path. The working
# directory, where a user's file may have any name, is on their path only if it is on ours.
_PROGRAM = "import sys; sys.path[:] = sys.argv[5:]; from liteferry.sandbox.nursery import main; main(sys.argv)"

_LAST_WORDS_BYTES = 4000

# If set in this process's environment, libraries log at their own levels, and each unit's log goes to stderr when the unit ends.
VERBOSE = "LITEFERRY_VERBOSE"


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    return {
        **kept,
        "TF_CPP_MIN_LOG_LEVEL": "0" if VERBOSE in os.environ else "3",
        "GRPC_ENABLE_FORK_SUPPORT": "0",
        "CUDA_VISIBLE_DEVICES": "-1",
    }


class _Process(Protocol):
    """The interface of a nursery's process: `subprocess.Popen` for one that was started here, `_Twin` for one that was forked."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


class _Twin:
    """A nursery that another one forks. Its parent writes the nursery's pid to a pipe, which only the nursery then keeps open,
    so the pipe closes when the nursery ends.
    """

    def __init__(self, life: int, parent: subprocess.Popen[bytes]) -> None:
        self._life = open(life, "rb", buffering=0)  # noqa: SIM115  # as long as the nursery lives
        self._parent = parent
        self._pid = 0
        self._handle: int | None = None
        self._has_ended = False
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Waits for the fork and returns the pid; 0 if the parent died before."""
        while not self._pid and not self._has_ended:
            self._listen(None)
        return self._pid

    def _listen(self, timeout: float | None) -> None:
        """Reads the pipe for at most `timeout` seconds (None: without limit): first the pid, later the end of file."""
        if self._has_ended or not select.select([self._life], [], [], timeout)[0]:
            return
        with self._lock:
            if self._has_ended or not select.select([self._life], [], [], 0)[0]:
                return
            told = self._life.read(8)
            if not told:
                self._has_ended = True
            else:
                self._pid = int.from_bytes(told, "big")
                with contextlib.suppress(OSError):  # a pidfd refers to this process even if its number is reused
                    self._handle = os.pidfd_open(self._pid)

    def poll(self) -> int | None:
        self._listen(0)
        self._listen(0)
        return 0 if self._has_ended else None

    def wait(self, timeout: float | None = None) -> int:
        if self.poll() is None:
            self._listen(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("nursery", timeout or 0.0)
        return 0

    def kill(self) -> None:
        if self.poll() is not None:
            return
        if self._handle is None:
            self._parent.kill()  # not forked yet
        else:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def __del__(self) -> None:
        if self._handle is not None:
            os.close(self._handle)


class Nursery:
    """A running nursery process."""

    def __init__(self, process: _Process, connection: socket.socket, errors: IO[bytes]) -> None:
        self.is_closed = False
        self._is_used = False
        self._lock = threading.Lock()
        self._process, self._socket, self._errors = process, connection, errors

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return not self.is_closed and self._process.poll() is None

    def fork(self, channel: socket.socket, status: socket.socket) -> None:
        """Asks for a child that talks on `channel`, and whose pid and wait status arrive on `status`. Raises OSError when the
        nursery is dead.
        """
        with self._lock:
            self._is_used = True
            socket.send_fds(self._socket, [b"f"], [channel.fileno(), status.fileno()])

    def last_words(self) -> str:
        """The end of its error output, which has the reason if a module could not be imported."""
        descriptor = self._errors.fileno()  # the nursery shares the descriptor and its offset: pread does not move it
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, _LAST_WORDS_BYTES, max(0, size - _LAST_WORDS_BYTES)).decode(errors="replace").strip()

    def settle(self) -> None:
        """Gives a dying nursery time to end, and one that could not fork time to recover."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)

    def kill(self) -> None:
        """Ends it at once; its children die with it."""
        self._process.kill()
        self._process.wait()

    def hang_up(self) -> None:
        """Closes the connection, so that it ends."""
        self.is_closed = True
        self._socket.close()

    def wait(self) -> None:
        """Waits for the end of a nursery whose connection was closed."""
        try:
            self._process.wait(timeout=1 if self._is_used else 0)
        except subprocess.TimeoutExpired:  # still importing, so it has not noticed
            self.kill()


def start(*flavors: Flavor) -> list[Nursery]:
    """New nurseries, all from one process: the first is that process, the others are forked from it."""
    environment = _environment()
    errors = tempfile.TemporaryFile()  # noqa: SIM115  # as long as a nursery lives
    sockets = [socket.socketpair() for _ in flavors]
    lives = [os.pipe() for _ in flavors[1:]]
    fds, life_fds = [end.fileno() for _, end in sockets], [end for _, end in lives]
    words = [",".join(map(str, fds)), ",".join(map(str, life_fds)), ",".join(flavor.value for flavor in flavors)]
    words.append(";".join(",".join(preloaded(flavor)) for flavor in flavors))
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *words, *map(os.path.abspath, sys.path)],
        pass_fds=[*fds, *life_fds],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=None if environment.get(VERBOSE) else errors,
        env=environment,
        start_new_session=True,  # the launcher handles Ctrl-C; the nursery ends when the launcher does
    )
    for _, end in sockets:
        end.close()
    for descriptor in life_fds:
        os.close(descriptor)
    processes: list[_Process] = [process, *(_Twin(life, process) for life, _ in lives)]
    return [Nursery(one, ours, errors) for one, (ours, _) in zip(processes, sockets, strict=True)]


_EVERY_RUN = (Flavor.CLEAN, Flavor.KERAS)
_nurseries: dict[Flavor, Nursery] = {}
_single: set[Nursery] = set()
_nurseries_lock = threading.Lock()


def nursery(flavor: Flavor) -> Nursery:
    """The living nursery of a flavor; starts a new one where there is none, and with the one for checkpoints that for artifacts,
    from which it is forked.
    """
    with _nurseries_lock:
        found = _living(flavor)
        if found is None:
            is_pair = flavor is Flavor.KERAS and _living(Flavor.CLEAN) is None and sys.platform == "linux"
            _start_here(*(_EVERY_RUN if is_pair else (flavor,)))
            found = _nurseries[flavor]
        return found


def _living(flavor: Flavor) -> Nursery | None:
    found = _nurseries.get(flavor)
    return found if found is not None and found.is_alive() else None


def _start_here(*flavors: Flavor) -> None:
    _nurseries.update(zip(flavors, start(*flavors), strict=True))


@contextlib.contextmanager
def shared_nursery(flavor: Flavor) -> Iterator[Nursery]:
    """`nursery` as a context manager."""
    yield nursery(flavor)


@contextlib.contextmanager
def nursery_of_its_own(flavor: Flavor) -> Iterator[Nursery]:
    """A new nursery that no other unit uses, while the context lasts."""
    (found,) = start(flavor)
    with _nurseries_lock:
        _single.add(found)
    try:
        yield found
    finally:
        with _nurseries_lock:
            _single.discard(found)
        found.hang_up()
        found.wait()


def warm_up(*flavors: Flavor) -> None:
    """Starts nurseries now, so that their imports overlap with the caller's own start: by default those that every run needs."""
    with _nurseries_lock:
        if not flavors and not _nurseries and sys.platform == "linux":
            _start_here(*_EVERY_RUN)
    for flavor in flavors or _EVERY_RUN:
        nursery(flavor)


@atexit.register
def close() -> None:
    """Ends the nurseries; their children die with them."""
    with _nurseries_lock:
        closing = [*_nurseries.values(), *_single]
        _nurseries.clear()
    for found in closing:
        found.hang_up()
    for found in closing:
        with contextlib.suppress(OSError):
            found.wait()
