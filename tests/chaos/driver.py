"""The real command with one planted fault: `python -m tests.chaos.driver FAULT NUMBER run ...`.

A fault changes one function of the storage door (or the clock) in the launching process; everything else is as users have it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from liteferry import cli, storage
from liteferry.errors import StorageError
from liteferry.report import fleet


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wrap(module: Any, name: str, before: Callable[..., None] | None = None, after: Callable[..., None] | None = None) -> None:
    real = getattr(module, name)

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        if before is not None:
            before(*arguments)
        result = real(*arguments, **keywords)
        if after is not None:
            after(*arguments)
        return result

    setattr(module, name, wrapped)


def _at(number: int, matches: Callable[[str], bool], then: Callable[[], None]) -> Callable[..., None]:
    """Does `then` the `number`th time that a path matches."""
    seen = 0

    def look(uri: str, *_: Any) -> None:
        nonlocal seen
        if matches(uri):
            seen += 1
            if seen == number:
                then()

    return look


def _fail(uri: str) -> Callable[[], None]:
    def fail() -> None:
        raise StorageError(f"{uri}: planted fault")

    return fail


def kill_before_report(number: int) -> None:
    _wrap(storage, "write_bytes", before=_at(number, lambda uri: uri.endswith("report.json"), _die))


def kill_between_report_and_marker(number: int) -> None:
    _wrap(storage, "write_bytes", before=_at(number, lambda uri: uri.endswith("BLESSED"), _die))


def kill_before_publishing(number: int) -> None:
    _wrap(storage, "publish_directory", before=_at(number, lambda _: True, _die))


def kill_after_publishing(number: int) -> None:
    _wrap(storage, "publish_directory", after=_at(number, lambda _: True, _die))


def kill_before_the_fleet_table(_: int) -> None:
    _wrap(fleet, "fleet_facts", before=lambda *_: _die())


def kill_within_the_fleet_table(number: int) -> None:
    names = ("fleet.json", "fleet.parquet", "index.html")
    _wrap(storage, "write_bytes", after=_at(1, lambda uri: os.path.basename(uri) == names[number % 3], _die))


def a_write_fails(number: int) -> None:
    _wrap(storage, "write_bytes", before=_at(number, lambda uri: "/models/" in uri, _fail("a write")))


def a_publication_fails(number: int) -> None:
    _wrap(storage, "publish_directory", before=_at(number, lambda _: True, _fail("a publication")))


def a_read_fails_once(number: int) -> None:
    _wrap(storage, "digest", before=_at(number, lambda uri: uri.endswith(".keras"), _fail("a read")))


def the_clock_jumps(_: int) -> None:
    real, calls = time.time, 0

    def jumping() -> float:
        nonlocal calls
        calls += 1
        return real() + 86_400 * (-1) ** calls

    time.time = jumping


FAULTS = {
    function.__name__: function
    for function in (
        kill_before_report,
        kill_between_report_and_marker,
        kill_before_publishing,
        kill_after_publishing,
        kill_before_the_fleet_table,
        kill_within_the_fleet_table,
        a_write_fails,
        a_publication_fails,
        a_read_fails_once,
        the_clock_jumps,
    )
}

if __name__ == "__main__":
    FAULTS[sys.argv[1]](int(sys.argv[2]))
    sys.exit(cli.main(sys.argv[3:]))
