"""The files that a job names: the checkpoints that its patterns find, and a check that everything else exists before a run
begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from liteferry import storage
from liteferry.errors import JobError, StorageError
from liteferry.plan.discovery import Found, FoundCheckpoint, Pattern, is_within, look_for

if TYPE_CHECKING:
    from liteferry.config.job import Job


def find_checkpoints(job: Job, out: str | None = None) -> list[FoundCheckpoint]:
    """The checkpoints that the job's patterns match, except files that a run writes into `out`. Raises JobError if a pattern
    matches nothing else, or if a store does not answer.
    """
    return list(look_for_checkpoints(job, out).checkpoints)


def look_for_checkpoints(job: Job, out: str | None = None) -> Found:
    """The matched checkpoints, and the matched files that are not checkpoints. Raises JobError as `find_checkpoints` does."""
    try:
        found = look_for(
            [
                Pattern(
                    pattern=entry.checkpoints,
                    exclude=tuple(entry.exclude),
                    versions=entry.versions.value,
                    signature=entry.signature,
                    out=None if out is None else storage.absolute(out),
                )
                for entry in job.models
            ]
        )
        _refuse_empty_patterns(job, found.checkpoints, out)
    except StorageError as error:
        raise JobError([f"models: {error}"]) from error
    return found


def refuse_missing_files(job: Job) -> None:
    """Raises JobError for module files and samples that do not exist: every model would fail, so the run does not begin."""
    problems = [
        f"modules[{index}]: {module} is not there; correct the path (in a job file it is relative to the file's folder)"
        for index, module in enumerate(job.modules)
        if module.endswith(".py") and not _is_file(module)
    ]
    problems += [
        f"models[{index}].signatures.{name}.assets.{asset}: {path} is not there; correct the path"
        for index, entry in enumerate(job.models)
        for name, signature in entry.signatures.items()
        for asset, path in signature.assets.items()
        if not _is_file(path)
    ]
    problems += [
        f"models[{index}].tflite_metadata: {path} is not there; correct the path"
        for index, entry in enumerate(job.models)
        for path in (entry.tflite_metadata.all_files() if entry.tflite_metadata else ())
        if not _is_file(path)
    ]
    problems += [
        f"samples.{name}.path: {spec.path!r} names no file; correct the path or the pattern"
        for name, spec in job.samples.items()
        if not _names_something(spec.path)
    ]
    if problems:
        raise JobError(problems)


def _is_file(path: str) -> bool:
    try:
        return storage.exists(path) and not storage.is_directory(path)
    except StorageError as error:
        raise JobError([str(error)]) from error


def _names_something(pattern: str) -> bool:
    try:
        return bool(storage.exists(pattern) or storage.glob(pattern))
    except StorageError as error:
        raise JobError([f"samples: {error}"]) from error


def _refuse_empty_patterns(job: Job, found: Sequence[FoundCheckpoint], out: str | None) -> None:
    problems = []
    for index, entry in enumerate(job.models):
        if any(checkpoint.entry == index for checkpoint in found):
            continue
        there = [storage.absolute(path) for path in storage.glob(entry.checkpoints)]
        if there and out is not None and all(is_within(path, storage.absolute(out)) for path in there):
            problems.append(
                f"models[{index}].checkpoints: {entry.checkpoints!r} names nothing but what lies in the output folder {out}, "
                "where the run writes its own models; give the run an --output outside of the checkpoints' folder"
            )
        if not there:
            problems.append(
                f"models[{index}].checkpoints: {entry.checkpoints!r} names no file or directory; "
                "correct the path or the pattern (in a job file it is relative to the file's folder)"
            )
    if problems:
        raise JobError(problems)
