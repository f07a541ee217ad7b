"""Units of the evaluation that die at a planted place, each time they are tried; `test_lost_measurements.py` has them run."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any, NoReturn

from liteferry.evaluation import kernel_noise, latency, measure
from liteferry.evaluation.results import EvaluationTask
from liteferry.sandbox import Reporter


def _is_killed(*_: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def _aborts(*_: Any) -> NoReturn:
    os.abort()


def _replace(module: Any, name: str, end: Any) -> None:
    setattr(module, name, end)  # in this process only: it is a fork


def in_turn_killed_at_kernels(first: EvaluationTask, reporter: Reporter) -> None:
    _replace(kernel_noise, "of_float32_file", _is_killed)
    measure.run_candidates_in_turn(first, reporter)


def leaves_a_link(task: EvaluationTask, reporter: Reporter) -> None:
    """Does not die; every answer is out when the link is made."""
    measure.run_candidates(task, reporter)
    os.symlink("/etc/hostname", os.path.join(task.plan.staging_directory(), "notes.txt"))


def siblings_leave_a_link(first: EvaluationTask, reporter: Reporter) -> None:
    os.symlink("/etc/hostname", os.path.join(first.plan.staging_directory(), "notes.txt"))
    measure.run_candidates_in_turn(first, reporter)


def in_turn_killed_at_costs(first: EvaluationTask, reporter: Reporter) -> None:
    _replace(latency, "measure", _is_killed)
    measure.run_candidates_in_turn(first, reporter)


def alone_killed_at_kernels(task: EvaluationTask, reporter: Reporter) -> None:
    _replace(kernel_noise, "of_float32_file", _is_killed)
    measure.run_candidates(task, reporter)


def alone_aborts_at_kernels(task: EvaluationTask, reporter: Reporter) -> None:
    _replace(kernel_noise, "of_float32_file", _aborts)
    measure.run_candidates(task, reporter)


def alone_aborts_at_costs(task: EvaluationTask, reporter: Reporter) -> None:
    _replace(latency, "measure", _aborts)
    measure.run_candidates(task, reporter)


def kernels_are_killed(*_: Any) -> None:
    _is_killed()


def kernels_meet_a_full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def kernels_abort(*_: Any) -> None:
    _aborts()
