"""The process that parses strangers' files: it may die at any request, and sees and touches nothing of its caller's."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from liteferry import reader_process
from liteferry.errors import ReasonCode
from liteferry.reader_process import NoAnswer

UNIT = "tests.sandbox.reader_units:answer"


def ask(*requests: dict[str, Any], seconds: float = 30) -> list[Any]:
    return list(reader_process.ask(UNIT, requests, readable=[], seconds=seconds))


def test_answers_come_in_order_whatever_is_printed() -> None:
    names = [f"file {number}" for number in range(300)]
    assert ask(*({"do": name} for name in names[:150]), {"do": "print"}, *({"do": name} for name in names[150:])) == [
        {"do": name} for name in (*names[:150], "print", *names[150:])
    ]
    assert ask() == []


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ("abort", ReasonCode.CRASHED, "SIGABRT"),
        ("segfault", ReasonCode.CRASHED, "SIGSEGV"),
        ("hang", ReasonCode.TIMEOUT, "longer than 2 s"),
        ("spin", ReasonCode.TIMEOUT, "longer than 2 s"),
        ("exit", ReasonCode.CRASHED, "the library is not there"),
        ("take memory", ReasonCode.CRASHED, "MemoryError"),
    ],
)
def test_a_reader_that_dies_costs_the_request_it_was_at(end: str, code: ReasonCode, words: str) -> None:
    before, death, after = ask({"do": "one"}, {"do": end}, {"do": "two"}, seconds=2 if code is ReasonCode.TIMEOUT else 30)
    assert (before, after) == ({"do": "one"}, {"do": "two"})
    assert isinstance(death, NoAnswer)
    assert death.code is code
    assert words in death.what


def test_a_reader_has_no_credentials_and_leaves_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/secret.json")
    (seen,) = ask({"do": "look"})
    assert not {"AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS"} & seen["environment"].keys()
    assert seen["core"].startswith("(0,")


def test_a_reader_writes_nothing_outside_and_reaches_nobody(tmp_path: Path) -> None:
    """Where the kernel has Landlock; the process boundary is what holds elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        wrote, connected = ask(
            {"do": "write", "place": str(tmp_path / "marker")}, {"do": "connect", "port": server.getsockname()[1]}
        )
    if wrote["wrote"]:
        pytest.skip("this kernel confines no files")
    assert not (tmp_path / "marker").exists()
    assert not connected["connected"]
