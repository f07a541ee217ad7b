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
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from liteferry.errors import Reason, Stage, reason_for
from liteferry.sandbox.pool import WorkPool, available_cores, shared_pool, waiting_pool

_WAITING_AT_ONCE = 8

Future = concurrent.futures.Future[Any]
HandOver = Callable[[Any], None]


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

    def start_in_turn(self, element: Any, pool: WorkPool, hand_over: HandOver) -> Sequence[Future]:
        """`start` for elements of which some outputs are there before the others: the calls `hand_over` each of these outputs."""
        return self.start(element, pool)

    def finish(self, element: Any, results: list[Any]) -> list[Any]:
        raise NotImplementedError

    def recover(self, element: Any, reason: Reason) -> list[Any]:
        raise NotImplementedError

    def left_of(self, element: Any, handed_over: Sequence[Any]) -> Any:
        """The part of an element whose outputs were not handed over before its calls ended."""
        return element

    def setup(self) -> None:
        self._pool = shared_pool(self.width or available_cores())

    def start_bundle(self) -> None:
        self._waiting_for = 0
        self._ended: queue.SimpleQueue[_Entry | _Output] = queue.SimpleQueue()

    def process(self, element: Any) -> Iterator[Any]:
        entry = _Entry(element, self._ended)
        try:
            futures = self.start_in_turn(element, self._pool, entry.hand_over)
        except Exception as error:  # noqa: BLE001  # as in `_next`
            yield from self.recover(element, reason_for(error, self.stage))
            return
        self._waiting_for += 1
        entry.wait_for(futures)
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
        if isinstance(entry, _Output):
            return [entry.value]
        self._waiting_for -= 1
        element = self.left_of(entry.element, entry.handed_over)
        try:
            return self.finish(element, [future.result() for future in entry.futures])
        # Here and in `process` alone: an unforeseen error of a stage becomes one model's INTERNAL report and never ends the run.
        except Exception as error:  # noqa: BLE001
            return self.recover(element, reason_for(error, self.stage))


class WaitingDoFn(PooledDoFn):
    """For calls that wait for storage and need no core: they run on a pool of their own, many at once."""

    def __init__(self) -> None:
        super().__init__(width=_WAITING_AT_ONCE)

    def setup(self) -> None:
        self._pool = waiting_pool(_WAITING_AT_ONCE)


@dataclasses.dataclass(frozen=True)
class _Output:
    """An output of an element whose calls go on."""

    value: Any


class _Entry:
    """An element and its calls. Puts each output that they hand over into `ended`, and itself when all calls have ended."""

    def __init__(self, element: Any, ended: queue.SimpleQueue[_Entry | _Output]) -> None:
        self.element = element
        self.futures: Sequence[Future] = ()
        self.handed_over: list[Any] = []
        self._ended = ended
        self._missing = 0
        self._lock = threading.Lock()

    def hand_over(self, output: Any) -> None:
        """Called by the element's calls, on their own threads."""
        self.handed_over.append(output)
        self._ended.put(_Output(output))

    def wait_for(self, futures: Sequence[Future]) -> None:
        """`futures`: the element's calls."""
        self.futures, self._missing = futures, len(futures)
        if not futures:
            self._ended.put(self)
        for future in futures:
            future.add_done_callback(self._one_more)

    def _one_more(self, _: Future) -> None:
        with self._lock:
            self._missing -= 1
            if self._missing:
                return
        self._ended.put(self)
