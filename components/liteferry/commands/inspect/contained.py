"""The parent's side of `inspect`: a short-lived child process reads the file, so that a crash ends only the child.

It is no security boundary: against code execution in a parser, open untrusted files in a container.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from liteferry import storage
from liteferry.checkpoints.reach import files_of_checkpoint
from liteferry.commands.inspect import child
from liteferry.errors import ModelError, ReasonCode, Stage, StorageError
from liteferry.sandbox import reader
from liteferry.sandbox.reader import SECONDS, NoAnswer
from liteferry.storage import local_cache
from liteferry.storage.local_cache import Wanted


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


def outlines(paths: Sequence[str], with_builder: Sequence[bool]) -> Iterator[dict[str, Any]]:
    """For each checkpoint what `check` has to know of it: {kind, findings, and, where it is one, what `child` finds it to say of
    itself}, or {kind, error: {code, message}}.
    """
    readable = [file for path in paths for file in files_of_checkpoint(path)]
    requests = [{"path": path, "has_builder": builder} for path, builder in zip(paths, with_builder, strict=True)]
    for path, found in zip(paths, reader.ask(child.outline, requests, readable=readable), strict=True):
        if isinstance(found, NoAnswer):
            yield {"kind": found.code.value, "error": {"code": found.code.value, "message": f"{path}: {found.what}"}}
        else:
            yield found
