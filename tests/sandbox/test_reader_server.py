"""Readers that are forked from one prepared process: they answer, die and are confined as those that are started alone."""

from __future__ import annotations

import concurrent.futures
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteferry.errors import ReasonCode
from liteferry.sandbox import reader
from liteferry.sandbox.reader import NoAnswer
from tests.sandbox import reader_units

UNITS = "tests.sandbox.reader_units"


def ask(*requests: dict[str, Any], readable: list[str] | None = None, seconds: float = 30) -> list[Any]:
    return list(reader.ask(reader_units.answer, requests, readable=readable or [], seconds=seconds))


def is_forked() -> bool:
    """Whether a reader is started by another process than this one."""
    (seen,) = ask({"do": "look at yourself"})
    return bool(seen["parent"] != os.getpid())


@pytest.fixture
def _prepared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with reader.prepared(UNITS):
        assert is_forked()
        yield
        assert is_forked()  # whatever its readers did


@pytest.mark.usefixtures("_prepared")
@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ("abort", ReasonCode.CRASHED, "SIGABRT"),
        ("segfault", ReasonCode.CRASHED, "SIGSEGV"),
        ("spin", ReasonCode.TIMEOUT, "longer than 1 s"),
        ("exit", ReasonCode.CRASHED, "the library is not there)"),
        ("take memory", ReasonCode.CRASHED, "MemoryError"),
    ],
)
def test_a_forked_reader_that_dies_costs_the_request_it_was_at(end: str, code: ReasonCode, words: str) -> None:
    before, death, after = ask({"do": "print"}, {"do": end}, {"do": "two"}, seconds=1 if code is ReasonCode.TIMEOUT else 30)
    assert (before, after) == ({"do": "print"}, {"do": "two"})
    assert isinstance(death, NoAnswer)
    assert death.code is code
    assert words in death.what


@pytest.mark.usefixtures("_prepared")
def test_forked_readers_work_at_the_same_time() -> None:
    asked = [[{"do": f"{group}: {number}"} for number in range(50)] for group in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda requests: ask(*requests), asked)) == asked


@pytest.mark.usefixtures("_prepared")
def test_a_forked_reader_is_confined_and_holds_nothing_of_its_server(tmp_path: Path) -> None:
    named, other = tmp_path / "named", tmp_path / "other"
    named.write_text("")
    other.write_text("")
    with socket.create_server(("127.0.0.1", 0)) as server:
        seen, itself, wrote, connected, reads_named, reads_other = ask(
            {"do": "look"},
            {"do": "look at yourself"},
            {"do": "write", "place": str(tmp_path / "marker")},
            {"do": "connect", "port": server.getsockname()[1]},
            {"do": "read", "place": str(named)},
            {"do": "read", "place": str(other)},
            readable=[str(named)],
        )
    assert itself["sockets"] == []
    assert "PATH" in seen["environment"]
    assert "AWS_SECRET_ACCESS_KEY" not in seen["environment"]
    assert seen["core"].startswith("(0,")
    assert reads_named["read"]
    if wrote["wrote"]:
        pytest.skip("this kernel confines no files")
    assert not (tmp_path / "marker").exists()
    assert not connected["connected"]
    assert not reads_other["read"]


@pytest.mark.parametrize("module", ["tests.sandbox.no_such_module", "tests.sandbox.starts_a_thread"])
def test_where_no_reader_can_be_forked_each_is_started_alone(module: str) -> None:
    with reader.prepared(module):
        assert not is_forked()


def test_after_its_context_and_before_none_is_forked() -> None:
    with reader.prepared(UNITS):
        with reader.prepared("tests.sandbox.no_such_module"):  # within another one it does nothing
            assert is_forked()
        assert is_forked()
    assert not is_forked()
