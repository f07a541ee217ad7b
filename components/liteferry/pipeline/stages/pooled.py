"""A DoFn that submits its elements to this process's pool of sandboxes and passes results on as they arrive.

Local runners distribute elements once and run a bundle in one thread. Here all elements of a bundle are submitted at once, so
every core is busy on any runner, and each result goes down the fused stages as soon as it is there: the first report appears
while the last model waits.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from liteferry.errors import Reason, Stage, reason_for
from liteferry.sandbox.pool import WorkPool, available_cores, shared_pool, waiting_pool

_WAITING_AT_ONCE = 8

Future = concurrent.futures.Future[Any]


@dataclasses.dataclass
class PooledDoFn(beam.DoFn):
    """Subclasses say how an element becomes calls (`start`), how their results become outputs (`finish`), and which outputs
    replace an element whose calls raised (`recover`): no model is lost.

    `width`: how many calls run at once in this process; None for one for each core of its machine.
    """

    width: int | None

    stage = Stage.EXPORT

    def start(self, element: Any, pool: WorkPool) -> Sequence[Future]:
        raise NotImplementedError

    def finish(self, element: Any, results: list[Any]) -> list[Any]:
        raise NotImplementedError

    def recover(self, element: Any, reason: Reason) -> list[Any]:
        raise NotImplementedError

    def setup(self) -> None:
        self._pool = shared_pool(self.width or available_cores())

    def start_bundle(self) -> None:
        self._waiting_for = 0
        self._ended: queue.SimpleQueue[_Entry] = queue.SimpleQueue()

    def process(self, element: Any) -> Iterator[Any]:
        try:
            entry = _Entry(element, self.start(element, self._pool))
        except Exception as error:  # noqa: BLE001  # as in `_next`
            yield from self.recover(element, reason_for(error, self.stage))
            return
        self._waiting_for += 1
        entry.when_ended(self._ended)
        while not self._ended.empty():
            yield from self._next()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        while self._waiting_for:
            for output in self._next():
                yield WindowedValue(output, MIN_TIMESTAMP, (GlobalWindow(),))
        self.ended()

    def ended(self) -> None:
        """Called after a bundle's last output."""

    def _next(self) -> list[Any]:
        entry = self._ended.get()
        self._waiting_for -= 1
        try:
            return self.finish(entry.element, [future.result() for future in entry.futures])
        # Here and in `process` alone: an unforeseen error of a stage becomes one model's INTERNAL report and never ends the run.
        except Exception as error:  # noqa: BLE001
            return self.recover(entry.element, reason_for(error, self.stage))


class WaitingDoFn(PooledDoFn):
    """For calls that wait for storage and need no core: they run on a pool of their own, many at once."""

    def __init__(self) -> None:
        super().__init__(width=_WAITING_AT_ONCE)

    def setup(self) -> None:
        self._pool = waiting_pool(_WAITING_AT_ONCE)


class _Entry:
    """An element and its calls."""

    def __init__(self, element: Any, futures: Sequence[Future]) -> None:
        self.element = element
        self.futures = futures
        self._missing = len(futures)
        self._lock = threading.Lock()

    def when_ended(self, ended: queue.SimpleQueue[_Entry]) -> None:
        """Puts itself into `ended` when all of its calls have ended."""

        def one_more(_: Future) -> None:
            with self._lock:
                self._missing -= 1
                if self._missing:
                    return
            ended.put(self)

        if not self.futures:
            ended.put(self)
        for future in self.futures:
            future.add_done_callback(one_more)
