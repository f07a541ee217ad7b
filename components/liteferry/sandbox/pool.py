"""A pool that keeps every core busy with sandboxed work: threads that each wait for one child process."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import queue
import threading
from collections.abc import Callable
from typing import Any


class WorkPool:
    """Runs functions on `width` threads, the most urgent first.

    Unlike the pool of concurrent.futures it has priorities: a model that is half done goes before one that has not begun, and big
    ones go before small ones, so that reports come early and no core idles at the end.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._queue: queue.PriorityQueue[tuple[tuple[float, ...], int, Callable[[], None]]] = queue.PriorityQueue()
        self._order = itertools.count()
        for number in range(width):
            threading.Thread(target=self._work, name=f"liteferry-worker-{number}", daemon=True).start()

    def submit(
        self, function: Callable[..., Any], *arguments: Any, priority: tuple[float, ...] = (), **keywords: Any
    ) -> concurrent.futures.Future[Any]:
        """Queues a call; lower priority tuples run first, equal ones in order of submission."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function(*arguments, **keywords))
            except BaseException as error:  # noqa: BLE001  # raised again when the result is read
                future.set_exception(error)

        self._queue.put((priority, next(self._order), call))
        return future

    def _work(self) -> None:
        while True:
            _, _, call = self._queue.get()
            call()


_pools: dict[int, WorkPool] = {}
_lock = threading.Lock()


def shared_pool(width: int) -> WorkPool:
    """The pool of this process; every stage of a pipeline uses the same one, so that together they never run more than
    `width` children.
    """
    with _lock:
        if width not in _pools:
            _pools[width] = WorkPool(width)
        return _pools[width]


_waiting_pools: dict[int, WorkPool] = {}


def waiting_pool(width: int) -> WorkPool:
    """This process's pool for work that waits for storage and needs no core."""
    with _lock:
        if width not in _waiting_pools:
            _waiting_pools[width] = WorkPool(width)
        return _waiting_pools[width]


def _forget_pools() -> None:
    _pools.clear()
    _waiting_pools.clear()
    _lock.release()


# A forked process inherits the pools but not their threads: it makes its own.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forget_pools)


def available_cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
