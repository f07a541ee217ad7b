"""Forks readers (see `reader`) from one process that has imported their modules already: starting Python and importing NumPy and
HDF5 takes a quarter of a second, a fork some milliseconds.

The server never opens a stranger's file. It starts with a reader's environment, thus without credentials; it has one thread, no
memory of its caller's, and reads nothing but the caller's socket. Its children close that socket, confine themselves and read.
The server ends when its caller does, since the socket then closes, and its children end with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from liteferry.sandbox.reader_main import main as read

_PROGRAM = "import sys; sys.path[:] = sys.argv[3:]; from liteferry.sandbox.reader_server import main; main(*sys.argv[1:3])"
_MOST_BYTES = 2**16
_PR_SET_PDEATHSIG = 1


class ServerEndedError(Exception):
    """The server is gone; its caller starts a whole process instead."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """One reader: `module:name` of the function that answers, its seconds for each request, and its scratch folder."""

    function: str
    seconds: float
    work: str


class Server:
    """The caller's side. It may be used by several threads."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts the process and does not wait for it.

        Args:
          modules: what it imports before the first fork.
          environment: of the server and of all its readers.
        """
        self._socket, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            command = [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), json.dumps(list(modules))]
            self._process = subprocess.Popen(
                [*command, *map(os.path.abspath, sys.path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # whatever is wrong with it, a reader started instead says so
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def start(self, order: Order, *, stdin: int, stdout: int, stderr: int) -> Forked:
        """Forks a reader with these descriptors. Raises ServerEndedError."""
        with self._lock:
            return Forked(self, int(self._answer(dataclasses.asdict(order), [stdin, stdout, stderr])))

    def end(self, pid: int) -> int:
        """Kills a reader, unless it has ended, and returns its status as `subprocess` tells it. Raises ServerEndedError."""
        with self._lock:
            return int(self._answer({"end": pid}, []))

    def close(self) -> None:
        """Ends the server and its readers."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _answer(self, message: Mapping[str, Any], descriptors: Sequence[int]) -> bytes:
        try:
            socket.send_fds(self._socket, [json.dumps(message).encode() + b"\n"], descriptors)
            answer = _line(self._socket)
        except OSError as error:
            raise ServerEndedError(str(error)) from error
        if not answer:
            raise ServerEndedError("it has closed its socket")
        return answer


@dataclasses.dataclass(frozen=True)
class Forked:
    """A reader that the server has forked."""

    server: Server
    pid: int

    def status(self) -> int:
        """The exit status of one whose answers have ended: it has ended too, or is killed. A reader whose server is gone was
        killed with it.
        """
        try:
            return self.server.end(self.pid)
        except ServerEndedError:
            return -signal.SIGKILL

    def kill(self) -> None:
        """Ends it."""
        self.status()


def _line(connection: socket.socket) -> bytes:
    """One line; b"" at the end. Each side sends its next one only after the other's."""
    text = b""
    while not text.endswith(b"\n"):
        piece = connection.recv(_MOST_BYTES)
        if not piece:
            return b""
        text += piece
    return text


def main(descriptor: str, modules: str) -> None:
    """The server's side: imports the modules, then forks a reader for each order."""
    from liteferry.sandbox.nursery import preload

    connection = socket.socket(fileno=int(descriptor))
    preload(json.loads(modules))
    if not _has_one_thread():
        return  # a fork could leave a child with a lock that nobody releases, and `confine` holds for one thread alone
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, _MOST_BYTES, 3)
        if not message:
            return
        told = json.loads(message)
        answer = _end(int(told["end"])) if "end" in told else _fork(connection, Order(**told), descriptors)
        for each in descriptors:
            os.close(each)
        connection.sendall(b"%d\n" % answer)


def _has_one_thread() -> bool:
    with contextlib.suppress(OSError):  # where the kernel does not tell
        return len(os.listdir("/proc/self/task")) == 1
    return threading.active_count() == 1


def _end(pid: int) -> int:
    os.kill(pid, signal.SIGKILL)  # it is still this process's child, so nobody else has its number
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _fork(connection: socket.socket, order: Order, descriptors: Sequence[int]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_reader(connection, order, descriptors, parent)
    return pid


def _become_reader(connection: socket.socket, order: Order, descriptors: Sequence[int], parent: int) -> NoReturn:
    try:
        connection.close()
        os.setsid()
        _end_with(parent)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # read to the end of this process
        os.environ["TMPDIR"] = tempfile.tempdir = order.work
        os._exit(read(order.function, str(order.seconds)))
    except SystemExit as error:
        _say(error.code if isinstance(error.code, str) else None)
        os._exit(error.code if isinstance(error.code, int) else 1)
    except BaseException:  # noqa: BLE001  # as the interpreter does at its top
        traceback.print_exc()
        _say(None)
        os._exit(1)


def _say(what: str | None) -> None:
    if what is not None:
        print(what, file=sys.stderr)
    sys.stderr.flush()


def _end_with(parent: int) -> None:
    """The kernel kills this process when its parent ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the line above took effect
            os._exit(1)
