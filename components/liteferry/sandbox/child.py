"""What a sandbox process does from birth to death: read one request, run one function, answer in JSON, exit.

Whatever happens in here stays in here. Exceptions, SystemExit and KeyboardInterrupt included, become an `error` message; anything
worse is seen by the supervisor as a wait status.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import pickle
import resource
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.sandbox import frames

# Names a process needs to find its interpreter, its libraries and its locale. Everything else, credentials above all, stays out.
_KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONHASHSEED", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TMPDIR")
_KEPT_PREFIXES = ("TF_", "KERAS_", "LITEFERRY_", "OMP_", "XNNPACK_")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """One unit of work. `function` is "module:name", called as `function(argument, Reporter)`; its results go through the reporter."""

    function: str
    argument: Any
    scratch: str
    log_path: str


class Reporter:
    """How a unit of work speaks to its supervisor while it runs."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.current_stage = Stage.LOAD

    def stage(self, stage: Stage, *, subject: str | None = None) -> None:
        """Says what comes next and for which subject (a model id, a variant), so that a crash there is blamed on the right one."""
        self.current_stage = stage
        frames.send_json(self._channel, {"event": "stage", "stage": stage.value, "subject": subject})

    def result(self, result: Any) -> None:
        """Hands over one JSON-friendly result; it survives whatever happens to this process afterwards."""
        frames.send_json(self._channel, {"event": "result", "result": result})


def describe_error(error: BaseException, stage: Stage) -> dict[str, Any]:
    """An exception as a message: a ModelError keeps its reason, memory exhaustion gets its code, anything else has code None."""
    if isinstance(error, ModelError):
        reason = error.reason
        return {"event": "error", "code": reason.code.value, "stage": reason.stage.value, "message": reason.message}
    code = None
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        code = ReasonCode.OUT_OF_MEMORY.value
    message = f"{type(error).__name__}: {error}".strip().rstrip(":")
    trace = "".join(traceback.format_exception(error, limit=-12))
    return {"event": "error", "code": code, "stage": stage.value, "message": message, "traceback": trace}


def _isolate(request: Request) -> None:
    log = os.open(request.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(null)
    for name in list(os.environ):
        if name not in _KEPT_ENVIRONMENT and not name.startswith(_KEPT_PREFIXES):
            del os.environ[name]
    os.environ["TMPDIR"] = request.scratch
    os.chdir(request.scratch)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _use_one_thread() -> None:
    """One process a core, one thread a process: no oversubscription, and sums in an order that does not depend on the machine's width."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        tensorflow.config.threading.set_intra_op_parallelism_threads(1)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)


def _resolve(function: str) -> Callable[[Any, Reporter], None]:
    module_name, _, name = function.partition(":")
    return getattr(importlib.import_module(module_name), name)


def serve(channel_fd: int) -> NoReturn:
    """Runs one request to its end. Never returns: the process ends without waiting for threads that user code may have started."""
    channel = socket.socket(fileno=channel_fd)
    reporter = Reporter(channel)
    exit_code = 0
    try:
        request: Request = pickle.loads(frames.receive_frame(channel))  # from the parent, which is trusted; never the other way
        _isolate(request)
        _use_one_thread()
        _resolve(request.function)(request.argument, reporter)
        frames.send_json(channel, {"event": "done"})
    except BaseException as error:  # noqa: BLE001  # the one place: user code may raise SystemExit, KeyboardInterrupt, anything
        exit_code = 1
        traceback.print_exc()
        frames.send_json(channel, describe_error(error, reporter.current_stage))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
