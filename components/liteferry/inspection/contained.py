"""The parent's side of `inspect`: the reading happens in a short-lived process that may die.

HDF5 and protobuf are parsed by native code, and files to inspect are strangers' files. A crafted one may abort, hang, or ask for
all memory there is; no `except` holds any of that. The sandbox would, but its nursery imports TensorFlow first, which takes
seconds. So the reader is a plain Python process without TensorFlow (a quarter of a second), with limits that the kernel keeps.
As with a sandbox, it answers in JSON, nothing of it is unpickled, and its environment holds no credentials. It is no security
boundary either: against code execution in a parser, open strangers' files in a container.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import Any

from liteferry import local_cache, storage
from liteferry.errors import ModelError, ReasonCode, Stage, StorageError
from liteferry.local_cache import Wanted
from liteferry.plan import files_of

SECONDS = 60.0
_ANSWER_BYTES = 64 * 2**20
_PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from liteferry.inspection.child import main; sys.exit(main(sys.argv[1]))"
_KEPT = ("PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


def inspect(uri: str, *, seconds: float = SECONDS) -> dict[str, Any]:
    """The static facts of a checkpoint, a SavedModel directory or a .tflite file; keys as docs/inspect.md lists them.

    Args:
      uri: file or directory, also on an object store; or the prefix of a TensorFlow checkpoint, on a store its .index file.
      seconds: after which the reader is stopped.

    Raises:
      StorageError: there is no such file, or the store does not give it.
      ModelError: LOAD_CORRUPT, LOAD_UNSUPPORTED; CRASHED, TIMEOUT or OUT_OF_MEMORY when the reader did not survive the file.
    """
    if not storage.is_remote(uri):
        return _inspect(storage.require_local(uri), seconds)
    with local_cache.lease([Wanted(uris=tuple(files_of(uri)))]) as copies:
        copies.raise_problems()
        try:
            facts: dict[str, Any] = copies.in_uris(_inspect(copies.path(uri), seconds))
        except ModelError as error:
            reason = error.reason
            raise ModelError(reason.code, reason.stage, copies.in_uris(reason.message)) from error
        return facts


def _inspect(path: str, seconds: float) -> dict[str, Any]:
    if not os.path.lexists(path) and not os.path.isfile(f"{path}.index"):
        raise StorageError(f"{path}: no such file or directory; name a checkpoint, a SavedModel directory or a .tflite file")
    with tempfile.TemporaryDirectory(prefix="liteferry-inspect-") as scratch:
        answer = _read_in_child(path, scratch, seconds)
    error = answer.get("error")
    if error is not None:
        raise ModelError(ReasonCode(error["code"]), Stage(error["stage"]), str(error["message"]))
    facts: dict[str, Any] = answer["facts"]
    return facts


def _read_in_child(path: str, scratch: str, seconds: float) -> dict[str, Any]:
    """Runs the reader. Archives are unpacked below `scratch`, which goes also when the reader is killed."""
    command = [sys.executable, "-c", _PROGRAM, os.path.abspath(path), *map(os.path.abspath, sys.path)]
    environment = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(("LC_", "PYTHON"))}
    environment |= {"TMPDIR": scratch, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=errors, env=environment, start_new_session=True
        )
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        content = said.read(_ANSWER_BYTES)
        errors.seek(0)
        last_words = errors.read(_ANSWER_BYTES)[-2000:].decode(errors="replace").strip()
    if status is None or status == -signal.SIGXCPU:
        what = f"{path}: reading it took longer than {seconds:g} s and was stopped; the file is very large, or made to be slow"
        raise ModelError(ReasonCode.TIMEOUT, Stage.LOAD, what)
    if status < 0:
        name = signal.Signals(-status).name
        what = f"{path}: its parser ended with {name}; the file is damaged or hostile. Nothing else was harmed; copy it again"
        raise ModelError(ReasonCode.CRASHED, Stage.LOAD, what)
    try:
        answer: dict[str, Any] = json.loads(content)
    except ValueError as error:
        what = f"{path}: the reader ended with status {status} and no answer ({last_words or error})"
        raise ModelError(ReasonCode.CRASHED, Stage.LOAD, what) from error
    return answer
