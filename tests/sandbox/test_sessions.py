"""`sandbox.session`: one process does several pieces of work, each when it is asked for, and its death costs one piece."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from liteferry import sandbox
from liteferry.errors import ReasonCode
from liteferry.sandbox import Flavor, Limits, SandboxSpec, Session
from tests.sandbox import sandbox_units
from tests.support.units import run_unit

SPEC = SandboxSpec(flavor=Flavor.CLEAN, limits=Limits(seconds=60, memory_bytes=16 * 10**9))


@pytest.fixture
def session() -> Iterator[Session]:
    with sandbox.session(sandbox_units.in_pieces, "first", SPEC) as session:
        yield session


def test_each_piece_is_done_by_one_process_and_has_an_outcome_of_its_own(session: Session) -> None:
    outcomes = [session.next(), session.next("second"), session.next({"third": [1.5]})]
    assert [outcome.error for outcome in outcomes] == [None, None, None]
    assert [outcome.results[0][0] for outcome in outcomes] == ["first", "second", {"third": [1.5]}]
    assert len({outcome.results[0][1] for outcome in outcomes}) == 1
    assert [outcome.log for outcome in outcomes] == ["about first", "about second", "about {'third': [1.5]}"]
    assert session.is_waiting


def test_a_process_that_dies_costs_the_piece_at_work(session: Session) -> None:
    assert session.next().results
    died = session.next("abort")
    assert died.results == ()
    assert died.error is not None and died.error.code is ReasonCode.CRASHED and "SIGABRT" in died.error.message
    assert "about abort" in died.log and "about first" not in died.log
    assert not session.is_waiting


def test_a_process_that_dies_while_it_waits_keeps_what_it_handed_over(session: Session) -> None:
    (handed_over,) = session.next().results
    os.kill(handed_over[1], signal.SIGKILL)
    assert handed_over[0] == "first"
    lost = session.next("never begun")
    assert (lost.results, lost.is_killed, session.is_waiting) == ((), True, False)


def test_a_name_that_the_process_has_taken_is_not_written_through(session: Session) -> None:
    session.next()
    session.next("take the next name")
    with pytest.raises(FileExistsError):
        session.next("third")


def test_the_process_ends_with_the_session() -> None:
    with sandbox.session(sandbox_units.in_pieces, "first", SPEC) as session:
        (first,) = session.next().results
        assert psutil.pid_exists(first[1])
    assert not psutil.pid_exists(first[1])


def test_a_session_that_was_never_asked_starts_no_process() -> None:
    with sandbox.session(sandbox_units.in_pieces, "first", SPEC) as session:
        assert not session.is_waiting


def test_a_unit_that_waits_goes_on_at_once_where_nobody_asks() -> None:
    outcome = run_unit("tests.sandbox.sandbox_units:waits_for_nobody", flavor=SPEC.flavor, limits=SPEC.limits)
    assert (outcome.results, outcome.error) == ((0, 1, 2), None)
