"""The errors of LiteFerry: exception types and stable reason codes.

    LiteFerryError
    |- JobError          the job file or the flags are wrong; nothing was run       (exit status 2)
    |- SamplesError      sample data that cannot serve a model
    |- ModelError        anything that ends one model's work; carries a `Reason`
    |- RunnerError       the runner did not take the job, or ended it before its end
    |  `- WorkerLostError   one of its processes has died
    `- StorageError      a path that cannot be read or written

A `Reason` is data: it crosses process boundaries and ends in `report.json`. Codes are stable; docs/reason_codes.md lists
each with its cause and its fix.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
from collections.abc import Iterable, Sequence
from typing import Any


class ReasonCode(str, enum.Enum):
    """Why a model or a variant is not blessed. Values never change once released."""

    LOAD_CORRUPT = "LOAD_CORRUPT"
    LOAD_UNSAFE = "LOAD_UNSAFE"
    LOAD_UNKNOWN_OBJECT = "LOAD_UNKNOWN_OBJECT"
    LOAD_UNKNOWN_OPERATION = "LOAD_UNKNOWN_OPERATION"
    LOAD_NEEDS_BUILDER = "LOAD_NEEDS_BUILDER"
    LOAD_UNSUPPORTED = "LOAD_UNSUPPORTED"
    WEIGHTS_MISMATCH = "WEIGHTS_MISMATCH"
    LOAD_FAILED = "LOAD_FAILED"
    EXPORT_FAILED = "EXPORT_FAILED"
    EXPORT_NONDETERMINISTIC = "EXPORT_NONDETERMINISTIC"
    EXPORT_BATCH_DEPENDENT = "EXPORT_BATCH_DEPENDENT"
    EXPORT_MISMATCH = "EXPORT_MISMATCH"
    CONVERT_UNSUPPORTED_OP = "CONVERT_UNSUPPORTED_OP"
    CONVERT_FAILED = "CONVERT_FAILED"
    NEEDS_FLEX = "NEEDS_FLEX"
    SAMPLES_MISSING = "SAMPLES_MISSING"
    SAMPLES_MISMATCH = "SAMPLES_MISMATCH"
    SAMPLES_EMPTY = "SAMPLES_EMPTY"
    PARITY_OUT_OF_TOLERANCE = "PARITY_OUT_OF_TOLERANCE"
    PARITY_NONFINITE = "PARITY_NONFINITE"
    METRIC_DROP = "METRIC_DROP"
    NOT_QUANTIZED = "NOT_QUANTIZED"
    TARGET_UNSUPPORTED = "TARGET_UNSUPPORTED"
    CRASHED = "CRASHED"
    KILLED = "KILLED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    OUT_OF_DISK = "OUT_OF_DISK"
    STORAGE_FAILED = "STORAGE_FAILED"
    INTERNAL = "INTERNAL"

    @property
    def is_transient(self) -> bool:
        """Whether it describes what happened to the run, not the model: the next run tries the model again."""
        return self in (ReasonCode.STORAGE_FAILED, ReasonCode.KILLED, ReasonCode.INTERNAL)


class Stage(str, enum.Enum):
    """The step of a model's work in which a problem occurred."""

    DISCOVER = "discover"
    LOAD = "load"
    EXPORT = "export"
    CONVERT = "convert"
    SAMPLES = "samples"
    REFERENCE = "reference"
    EVALUATE = "evaluate"
    JUDGE = "judge"
    PUBLISH = "publish"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reason:
    """Why something is not blessed: a stable code, the stage in which the problem occurred, and a sentence for people."""

    code: ReasonCode
    stage: Stage
    message: str


def nearest_name(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that is spelled most like `name`, or None if none is similar."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message on an unknown name: " (did you mean X?)", or "" if no known name is similar."""
    nearest = nearest_name(name, known)
    return "" if nearest is None else f" (did you mean {nearest}?)"


class LiteFerryError(Exception):
    """Base of every error that LiteFerry raises on purpose."""


# A hostile or generated job file may have any number of problems, and each may be as long as the file.
_MOST_SHOWN, _MOST_CHARS = 100, 2000


def _cut(sentence: str) -> str:
    """Beginning and end of a very long sentence: the key stands first, the fix last."""
    half = _MOST_CHARS // 2
    return sentence if len(sentence) <= _MOST_CHARS else f"{sentence[:half]} ... {sentence[-half:]}"


class JobError(LiteFerryError):
    """The job file or the flags cannot be used. `problems` holds all problems, each a sentence that starts with its key."""

    def __init__(self, problems: Sequence[str], *, source: str = "job") -> None:
        self.problems = tuple(problems)
        self.source = source
        count = len(self.problems)
        heading = f"{source}: {count:,} problem{'s' if count != 1 else ''}"
        shown = [f"  {_cut(problem)}" for problem in self.problems[:_MOST_SHOWN]]
        more = [f"  and {count - _MOST_SHOWN:,} more"] if count > _MOST_SHOWN else []
        super().__init__("\n".join([heading, *shown, *more]))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_job_error, (self.problems, self.source)


def _restore_job_error(problems: Sequence[str], source: str) -> JobError:
    return JobError(problems, source=source)


class StorageError(LiteFerryError):
    """A path that cannot be read, written or published."""


class RunnerError(LiteFerryError):
    """The runner refused the job, or ended it early; finished models are kept."""


class WorkerLostError(RunnerError):
    """A worker process on this machine has died, and the run with it."""


class LostJobError(RunnerError):
    """The engine that has the job does not answer any more; the job may still be running."""


class TerminatedInterrupt(KeyboardInterrupt):  # no error: somebody asked the process to end
    """A SIGTERM, where it ends the wait for a job elsewhere as Ctrl-C does."""


class ModelError(LiteFerryError):
    """Ends the work on one model and becomes its report. It never ends a run."""

    def __init__(self, code: ReasonCode, stage: Stage, message: str) -> None:
        self.reason = Reason(code=code, stage=stage, message=message)
        super().__init__(f"{code.value} while in {stage.value}: {message}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._restore, (self.reason,)

    @classmethod
    def _restore(cls, reason: Reason) -> ModelError:
        return ModelError(reason.code, reason.stage, reason.message)


class SamplesError(ModelError):
    """Sample data that cannot serve a model: missing, empty, unreadable, or of another shape or dtype than its signature."""

    def __init__(self, code: ReasonCode, message: str) -> None:
        super().__init__(code, Stage.SAMPLES, message)

    @classmethod
    def _restore(cls, reason: Reason) -> SamplesError:
        return SamplesError(reason.code, reason.message)


def reason_for(error: BaseException, stage: Stage) -> Reason:
    """Any exception as a Reason: its own if it has one, STORAGE_FAILED for storage, else INTERNAL with its type and text."""
    if isinstance(error, ModelError):
        return error.reason
    if isinstance(error, StorageError | OSError):
        return Reason(code=ReasonCode.STORAGE_FAILED, stage=stage, message=str(error))
    return Reason(
        code=ReasonCode.INTERNAL,
        stage=stage,
        message=f"{type(error).__name__}: {error}; this is a bug in LiteFerry; please report it",
    )
