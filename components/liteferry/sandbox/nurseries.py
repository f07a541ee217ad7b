"""This process's nurseries, one of each flavor: started when first needed, replaced when they have died."""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator

from liteferry.sandbox.flavors import Flavor, preloaded

# What a process needs to find its interpreter, its libraries and its locale. Everything else, above all credentials, stays out: a
# nursery never gets it, so no child can find it, not even in /proc/self/environ.
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD", "TMPDIR")
_KEPT_PREFIXES = ("LC_", "PYTHON", "TF_", "KERAS_", "LITEFERRY_", "OMP_", "OPENBLAS_", "MKL_", "MALLOC_", "XNNPACK_")

# Children import from the same folders as this process, also when a launcher has added folders to the path. The working
# directory, where a user's file may have any name, is on their path only if it is on ours.
_PROGRAM = "import sys; sys.path[:] = sys.argv[4:]; from liteferry.sandbox.nursery import main; main(sys.argv)"

_LAST_WORDS_BYTES = 4000

# Set in this process's environment: libraries log as they please, and each unit's log goes to stderr when it ends.
VERBOSE = "LITEFERRY_VERBOSE"


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    return {
        **kept,
        "TF_CPP_MIN_LOG_LEVEL": "0" if VERBOSE in os.environ else "3",
        "GRPC_ENABLE_FORK_SUPPORT": "0",
        "CUDA_VISIBLE_DEVICES": "-1",
    }


class Nursery:
    """A running nursery process."""

    def __init__(self, flavor: Flavor) -> None:
        environment, ours = _environment(), ",".join(preloaded(flavor))
        self.is_closed = False
        self._lock = threading.Lock()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the nursery lives
        self._socket, nursery_end = socket.socketpair()
        with nursery_end:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(nursery_end.fileno()), flavor.value, ours, *map(os.path.abspath, sys.path)],
                pass_fds=[nursery_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None if environment.get(VERBOSE) else self._errors,
                env=environment,
                start_new_session=True,  # the launcher handles Ctrl-C; the nursery ends when the launcher does
            )

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
            socket.send_fds(self._socket, [b"f"], [channel.fileno(), status.fileno()])

    def last_words(self) -> str:
        """The end of its error output: the reason, when it could not import a module."""
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
            self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:  # it is still importing and has not noticed
            self.kill()


_nurseries: dict[Flavor, Nursery] = {}
_single: set[Nursery] = set()
_nurseries_lock = threading.Lock()


def nursery(flavor: Flavor) -> Nursery:
    """The living nursery of a flavor; starts a new one where there is none."""
    with _nurseries_lock:
        found = _nurseries.get(flavor)
        if found is None or not found.is_alive():
            found = _nurseries[flavor] = Nursery(flavor)
        return found


@contextlib.contextmanager
def shared_nursery(flavor: Flavor) -> Iterator[Nursery]:
    """`nursery` as a context manager."""
    yield nursery(flavor)


@contextlib.contextmanager
def nursery_of_its_own(flavor: Flavor) -> Iterator[Nursery]:
    """A new nursery that no other unit uses, while the context lasts."""
    found = Nursery(flavor)
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
    """Starts nurseries now, so that their imports overlap with the caller's own start: those that every run needs, unless flavors
    are given.
    """
    for flavor in flavors or (Flavor.KERAS, Flavor.CLEAN):
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
