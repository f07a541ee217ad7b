"""Runs a unit of work that does several pieces in one process, and waits between them.

Siblings share what one process has built, and each one's result is wanted as soon as it is there. A unit calls `Reporter.wait`
after each piece; the process then does nothing until its caller asks for the next one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
from collections.abc import Iterator
from typing import IO, Any

from liteferry.sandbox import nurseries
from liteferry.sandbox.child import Request
from liteferry.sandbox.client import SandboxSpec, end_of, odd_paths, request_for, supervised, tell, without_odd_entries
from liteferry.sandbox.outcome import Outcome
from liteferry.sandbox.supervision import Supervision
from liteferry.sandbox.units import Unit


class Session:
    """One process, and what it has been asked to do. `is_waiting`: whether it can be asked for another piece."""

    def __init__(self, request: Request, spec: SandboxSpec) -> None:
        self._request, self._spec = request, spec
        self._odd_before = odd_paths(request.writable)
        self._process = contextlib.ExitStack()
        self._supervision: Supervision | None = None
        self._log: IO[bytes] | None = None
        self._log_read = 0
        self._items = 0
        self._seconds = 0.0

    @property
    def is_waiting(self) -> bool:
        return self._supervision is not None and self._supervision.is_waiting

    def next(self, item: Any = None) -> Outcome:
        """Has one piece done and returns its outcome: results, log and seconds of this piece alone. The first call starts the
        process; each later one sends it `item`, which must be picklable. An outcome with an error is the last one.
        """
        if self._supervision is None:
            self._start()
        else:
            self._supervision.go_on("" if item is None else self._written(item))
            self._supervision.listen()
        return self._outcome()

    def _start(self) -> None:
        nursery = nurseries.nursery(self._spec.flavor)
        self._begin(nursery)
        if not self._has_begun() and not nursery.is_closed:  # the nursery died with the request: a new one gets it, once
            self.close()
            nursery.settle()
            self._begin(nurseries.nursery(self._spec.flavor))

    def _begin(self, nursery: nurseries.Nursery) -> None:
        begun = supervised(self._request, nursery, self._spec.limits)
        self._supervision, self._log = self._process.enter_context(begun)
        self._supervision.start()
        self._supervision.listen()

    def _has_begun(self) -> bool:
        return self._supervision is not None and self._supervision.has_begun

    def _written(self, item: Any) -> str:
        """The path of a file with the item, in the child's scratch folder, where nothing may have this name yet."""
        assert self._log is not None
        self._items += 1
        path = os.path.join(os.path.dirname(str(self._log.name)), f".item-{self._items}")
        with open(path, "xb") as file:
            pickle.dump(item, file)
        return path

    def _outcome(self) -> Outcome:
        assert self._supervision is not None and self._log is not None
        whole = self._supervision.outcome()
        seconds, self._seconds = whole.seconds - self._seconds, whole.seconds
        piece = dataclasses.replace(whole, seconds=seconds, log=end_of(self._log, since=self._log_read))
        self._log_read = os.fstat(self._log.fileno()).st_size
        tell(self._request, piece)
        return without_odd_entries(piece, self._request.writable, self._odd_before)

    def close(self) -> None:
        """Ends the process."""
        if self._supervision is not None:
            self._supervision.close()
        self._process.close()


@contextlib.contextmanager
def session(unit: Unit, argument: Any, spec: SandboxSpec) -> Iterator[Session]:
    """A process for `unit(argument, reporter)` that does its pieces when they are asked for; it starts with the first one, and
    ends with the context. Nothing is run a second time. ValueError where no child could import the unit.
    """
    one = Session(request_for(unit, argument, spec), spec)
    try:
        yield one
    finally:
        one.close()
