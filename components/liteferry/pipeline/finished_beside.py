"""Looks at the models of a fleet that may be finished, on several cores: to judge a report again and write its page takes one.

The helpers are processes of their own, since threads would share a core. They are started when the first models were found to be
finished, and end with the launcher.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any

from liteferry import storage
from liteferry.errors import LiteFerryError
from liteferry.output.begin import find_finished, report_of_other
from liteferry.pipeline.run_request import fits_only
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.model_plan import ModelPlan
from liteferry.report.parts import dealing
from liteferry.sandbox.pool import available_cores

Entry = dict[str, Any] | None
Found = list[dealing.Packed | None]
"""The entries of some models, packed, since those of all models of a fleet are in memory; None for one that is left out."""

_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from liteferry.pipeline.finished_beside import main; main()"
_AT_ONCE = 8  # models that a helper is asked about together
_FEWEST = 48  # a helper takes half a second to start
_MOST_HELPERS = 7


def entries_of(plans: Sequence[ModelPlan], only: str | None) -> Found | None:
    """The fleet table's entries of all models, packed; in the list None for one that the run leaves out and that has no report.
    None as soon as there is one with work to do, or one that cannot be looked at from here.
    """
    first, rest = plans[:_AT_ONCE], plans[_AT_ONCE:]
    found = _looked_at(first, only)
    if found is None:
        return None
    helpers = min(_MOST_HELPERS, available_cores() - 1) if len(rest) >= _FEWEST else 0
    more = _Shared(rest, only).looked_at(helpers)
    return None if more is None else [*found, *more]


def _looked_at(plans: Sequence[ModelPlan], only: str | None) -> Found | None:
    entries: Found = []
    try:
        for plan in plans:
            entry = None if storage.is_remote(plan.uri) else _entry(plan, only)
            if entry is None:
                return None
            entries.append(dealing.pack(entry) if entry else None)
    except (LiteFerryError, OSError):
        return None
    return entries


def _entry(plan: ModelPlan, only: str | None) -> Entry:
    """The entry of one model; {} if the run leaves it out and it has no report, None if there is work to do."""
    if not fits_only(plan.model_id, only):
        return report_of_other(plan)[1]
    return find_finished(fingerprint(plan, with_family=False), force=False)[1]


class _Shared:
    """Models that this process and its helpers take from one queue, some at a time."""

    def __init__(self, plans: Sequence[ModelPlan], only: str | None) -> None:
        starts = range(0, len(plans), _AT_ONCE)
        self._left = collections.deque((start, plans[start : start + _AT_ONCE]) for start in starts)
        self._only = only
        self._found: dict[int, Found | None] = {}

    def looked_at(self, helpers: int) -> Found | None:
        threads = [threading.Thread(target=self._be_helped, daemon=True) for _ in range(helpers)]
        for thread in threads:
            thread.start()
        self._work()
        for thread in threads:
            thread.join()
        self._work()  # what a helper gave back when it died
        ordered = [self._found[start] for start in sorted(self._found)]
        return None if None in ordered else [entry for part in ordered if part is not None for entry in part]

    def _take(self) -> tuple[int, Sequence[ModelPlan]] | None:
        with contextlib.suppress(IndexError):
            return self._left.popleft()
        return None

    def _note(self, start: int, found: Found | None) -> None:
        self._found[start] = found
        if found is None:
            self._left.clear()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            self._note(taken[0], _looked_at(taken[1], self._only))

    def _be_helped(self) -> None:
        with _helper() as process:
            while (taken := self._take()) is not None:
                try:
                    answer = _ask(process, (taken[1], self._only))
                except (OSError, EOFError, pickle.PickleError):  # it has died: this process does its share
                    self._left.append(taken)
                    return
                self._note(taken[0], answer)


@contextlib.contextmanager
def _helper() -> Any:
    command = [sys.executable, "-c", _PROGRAM, *map(os.path.abspath, sys.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
            process.kill()


def _ask(process: Any, question: Any) -> Any:
    pickle.dump(question, process.stdin)
    process.stdin.flush()
    return pickle.load(process.stdout)  # noqa: S301  # this package's own process, which reads reports and runs no code of others


def main() -> None:
    """Runs in a helper: answers until there are no more questions."""
    answers: IO[bytes] = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    with contextlib.suppress(EOFError):
        while True:
            plans, only = pickle.load(sys.stdin.buffer)  # noqa: S301  # from the launcher
            pickle.dump(_looked_at(plans, only), answers)
            answers.flush()
