"""The process that sandboxes are forked from: it imports everything heavy once, before the first fork.

A cold start of TensorFlow costs 3 to 5 s, a fork of this process 0.02 s. `liteferry.sandbox.nurseries` starts it. It is
single-threaded, does no work itself, and ends when its parent does: the socket then reads as closed. When it dies, the kernel
kills its children (PR_SET_PDEATHSIG).

For every request the parent sends two descriptors over the socket: `channel` (frames to and from the child) and `status`. On
`status` this process writes numbers of eight bytes: the child's pid after the fork, and, when the child and its family have
ended, its wait status and its peak resident memory in bytes.

A child's family is its process group. A process that has left the group is a stray: the kernel gives orphans to this process
(PR_SET_CHILD_SUBREAPER), which kills each stray once every child that could be its parent has ended.

Why not `multiprocessing`'s forkserver: it has one preload list per process, and two are needed here (the clean one must have no
Keras at all); it imports the caller's `__main__` in every child, which runs users' scripts; and it unpickles what a child sends,
whereas these children send JSON only.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from liteferry.sandbox.flavors import NOT_PRELOADED, PRELOAD, Flavor
from liteferry.sandbox.readable import python_paths

STATUS = struct.Struct("!q")
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_RSS_UNIT_BYTES = 1024 if sys.platform == "linux" else 1


def preload(flavor: Flavor, ours: Sequence[str]) -> None:
    """Imports what the children of this flavor need: its libraries, then `ours`. The clean flavor is made unable to import any
    Keras.
    """
    if flavor is Flavor.CLEAN:
        for name in ("keras", "tf_keras"):
            sys.modules[name] = None  # type: ignore[assignment]  # `import keras` now raises ImportError, here and in every child
    gc.disable()  # imports make hardly any garbage, and collecting takes a seventh of their time
    with _hidden(NOT_PRELOADED.get(flavor, ())):
        for name in (*PRELOAD[flavor], *ours):
            importlib.import_module(name)
    python_paths()  # children inherit the answer
    gc.enable()
    gc.collect()
    gc.freeze()  # the collector of a child does not visit, and so does not copy, the pages of what was imported here


@contextlib.contextmanager
def _hidden(names: Sequence[str]) -> Iterator[None]:
    """Hides modules as if they were not installed, while the context lasts."""
    for name in names:
        sys.modules[name] = None  # type: ignore[assignment]
    yield
    for name in names:
        del sys.modules[name]


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value)


def _become_child(server: socket.socket, channel_fd: int, others: list[int], nursery_pid: int) -> NoReturn:
    from liteferry.sandbox.child import serve

    try:
        os.setsid()  # its own process group: one signal kills the whole family
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != nursery_pid:  # the nursery died before the line above had its effect
            os._exit(1)
        server.close()
        for other in others:
            os.close(other)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        serve(channel_fd)
    finally:
        os._exit(70)  # only reached when `serve` itself is broken: it ends the process itself


class _Children:
    """The living children, and the strays of those that have ended."""

    def __init__(self) -> None:
        self._status_fds: dict[int, int] = {}
        self._suspects: dict[int, set[int]] = {}  # stray -> children that were there when it was first seen

    def fork(self, server: socket.socket, channel_fd: int, status_fd: int) -> None:
        """Forks a child. Where that fails, closes its descriptors: the supervisor sees them close and reads the reason in the
        error output.
        """
        nursery_pid = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            print(f"cannot fork: {error.strerror}", file=sys.stderr, flush=True)
            os.close(channel_fd)
            os.close(status_fd)
            return
        if pid == 0:
            _become_child(server, channel_fd, [status_fd, *self._status_fds.values()], nursery_pid)
        self._status_fds[pid] = status_fd
        os.close(channel_fd)
        _tell(status_fd, pid)

    def reap(self) -> None:
        """Collects children that have ended, kills what is left of their families, and reports to their supervisors."""
        while True:
            try:
                pid, wait_status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                break
            self._suspects.pop(pid, None)
            status_fd = self._status_fds.pop(pid, None)
            if status_fd is not None:
                _kill_group(pid)
                self._kill_strays()
                _tell(status_fd, wait_status, usage.ru_maxrss * _RSS_UNIT_BYTES)
                os.close(status_fd)
        self._kill_strays()  # also those whose parent was itself a stray and has just ended

    def _kill_strays(self) -> None:
        for pid in _own_children() - self._status_fds.keys():
            suspects = self._suspects.setdefault(pid, set(self._status_fds))
            if suspects.isdisjoint(self._status_fds):
                _kill(pid)

    def kill_all(self) -> None:
        """Kills all families and their strays, until nothing is left."""
        for pid in self._status_fds:
            _kill_group(pid)
        with contextlib.suppress(ChildProcessError):
            while True:
                for pid in _own_children():
                    _kill(pid)
                os.wait()


def _own_children() -> set[int]:
    with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return {int(word) for word in file.read().split()}
    return set()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _tell(status_fd: int, *numbers: int) -> None:
    with contextlib.suppress(OSError):  # the supervisor has ended
        os.write(status_fd, b"".join(STATUS.pack(number) for number in numbers))


def _take_request(server: socket.socket, children: _Children) -> bool:
    """Forks the child that the next request asks for. False when there will be no more requests, because the parent has ended."""
    try:
        message, fds, _, _ = socket.recv_fds(server, 1, 2)
    except ConnectionError:
        return False
    if len(fds) == 2:
        children.fork(server, *fds)
    else:  # this process is out of descriptors: the supervisor sees its end close
        for fd in fds:
            os.close(fd)
    return bool(message)


def main(argv: list[str]) -> NoReturn:
    """Serves fork requests until the parent has ended. `argv`: anything, the descriptor of the inherited socket, a flavor,
    modules to import with commas between them.
    """
    server = socket.socket(fileno=int(argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    preload(Flavor(argv[2]), argv[3].split(",") if argv[3] else ())
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children = _Children()
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    has_parent = True
    while has_parent:
        for key, _ in selector.select():
            if key.fileobj is server:
                has_parent = _take_request(server, children)
            else:
                os.read(wake_read, 4096)
        children.reap()
    children.kill_all()
    os._exit(0)  # at once: nothing here needs an orderly end
