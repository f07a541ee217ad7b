"""Logs of the processes that worked on a model: collected beside its work folder, kept as OUT/.logs/<model_id>.log.

A log is for people: no decision and no report depends on it, so write errors are ignored.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.plan.model_plan import ModelPlan
from liteferry.sandbox import Outcome
from liteferry.sandbox.units import Unit, name_of
from liteferry.storage import beneath, layout

MOST_BYTES = 2**20


def note(plans: Sequence[ModelPlan], unit: Unit, outcome: Outcome) -> None:
    """Adds one process's output to the logs of all models that it worked on, since the output does not say which model it is
    about.
    """
    code = outcome.error.code.value if outcome.error and outcome.error.code else "an error"
    ended = "ended" if outcome.error is None else f"ended early ({code})"
    head = f"--- {name_of(unit).rpartition(':')[2]}, {outcome.seconds:.1f} s, {ended}\n"
    words = f"{outcome.log.rstrip()}\n" if outcome.log.strip() else ""
    for plan in plans:
        place = _place(plan)
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(head + words)


def keep(plan: ModelPlan) -> None:
    """Replaces the log of an earlier attempt by this one's; keeps the earlier log if no process was started."""
    with contextlib.suppress(OSError, StorageError):
        with open(_place(plan), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MOST_BYTES))
            text = file.read(MOST_BYTES)
        beneath.write_bytes(plan.out, name(plan.model_id), text)
        os.remove(_place(plan))


def read(out: str, model_id: str) -> str | None:
    """The log of a model; None where there is none. Raises StorageError for a store that does not answer."""
    if not storage.exists(storage.join(out, name(model_id))):
        return None
    return beneath.read_bytes(out, name(model_id), most_bytes=MOST_BYTES).decode(errors="replace")


def name(model_id: str) -> str:
    """The path of a model's log below OUT."""
    return f"{layout.LOGS}/{model_id}.log"


def _place(plan: ModelPlan) -> str:
    return os.path.join(plan.work_root(), "logs", plan.model_id, f"{plan.attempt or '0'}.log")
