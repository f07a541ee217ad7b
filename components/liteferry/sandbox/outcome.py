"""The limits of a unit of work, and its outcome."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from liteferry.errors import Reason, ReasonCode, Stage


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one unit of work: wall clock for each subject that it announces, counted from the announcement (the first
    one from the fork), resident memory of the process and its descendants, and disk space.
    """

    seconds: float
    memory_bytes: int
    disk_bytes: int = 50 * 10**9
    files: int = 100_000


# The code of an unclassified exception, by the stage in which it was raised.
_UNCLASSIFIED = {
    Stage.LOAD: ReasonCode.LOAD_FAILED,
    Stage.EXPORT: ReasonCode.EXPORT_FAILED,
    Stage.CONVERT: ReasonCode.CONVERT_FAILED,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a unit of work failed.

    `code`: None for an unclassified exception; then `traceback` is set. `misread`: a file that was read wrongly may be the
    cause, so a second run may succeed.
    """

    code: ReasonCode | None
    stage: Stage
    message: str
    traceback: str | None = None
    misread: bool = False

    @property
    def reason(self) -> Reason:
        """The failure as the reason of a model; an unclassified exception gets the code of its stage."""
        return Reason(
            code=self.code or _UNCLASSIFIED.get(self.stage, ReasonCode.INTERNAL), stage=self.stage, message=self.message
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The results of one unit of work, and how it ended. `results` were handed over before the end and are valid however it
    ended.

    `error` is None when the function returned. `stage` and `subject` are those that the child announced last. `log`: the
    end of what it printed.
    """

    results: tuple[Any, ...]
    error: Failure | None
    stage: Stage
    subject: str | None
    seconds: float
    peak_memory_bytes: int
    log: str = ""

    @property
    def reason(self) -> Reason | None:
        """Why the unit ended early, or None."""
        return None if self.error is None else self.error.reason

    @property
    def is_killed(self) -> bool:
        """Whether a SIGKILL from outside LiteFerry ended the process or its nursery."""
        return self.error is not None and self.error.code is ReasonCode.KILLED

    @property
    def is_out_of_disk(self) -> bool:
        """Whether it exceeded its disk limit; then its folders cannot be used."""
        return self.error is not None and self.error.code is ReasonCode.OUT_OF_DISK

    @property
    def is_unsafe(self) -> bool:
        """Whether it did what no unit of ours does, such as leaving links in its folders; then no result of it is believed."""
        return self.error is not None and self.error.code is ReasonCode.LOAD_UNSAFE

    @property
    def is_misread(self) -> bool:
        """Whether a file that was read wrongly may have caused the error."""
        return self.error is not None and self.error.misread

    def translated(self, text: Callable[[Any], Any]) -> Outcome:
        """The same outcome with `text` applied to its results and its error's message, to replace local paths by URIs."""
        error = self.error and dataclasses.replace(
            self.error, message=text(self.error.message), traceback=text(self.error.traceback)
        )
        return dataclasses.replace(self, results=text(self.results), error=error, log=text(self.log))
