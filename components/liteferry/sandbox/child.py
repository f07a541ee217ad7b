"""A sandbox process: it reads one request, runs one function, answers in JSON, and exits.

No exception leaves the process. Exceptions, SystemExit and KeyboardInterrupt included, become an `error` message; the supervisor
sees anything worse in the wait status.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import socket
import sys
import tempfile
import traceback
from typing import Any, NoReturn

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.sandbox import frames
from liteferry.sandbox.confine import confine
from liteferry.sandbox.outcome import Failure
from liteferry.sandbox.readable import refused_path
from liteferry.sandbox.reporter import Reporter, receive_object
from liteferry.sandbox.units import function_of
from liteferry.storage.transient import is_storage_failure, is_transient_read_error

# Exit status of a process whose function has ended, but that could not send its last message.
SPEECHLESS = 71

_MAX_MESSAGE_CHARS = 20_000
_KEPT_FROM = (
    "; {path} is not among the paths that this job names, so the process was not allowed to read it. If your own code needs it, "
    "list it under `reads` in the job file (--reads on the command line); if only the checkpoint asks for it, do not"
)
# Codes that blame a model for files (its own, or made from it) that cannot be read or written.
_TOLD_OF_FILES = {
    ReasonCode.LOAD_CORRUPT,
    ReasonCode.LOAD_FAILED,
    ReasonCode.EXPORT_FAILED,
    ReasonCode.CONVERT_FAILED,
    ReasonCode.SAMPLES_MISSING,
    ReasonCode.SAMPLES_MISMATCH,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """One unit of work. `function` is "module:name", called as `function(argument, Reporter)`; it hands results over through the
    reporter.

    `scratch` is a folder of this unit's own, its working directory and the place of its temporary files. `writable` are other
    folders below which it may write, `readable` other files that it may read; `network`: whether it may use the network.
    `file_bytes`: how large one file may become.
    """

    function: str
    argument: Any
    scratch: str = ""
    log_path: str = ""
    writable: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    network: bool = False
    file_bytes: int = resource.RLIM_INFINITY


def failure_of(error: BaseException, stage: Stage) -> Failure:
    """An exception as a failure: a ModelError keeps its reason, exhausted memory and failing storage get their codes, anything
    else has code None.
    """
    refused = refused_path(error)
    is_storage = refused is None and is_storage_failure(error)
    misread = refused is None and is_transient_read_error(error)
    hint = "" if refused is None else _KEPT_FROM.format(path=refused)
    if isinstance(error, ModelError):
        reason = error.reason
        own = ReasonCode.STORAGE_FAILED if is_storage and reason.code in _TOLD_OF_FILES else reason.code
        return Failure(code=own, stage=reason.stage, message=f"{_cut(reason.message)}{hint}", misread=misread)
    code: ReasonCode | None = None
    is_lost = isinstance(error, FileNotFoundError) and stage is Stage.EVALUATE  # the artifact existed before
    if is_storage or is_lost:
        code = ReasonCode.STORAGE_FAILED
    elif isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        code = ReasonCode.OUT_OF_MEMORY
    return Failure(
        code=code,
        stage=stage,
        message=f"{type(error).__name__[:200]}: {_words_of(error)}".strip().rstrip(":") + hint,
        traceback="".join(traceback.format_exception(error, limit=-12))[-_MAX_MESSAGE_CHARS:],
        misread=misread,
    )


def _words_of(error: BaseException) -> str:
    try:
        words = str(error)
    except Exception as second:  # noqa: BLE001  # the user's __str__: anything
        return f"(its __str__ raised {type(second).__name__})"
    return _cut(words)


def _cut(words: str) -> str:
    if len(words) <= _MAX_MESSAGE_CHARS:
        return words
    return f"{words[:_MAX_MESSAGE_CHARS]} ... ({len(words) - _MAX_MESSAGE_CHARS:,} characters more)"


def _isolate(request: Request) -> None:
    log = os.open(request.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(null)
    os.environ["TMPDIR"] = tempfile.tempdir = request.scratch  # `tempdir` was set when the nursery imported tempfile's users
    os.chdir(request.scratch)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    most = request.file_bytes if hard == resource.RLIM_INFINITY else min(request.file_bytes, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    confine((request.scratch, *request.writable), readable=request.readable, network=request.network)


def _use_one_thread() -> None:
    """One process for each core, one thread for each process: cores are not overbooked, and the order of sums does not depend on
    the number of cores.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        tensorflow.config.threading.set_intra_op_parallelism_threads(1)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)


def _serve(channel: socket.socket) -> dict[str, Any]:
    """Runs one request to its end. Returns the last message."""
    pid = os.getpid()
    reporter = Reporter(channel)
    try:
        request: Request = receive_object(channel)
        _isolate(request)
        _use_one_thread()
        function_of(request.function)(request.argument, reporter)
        message: dict[str, Any] = {"event": "done"}
    except BaseException as error:  # noqa: BLE001  # user code may raise SystemExit, KeyboardInterrupt, anything
        with contextlib.suppress(Exception):
            traceback.print_exc()
        message = {"event": "error", **dataclasses.asdict(failure_of(error, reporter.current_stage))}
    if os.getpid() != pid:
        os._exit(0)  # a process that the function has forked also returns here; only one may report the end
    return message


def serve(channel_fd: int) -> NoReturn:
    """Runs one request to its end. Never returns: the process ends without waiting for threads that the function started."""
    exit_code = SPEECHLESS
    try:
        channel = socket.socket(fileno=channel_fd)
        message = _serve(channel)
        frames.send_json(channel, message)
        exit_code = 0 if message["event"] == "done" else 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the user's code may have closed or replaced it
                stream.flush()
        os._exit(exit_code)
