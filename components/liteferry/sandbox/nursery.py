"""The process that children are forked from: everything heavy is imported once, here, before the first fork.

A cold start of TensorFlow costs 3 to 5 s, a fork of this process 0.02 s. Run as `python -m liteferry.sandbox.nursery FD FLAVOR`
by `liteferry.sandbox.client`, never by hand. It is single-threaded, does no work itself, and ends when its parent does: the
socket at FD then reads as closed, and the kernel kills its children (PR_SET_PDEATHSIG).

For every request the parent sends two descriptors over the socket: `channel` (frames to and from the child) and `status`, on which
this process writes the child's pid when it is born and its wait status when it has died, eight bytes each.

Why not `multiprocessing`'s forkserver: it has one preload list per process, and two are needed here (the clean one must have
no Keras at all); it imports the caller's `__main__` in every child, which runs users' scripts; and it unpickles what a child
sends, where this one's children speak JSON only.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import selectors
import signal
import socket
import struct
import sys
from typing import NoReturn

from liteferry.sandbox.flavors import PRELOAD, Flavor

STATUS = struct.Struct("!q")
_PR_SET_PDEATHSIG = 1


def preload(flavor: Flavor) -> None:
    """Imports what the children of this flavor need. The clean flavor is made unable to import any Keras."""
    if flavor is Flavor.CLEAN:
        for name in ("keras", "tf_keras"):
            sys.modules[name] = None  # type: ignore[assignment]  # `import keras` now raises ImportError, here and in every child
    for name in PRELOAD[flavor]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children never walk, and so never copy, the pages that hold what was imported here


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _become_child(server: socket.socket, channel_fd: int, nursery_pid: int) -> NoReturn:
    from liteferry.sandbox.child import serve

    try:
        server.close()
        os.setsid()  # its own process group: the supervisor kills the whole family with one signal
        _die_with_parent()
        if os.getppid() != nursery_pid:  # the nursery died before the line above took hold
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        serve(channel_fd)
    finally:
        os._exit(70)  # only reached when `serve` itself is broken: it ends the process on its own


def _reap(children: dict[int, int]) -> None:
    while children:
        try:
            pid, wait_status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        status_fd = children.pop(pid, None)
        if status_fd is not None:
            try:
                os.write(status_fd, STATUS.pack(wait_status))
            except OSError:
                pass  # the supervisor has gone; nobody is left to tell
            os.close(status_fd)


def _fork_one(server: socket.socket, children: dict[int, int], fds: list[int]) -> None:
    channel_fd, status_fd = fds
    nursery_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        for other in (status_fd, *children.values()):
            os.close(other)
        _become_child(server, channel_fd, nursery_pid)
    children[pid] = status_fd
    os.close(channel_fd)
    os.write(status_fd, STATUS.pack(pid))


def main(argv: list[str]) -> int:
    """Serves fork requests on the inherited socket until it is closed."""
    server = socket.socket(fileno=int(argv[1]))
    flavor = Flavor(argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    preload(flavor)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, int] = {}
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is server:
                message, fds, _, _ = socket.recv_fds(server, 1, 2)
                if not message:
                    return 0  # the parent has gone
                _fork_one(server, children, fds)
            else:
                os.read(wake_read, 4096)
        _reap(children)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
