"""`WorkPool`: so many calls at once and no more, the urgent first, and what a call raises belongs to its future alone."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable

import pytest

from liteferry.sandbox.pool import WorkPool, available_cores, shared_pool

SOON = 30.0  # seconds a result may take before a test gives up


def blocked_pool(width: int = 1) -> tuple[WorkPool, Callable[[], None]]:
    """A pool whose threads are all busy, and what frees them: what is submitted in between waits in the queue."""
    pool, release, busy = WorkPool(width), threading.Event(), threading.Barrier(width + 1)

    def block() -> None:
        busy.wait(SOON)
        release.wait(SOON)

    for _ in range(width):
        pool.submit(block)
    busy.wait(SOON)
    return pool, release.set


@pytest.mark.parametrize(
    ("priorities", "order"),
    [
        pytest.param([(2,), (0,), (1,)], [1, 2, 0], id="lower goes first"),
        pytest.param([(0,), (0,), (0,)], [0, 1, 2], id="equal ones in order of submission"),
        pytest.param([(1, -10), (0, -1), (1, -99), (0, -5)], [3, 1, 2, 0], id="later numbers break ties"),
        pytest.param([(1,), (), (0,)], [1, 2, 0], id="no priority goes before any"),
        pytest.param([(0, float("inf")), (0, float("-inf"))], [1, 0], id="infinite sizes"),
    ],
)
def test_what_waits_runs_in_order_of_priority(priorities: list[tuple[float, ...]], order: list[int]) -> None:
    pool, release = blocked_pool()
    ran: list[int] = []
    futures = [pool.submit(ran.append, number, priority=priority) for number, priority in enumerate(priorities)]
    release()
    for future in futures:
        future.result(SOON)
    assert ran == order


def test_as_many_calls_run_at_once_as_the_pool_is_wide_and_no_more() -> None:
    pool, width = WorkPool(3), 3
    lock, together = threading.Lock(), threading.Barrier(width)
    running: set[int] = set()
    most = 0

    def call() -> None:
        nonlocal most
        with lock:
            running.add(threading.get_ident())
            most = max(most, len(running))
        together.wait(SOON)  # breaks unless three are here at once
        with lock:
            running.discard(threading.get_ident())

    for future in [pool.submit(call) for _ in range(4 * width)]:
        future.result(SOON)
    assert most == width


@pytest.mark.parametrize("error", [ValueError("one call"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_what_a_call_raises_is_raised_where_its_result_is_asked_for(error: BaseException) -> None:
    pool = WorkPool(1)

    def fail() -> None:
        raise error

    failed, after = pool.submit(fail), pool.submit(lambda: "the thread goes on")
    with pytest.raises(type(error)):
        failed.result(SOON)
    assert after.result(SOON) == "the thread goes on"


def test_arguments_and_keywords_reach_the_call() -> None:
    assert WorkPool(1).submit(dict, [("a", 1)], b=2).result(SOON) == {"a": 1, "b": 2}


def test_a_cancelled_call_does_not_run() -> None:
    pool, release = blocked_pool()
    ran: list[str] = []
    cancelled = pool.submit(ran.append, "cancelled")
    assert cancelled.cancel()
    release()
    pool.submit(ran.append, "next").result(SOON)
    assert ran == ["next"]


def test_the_pool_is_shared_by_all_who_ask_for_its_width() -> None:
    assert shared_pool(1) is shared_pool(1)
    assert shared_pool(1) is not shared_pool(2)
    assert shared_pool(2).width == 2


def test_a_forked_process_gets_a_pool_with_threads() -> None:
    program = """
        import os
        from liteferry.sandbox.pool import shared_pool

        assert shared_pool(1).submit(int, "7").result(30) == 7
        pid = os.fork()
        if pid == 0:
            os._exit(shared_pool(1).submit(int, "7").result(30))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    answer = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert answer.stdout.strip() == "7", answer.stderr


def test_there_is_at_least_one_core() -> None:
    assert available_cores() >= 1
