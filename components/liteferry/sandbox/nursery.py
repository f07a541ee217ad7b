"""The process from which sandboxes are forked. It imports everything heavy once, before the first fork.

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
from collections.abc import Collection, Iterator, Sequence
from typing import NoReturn

from liteferry.sandbox.flavors import NOT_PRELOADED, PRELOAD, Flavor
from liteferry.sandbox.readable import python_paths

STATUS = struct.Struct("!q")
NAME_PREFIX, UNIT = "liteferry-", "unit"
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
# `import tensorflow` imports Keras last, if it can.
_KERAS_OF_TENSORFLOW = ("keras.src.optimizers", "tf_keras.src.optimizers")
# Finds the machines of a cluster on Google's cloud: TensorFlow imports it where it is installed, a twelfth of its time.
_CLOUD_OF_TENSORFLOW = ("googleapiclient",)
_RSS_UNIT_BYTES = 1024 if sys.platform == "linux" else 1


def preload(modules: Sequence[str], *, without: Sequence[str] = ()) -> None:
    """Imports the modules that children need, while modules that they do not need are hidden from those imports."""
    gc.disable()  # imports make hardly any garbage, and collecting takes a seventh of their time
    with hidden(without):
        for name in modules:
            importlib.import_module(name)
    python_paths()  # cached; children inherit the result
    gc.enable()
    gc.collect()
    gc.freeze()  # a child's garbage collector then does not touch, and so does not copy, the pages of imported modules


def _in_common(preloads: Sequence[Sequence[str]]) -> list[str]:
    """The modules that all of several nurseries import."""
    return [name for name in preloads[0] if all(name in others for others in preloads[1:])]


def _forbid_keras() -> None:
    """Makes this process and every child unable to import any Keras, also not through TensorFlow's lazily loaded modules."""
    for name in ("keras", "tf_keras"):
        if sys.modules.get(name) is not None:
            raise RuntimeError(f"{name} is imported already, so this is not a clean process")
        sys.modules[name] = None  # type: ignore[assignment]  # `import keras` now raises ImportError
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:  # this module was imported while Keras was available, and also looks names up in Keras's folders
        tensorflow.__path__ = [path for path in tensorflow.__path__ if "keras" not in (path or "").split(os.sep)]


@contextlib.contextmanager
def hidden(names: Sequence[str]) -> Iterator[None]:
    """Hides modules as if they were not installed, while the context lasts."""
    for name in names:
        sys.modules[name] = None  # type: ignore[assignment]
    yield
    for name in names:
        del sys.modules[name]


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value)


def _call_yourself(name: str) -> None:
    """The name that `top` and `ps` show; at most fifteen characters."""
    _prctl(_PR_SET_NAME, f"{NAME_PREFIX}{name}".encode())


def _become_child(server: socket.socket, channel_fd: int, others: list[int], nursery_pid: int) -> NoReturn:
    from liteferry.sandbox.child import serve

    try:
        _call_yourself(UNIT)
        os.setsid()  # its own process group: one signal kills the whole family
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != nursery_pid:  # the nursery died before the line above took effect
            os._exit(1)
        server.close()
        for other in others:
            os.close(other)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        serve(channel_fd)
    finally:
        os._exit(70)  # reached only if `serve` has a bug: it ends the process itself


class _Children:
    """The living children, and the strays of those that have ended."""

    def __init__(self, *, held: Sequence[int] = (), twins: Collection[int] = ()) -> None:
        self._held, self._twins = held, twins  # descriptors that children must close; nurseries forked by this one
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
            _become_child(server, channel_fd, [status_fd, *self._status_fds.values(), *self._held], nursery_pid)
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
        self._kill_strays()  # also strays whose parent was a stray that has just ended

    def _kill_strays(self) -> None:
        for pid in _own_children() - self._status_fds.keys() - set(self._twins):
            suspects = self._suspects.setdefault(pid, set(self._status_fds))
            if suspects.isdisjoint(self._status_fds):
                _kill(pid)

    def kill_all(self) -> None:
        """Kills all families and their strays, until nothing is left."""
        for pid in self._status_fds:
            _kill_group(pid)
        with contextlib.suppress(ChildProcessError):
            while left := _own_children() - set(self._twins):
                for pid in left:
                    _kill(pid)
                os.waitpid(left.pop(), 0)


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


def _fork_twins(lives: Sequence[int]) -> tuple[int, set[int]]:
    """Forks a nursery for each pipe, and writes its pid there. Returns which nursery this process is now, 0 for the first, and
    the pids of those that it forked.
    """
    twins: set[int] = set()
    for number, life in enumerate(lives, start=1):
        try:
            pid = os.fork()
        except OSError as error:  # the pipe closes, and the supervisor starts another nursery
            print(f"cannot fork: {error.strerror}", file=sys.stderr, flush=True)
            continue
        if pid == 0:
            os.setsid()
            return number, set()
        twins.add(pid)
        os.write(life, pid.to_bytes(8, "big"))
    return 0, twins


def main(argv: list[str]) -> NoReturn:
    """Serves fork requests until the parent has gone, after forking nurseries of other flavors.

    Args:
      argv: anything; the descriptors of inherited sockets, one for each nursery; those of pipes, one for each but the first; the
        nurseries' flavors, with commas between them; and the modules of ours that each imports, semicolons between nurseries.
    """
    servers = [socket.socket(fileno=int(word)) for word in argv[1].split(",")]
    lives = [int(word) for word in argv[2].split(",") if word]
    flavors = [Flavor(word) for word in argv[3].split(",")]
    ours = [[name for name in words.split(",") if name] for words in argv[4].split(";")]
    preloads = [[*PRELOAD[flavor], *names] for flavor, names in zip(flavors, ours, strict=True)]
    for descriptor in (*lives, *(server.fileno() for server in servers)):
        os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if lives:
        preload(_in_common(preloads), without=(*_KERAS_OF_TENSORFLOW, *_CLOUD_OF_TENSORFLOW))
    own, twins = _fork_twins(lives)
    for number, server in enumerate(servers):
        if number != own:
            server.close()
        if number not in (0, own):
            os.close(lives[number - 1])
    _call_yourself(flavors[own].value)
    if flavors[own] is Flavor.CLEAN:
        _forbid_keras()
    preload(preloads[own], without=NOT_PRELOADED.get(flavors[own], ()))
    _serve(servers[own], _Children(held=[lives[own - 1]] if own else [], twins=twins))


def _serve(server: socket.socket, children: _Children) -> NoReturn:
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
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
