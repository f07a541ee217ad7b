"""Parses untrusted files in short-lived processes that may die, one request after the other; answers come back as JSON.

HDF5, protobuf and Arrow are native code. A crafted file may make them abort, hang, or allocate all memory; no `except` catches
that. A sandbox would, but its nursery first imports TensorFlow, which takes seconds. So a reader is a plain Python process
without TensorFlow (a quarter of a second), with limits that the kernel enforces. As with a sandbox, nothing that it sends is
unpickled, its environment holds no credentials, and where the kernel allows it, it writes to its scratch folder alone and has no
network. `reader_main` is the other side.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from liteferry.errors import ReasonCode
from liteferry.sandbox import scratch
from liteferry.sandbox.confine import SWITCH
from liteferry.sandbox.reader_server import Forked, Order, Server, ServerEndedError
from liteferry.sandbox.units import name_of

SECONDS = 60.0
_MOST_ANSWER_BYTES = 64 * 2**20
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[3:]; from liteferry.sandbox.reader_main import main; sys.exit(main(*sys.argv[1:3]))"
)
_KEPT = ("PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH", SWITCH)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoAnswer:
    """How a reader failed on a request: `code` is CRASHED or TIMEOUT, `what` a clause for a person."""

    code: ReasonCode
    what: str


_server: Server | None = None  # while `prepared` lasts


@contextlib.contextmanager
def prepared(*modules: str) -> Iterator[None]:
    """While the context lasts, each reader is forked from one process that has imported these modules, in some milliseconds
    in place of a quarter of a second. It does not wait for that process. Within another such context it does nothing.
    """
    global _server
    if _server is not None or not hasattr(os, "fork"):
        yield
        return
    _server = server = Server(modules, _environment())
    try:
        yield
    finally:
        _server = None
        server.close()


def ask(
    function: Callable[[Any], Any], requests: Sequence[Any], *, readable: Sequence[str], seconds: float = SECONDS
) -> Iterator[dict[str, Any] | NoAnswer]:
    """The answers of `function` to the requests, in order. If a reader dies, only its current request fails; a new reader
    continues with the next one.

    Args:
      function: at the top of a module; called with one request, it returns an answer. Requests and answers are JSON-friendly.
      readable: files and folders of the requests, which a reader may read; see `sandbox.confine`.
      seconds: for each request, of wall clock and of processor time.
    """
    done, name = 0, name_of(function)
    while done < len(requests):
        for answer in _one_reader(name, requests[done:], readable, seconds):
            done += 1
            yield answer


def _one_reader(
    function: str, requests: Sequence[Any], readable: Sequence[str], seconds: float
) -> Iterator[dict[str, Any] | NoAnswer]:
    """Yields answers until the reader has answered all requests or has died; then the last one is a NoAnswer."""
    with (
        scratch.folder() as work,
        tempfile.TemporaryFile() as asked,
        tempfile.TemporaryFile() as errors,
    ):
        lines = [list(map(os.path.abspath, readable)), *requests]
        asked.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        asked.seek(0)
        answers, theirs = os.pipe()
        try:
            process = _start(Order(function=function, seconds=seconds, work=work), (asked, theirs, errors))
        finally:
            os.close(theirs)
        count, status = 0, None
        try:
            for line in _lines(answers, seconds):
                if line is None:
                    status = process.status()
                    break
                yield json.loads(line)
                count += 1
                if count == len(requests):
                    return
        except ValueError as error:
            yield NoAnswer(code=ReasonCode.CRASHED, what=f"the reader sent something that is not an answer ({error})")
            return
        finally:
            if status is None:
                process.kill()
            os.close(answers)
        errors.seek(0)
        yield _end(status, seconds, errors.read(_MOST_ANSWER_BYTES)[-2000:].decode(errors="replace").strip())


@dataclasses.dataclass(frozen=True)
class _Started:
    """A reader that is a process of its own from the start."""

    process: subprocess.Popen[bytes]

    def status(self) -> int:
        """The exit status of one whose answers have ended."""
        return self.process.wait()

    def kill(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.wait()


def _start(order: Order, streams: tuple[IO[bytes], int, IO[bytes]]) -> Forked | _Started:
    """A reader with these streams: requests, answers, errors."""
    asked, answers, errors = streams
    if _server is not None:
        with contextlib.suppress(ServerEndedError):
            return _server.start(order, stdin=asked.fileno(), stdout=answers, stderr=errors.fileno())
    return _Started(
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, order.function, str(order.seconds), *map(os.path.abspath, sys.path)],
            stdin=asked,
            stdout=answers,
            stderr=errors,
            env={**_environment(), "TMPDIR": order.work},
            start_new_session=True,
        )
    )


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(("LC_", "PYTHON"))}
    return {**kept, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _lines(stream: int, seconds: float) -> Iterator[bytes | None]:
    """Lines as they arrive, and None at the end of the stream. Ends early when one line takes longer than `seconds`."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(seconds):
            piece = os.read(stream, 1 << 20)
            if not piece:
                yield None
                return
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
            if len(rest) > _MOST_ANSWER_BYTES:
                raise ValueError(f"more than {_MOST_ANSWER_BYTES:,} bytes without an end")


def _end(status: int | None, seconds: float, last_words: str) -> NoAnswer:
    if status is None or status == -signal.SIGXCPU:
        what = f"reading it took longer than {seconds:g} s and was stopped; the file is very large, or made to be slow"
        return NoAnswer(code=ReasonCode.TIMEOUT, what=what)
    if status < 0:
        name = signal.Signals(-status).name
        what = f"its parser ended with {name}; the file is damaged or hostile. Nothing else was harmed; copy it again"
        return NoAnswer(code=ReasonCode.CRASHED, what=what)
    return NoAnswer(
        code=ReasonCode.CRASHED, what=f"the reader ended with status {status} and no answer ({last_words or 'nothing said'})"
    )
