"""The process that parses strangers' files: it may die at any request, and sees and touches nothing of its caller's."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from liteferry.commands.inspect import contained
from liteferry.errors import ModelError, ReasonCode
from liteferry.sandbox import reader
from liteferry.sandbox.reader import NoAnswer
from tests.sandbox import reader_units


def ask(*requests: dict[str, Any], seconds: float = 30) -> list[Any]:
    return list(reader.ask(reader_units.answer, requests, readable=[], seconds=seconds))


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


# What a caller is told, here `inspect`; its unit is replaced by one that ends as a crashed parser does, since no file is known
# today that crashes the real one.

ENDS = {
    "abort": (ReasonCode.CRASHED, "SIGABRT"),
    "segfault": (ReasonCode.CRASHED, "SIGSEGV"),
    "hang": (ReasonCode.TIMEOUT, "longer than 2 s"),
    "exit": (ReasonCode.CRASHED, "the library is not there"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_reader_that_dies_is_told(tmp_path: Path, end: str) -> None:
    code, words = ENDS[end]
    place = tmp_path / f"{end}.h5"
    place.write_bytes(b"")
    with pytest.raises(ModelError, match=words) as caught:
        contained.inspect(str(place), seconds=2, unit=reader_units.end_as_the_file_is_called)
    assert caught.value.reason.code is code


def test_the_reader_has_a_limit_of_memory(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"")
    with pytest.raises(ModelError) as caught:
        contained.inspect(str(tmp_path / "a.h5"), unit=reader_units.describe_with_too_much_memory)
    assert caught.value.reason.code is ReasonCode.OUT_OF_MEMORY


def test_the_reader_sees_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (tmp_path / "a.h5").write_bytes(b"")
    facts = contained.inspect(str(tmp_path / "a.h5"), unit=reader_units.environment)
    assert "PATH" in facts
    assert "AWS_SECRET_ACCESS_KEY" not in facts
