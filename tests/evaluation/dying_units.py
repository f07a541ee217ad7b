"""Units of the evaluation that die at a planted place, each time they are tried; `test_lost_measurements.py` has them run."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from liteferry.evaluation import latency, measure
from liteferry.evaluation.results import EvaluationTask
from liteferry.parity import noise
from liteferry.sandbox import Reporter


def _is_killed(*_: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def _aborts(*_: Any) -> NoReturn:
    os.abort()


def _in_turn_until(module: Any, name: str, end: Callable[..., Any]) -> Callable[[Sequence[EvaluationTask], Reporter], None]:
    def unit(tasks: Sequence[EvaluationTask], reporter: Reporter) -> None:
        setattr(module, name, end)  # of this process only: it is a fork
        measure.run_candidates_in_turn(tasks, reporter)

    return unit


def _alone_until(module: Any, name: str, end: Callable[..., Any]) -> Callable[[EvaluationTask, Reporter], None]:
    def unit(task: EvaluationTask, reporter: Reporter) -> None:
        setattr(module, name, end)
        measure.run_candidates(task, reporter)

    return unit


in_turn_killed_at_kernels = _in_turn_until(noise, "of_float32_file", _is_killed)
in_turn_killed_at_costs = _in_turn_until(latency, "measure", _is_killed)
alone_killed_at_kernels = _alone_until(noise, "of_float32_file", _is_killed)
alone_aborts_at_kernels = _alone_until(noise, "of_float32_file", _aborts)
alone_aborts_at_costs = _alone_until(latency, "measure", _aborts)


def kernels_are_killed(*_: Any) -> None:
    _is_killed()


def kernels_meet_a_full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def kernels_abort(*_: Any) -> None:
    _aborts()
