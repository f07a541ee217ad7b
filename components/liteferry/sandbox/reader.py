"""Parses untrusted files in short-lived processes that may die, one request after the other; answers come back as JSON.

HDF5, protobuf and Arrow are native code. A crafted file may make them abort, hang, or allocate all memory; no `except` catches
that. A sandbox would, but its nursery first imports TensorFlow, which takes seconds. So a reader is a plain Python process
without TensorFlow (a quarter of a second), with limits that the kernel enforces. As with a sandbox, nothing that it sends is
unpickled, its environment holds no credentials, and where the kernel allows it, it writes to its scratch folder alone and has no
network. `reader_main` is the other side.
"""

from __future__ import annotations

import dataclasses
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from liteferry.errors import ReasonCode
from liteferry.sandbox import scratch
from liteferry.sandbox.confine import SWITCH
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
    done, command = 0, [sys.executable, "-c", _PROGRAM, name_of(function), str(seconds), *map(os.path.abspath, sys.path)]
    while done < len(requests):
        for answer in _one_reader(command, requests[done:], readable, seconds):
            done += 1
            yield answer


def _one_reader(
    command: Sequence[str], requests: Sequence[Any], readable: Sequence[str], seconds: float
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
        kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(("LC_", "PYTHON"))}
        process = subprocess.Popen(
            command,
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=kept | {"TMPDIR": work, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        assert process.stdout is not None
        count, status = 0, None
        try:
            for line in _lines(process.stdout, seconds):
                if line is None:
                    status = process.wait()
                    break
                yield json.loads(line)
                count += 1
                if count == len(requests):
                    return
        except ValueError as error:
            yield NoAnswer(code=ReasonCode.CRASHED, what=f"the reader sent something that is not an answer ({error})")
            return
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        errors.seek(0)
        yield _end(status, seconds, errors.read(_MOST_ANSWER_BYTES)[-2000:].decode(errors="replace").strip())


def _lines(stream: Any, seconds: float) -> Iterator[bytes | None]:
    """Lines as they arrive, and None at the end of the stream. Ends early when one line takes longer than `seconds`."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(seconds):
            piece = os.read(stream.fileno(), 1 << 20)
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
