"""What a unit of work may use, and what came of it."""

from __future__ import annotations

import dataclasses
from typing import Any

from liteferry.errors import ReasonCode, Stage


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What one unit of work may use: wall clock for each subject it announces, from the announcement (the first from its
    birth), resident memory of the process and its descendants, and of the disk.
    """

    seconds: float
    memory_bytes: int
    disk_bytes: int = 50 * 10**9
    files: int = 100_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one unit of work. `results` were handed over before the end and stand, whatever the end was.

    `error` is None when the function returned; else {code: ReasonCode value or None, stage, message, traceback?}. `stage` and
    `subject` are what the child announced last.
    """

    results: tuple[Any, ...]
    error: dict[str, Any] | None
    stage: Stage
    subject: str | None
    seconds: float
    peak_memory_bytes: int

    @property
    def is_killed(self) -> bool:
        """Whether a SIGKILL that nobody here sent ended the process, or the nursery it came from."""
        return self.error is not None and self.error["code"] == ReasonCode.KILLED.value

    @property
    def is_out_of_disk(self) -> bool:
        """Whether it wrote more than it may: what it has left in its folders is nothing to go on with."""
        return self.error is not None and self.error["code"] == ReasonCode.OUT_OF_DISK.value

    @property
    def is_misread(self) -> bool:
        """Whether a file that was read wrongly may have led to the error."""
        return self.error is not None and self.error.get("misread") is True
