"""The ladder of a quantised variant: ways to make it, each tried on a few rows; the first one within its gates is used.

The quantizer's own recipe comes first, so a model for which that works gets the same file as without a ladder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from liteferry.errors import ModelError, Reason, ReasonCode, Stage
from liteferry.tflite.trial import Trial, Tried, unheld
from liteferry.types import Attempt


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One way to make a variant. `name`: in the report. `quantizer`: the tool. `is_refinement`: a variation of ways that made a
    file; if those made none, this one would make none either.
    """

    name: str
    quantizer: str
    make: Callable[[], bytes]
    is_refinement: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Climb:
    """The result of the ways that were tried. `content`: the file of the way that held, else of the one that came nearest; None
    if none made a file. `reasons`: of the ways that made none.
    """

    variant: str
    attempts: tuple[Attempt, ...] = ()
    content: bytes | None = None
    quantizer: str | None = None
    holds: bool = False
    margin_db: float = float("-inf")
    reasons: tuple[Reason, ...] = ()

    @property
    def reason(self) -> Reason | None:
        """Why there is no file: the messages of all ways."""
        if self.content is not None or not self.reasons:
            return None
        words = dict.fromkeys(reason.message for reason in self.reasons)
        return dataclasses.replace(self.reasons[0], message="; ".join(words))

    def may_go_on(self) -> bool:
        """Whether another way could help; False if there are no rows to calibrate on."""
        return not self.holds and all(reason.code is ReasonCode.CONVERT_FAILED for reason in self.reasons)


def climb(variant: str, steps: Iterable[Step], trial: Trial | None, *, before: Climb | None = None) -> Climb:
    """Tries ways until one holds.

    Args:
      trial: None if there are no rows: then a file holds if its format is the one that its name claims.
      before: the result of earlier steps.
    """
    found = before or Climb(variant=variant)
    for step in steps:
        if step.is_refinement and found.content is None:
            continue
        try:
            content = step.make()
        except ModelError as error:
            attempt = Attempt(lowering=step.name, error=error.reason)
            found = dataclasses.replace(found, attempts=(*found.attempts, attempt), reasons=(*found.reasons, error.reason))
            if not found.may_go_on():
                return found
            continue
        tried = _tried(variant, content, trial)
        found = _with(found, step, content, tried)
        if found.holds:
            return found
    return found


def _tried(variant: str, content: bytes, trial: Trial | None) -> Tried:
    if trial is not None:
        return trial.of(variant, content)
    return Tried(reason=unheld(variant, content))


def _with(found: Climb, step: Step, content: bytes, tried: Tried) -> Climb:
    attempts = (*found.attempts, Attempt(lowering=step.name, error=tried.reason))
    is_nearer = found.content is None or tried.margin_db > found.margin_db
    if tried.reason is not None and not is_nearer:
        return dataclasses.replace(found, attempts=attempts)
    return dataclasses.replace(
        found,
        attempts=attempts,
        content=content,
        quantizer=step.quantizer,
        holds=tried.reason is None,
        margin_db=tried.margin_db,
    )


def lost(step: str, by: str) -> Attempt:
    """The preliminary entry of a report while a step runs that may abort the process."""
    reason = Reason(code=ReasonCode.CRASHED, stage=Stage.CONVERT, message=f"{by} did not return")
    return Attempt(lowering=step, error=reason)
