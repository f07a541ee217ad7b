"""A DoFn that hands its elements to this process's pool of sandboxes and passes results on as they come.

Local runners deal elements out once and run a bundle in one thread. Here a bundle's elements are all submitted at once, so every core is busy
on any runner, and each result flows down the fused stages the moment it is there: the first report appears while the last model waits.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from liteferry.errors import Reason, Stage, reason_for
from liteferry.workers import WorkPool, shared_pool

Future = concurrent.futures.Future[Any]


@dataclasses.dataclass
class PooledDoFn(beam.DoFn):
    """Subclasses say how an element becomes calls (`start`), how their results become an output (`finish`), and what stands for an element
    whose calls raised (`recover`): every element in gives exactly one out."""

    width: int

    stage = Stage.EXPORT

    def start(self, element: Any, pool: WorkPool) -> Sequence[Future]:
        raise NotImplementedError

    def finish(self, element: Any, results: list[Any]) -> Any:
        raise NotImplementedError

    def recover(self, element: Any, reason: Reason) -> Any:
        raise NotImplementedError

    def setup(self) -> None:
        self._pool = shared_pool(self.width)

    def start_bundle(self) -> None:
        self._pending: list[tuple[Any, Sequence[Future]]] = []

    def process(self, element: Any) -> Iterator[Any]:
        self._pending.append((element, self.start(element, self._pool)))
        yield from self._finished()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        while self._pending:
            running = [future for _, futures in self._pending for future in futures if not future.done()]
            if running and not self._any_finished():
                concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for output in self._finished():
                yield WindowedValue(output, MIN_TIMESTAMP, (GlobalWindow(),))

    def _any_finished(self) -> bool:
        return any(all(future.done() for future in futures) for _, futures in self._pending)

    def _finished(self) -> Iterator[Any]:
        done = [entry for entry in self._pending if all(future.done() for future in entry[1])]
        self._pending = [entry for entry in self._pending if entry not in done]
        for element, futures in done:
            yield self._outcome(element, futures)

    def _outcome(self, element: Any, futures: Sequence[Future]) -> Any:
        try:
            return self.finish(element, [future.result() for future in futures])
        except Exception as error:  # the one place: what a stage did not foresee is one model's INTERNAL report, never the run's end
            return self.recover(element, reason_for(error, self.stage))
