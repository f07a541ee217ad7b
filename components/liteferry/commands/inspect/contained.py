"""The parent's side of `inspect`: a short-lived child process reads the file, so that a crash ends only the child.

It is no security boundary: against code execution in a parser, open untrusted files in a container.
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from typing import Any

from liteferry import storage
from liteferry.checkpoints.reach import files_of_checkpoint
from liteferry.commands.inspect import child
from liteferry.errors import ModelError, ReasonCode, Stage, StorageError
from liteferry.sandbox import reader
from liteferry.sandbox.pool import available_cores
from liteferry.sandbox.reader import SECONDS, NoAnswer
from liteferry.storage import local_cache
from liteferry.storage.local_cache import Wanted

_FEWEST, _MOST_READERS = 50, 4


def inspect(uri: str, *, seconds: float = SECONDS, unit: Callable[[str], Any] = child.answer) -> dict[str, Any]:
    """The static facts of a checkpoint, a SavedModel directory or a .tflite file; docs/inspect.md lists the keys.

    Args:
      uri: file or directory, also on an object store; or the prefix of a TensorFlow checkpoint, on a store its .index file.
      seconds: after which the reader is stopped.
      unit: what runs in the reader.

    Raises:
      StorageError: the file does not exist, or the store fails.
      ModelError: LOAD_CORRUPT, LOAD_UNSUPPORTED; CRASHED, TIMEOUT or OUT_OF_MEMORY when the reader process did not survive the
        file.
    """
    if not storage.is_remote(uri):
        return _inspect(storage.require_local(uri), seconds, unit)
    from liteferry.plan.fingerprints import files_of  # with all that a plan needs, and `check` asks about local files alone

    with local_cache.lease([Wanted(uris=tuple(files_of(uri)))]) as copies:
        copies.raise_problems()
        try:
            facts: dict[str, Any] = copies.in_uris(_inspect(copies.path(uri), seconds, unit))
        except ModelError as error:
            reason = error.reason
            raise ModelError(reason.code, reason.stage, copies.in_uris(reason.message)) from error
        return facts


def _inspect(path: str, seconds: float, unit: Callable[[str], Any]) -> dict[str, Any]:
    if not os.path.lexists(path) and not os.path.isfile(f"{path}.index"):
        raise StorageError(f"{path}: no such file or directory; name a checkpoint, a SavedModel directory or a .tflite file")
    (answer,) = reader.ask(unit, [os.path.abspath(path)], readable=files_of_checkpoint(path), seconds=seconds)
    if isinstance(answer, NoAnswer):
        raise ModelError(answer.code, Stage.LOAD, f"{path}: {answer.what}")
    error = answer.get("error")
    if error is not None:
        raise ModelError(ReasonCode(error["code"]), Stage(error["stage"]), str(error["message"]))
    facts: dict[str, Any] = answer["facts"]
    return facts


def outlines(paths: Sequence[str], with_builder: Sequence[bool]) -> list[dict[str, Any]]:
    """For each checkpoint what `check` has to know of it: {kind, findings, and, where it is one, what `child` finds it to say of
    itself}, or {kind, error: {code, message}}. Neighbours, which are mostly siblings, are read by the same process.
    """
    requests = [{"path": path, "has_builder": builder} for path, builder in zip(paths, with_builder, strict=True)]
    size = max(_FEWEST, -(-len(requests) // min(available_cores(), _MOST_READERS)))
    parts = [requests[start : start + size] for start in range(0, len(requests), size)]
    with concurrent.futures.ThreadPoolExecutor(_MOST_READERS) as pool:
        return [outline for part in pool.map(_outlines, parts) for outline in part]


def _outlines(requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    readable = [file for request in requests for file in files_of_checkpoint(request["path"])]
    return [
        {"kind": found.code.value, "error": {"code": found.code.value, "message": f"{request['path']}: {found.what}"}}
        if isinstance(found, NoAnswer)
        else found
        for request, found in zip(requests, reader.ask(child.outline, requests, readable=readable), strict=True)
    ]
