"""What docs/orchestration.md shows for cron and systemd is what they take, and what `liteferry` takes."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from liteferry.cli import build_parser

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "orchestration.md").read_text(encoding="utf-8")
CRON_FIELDS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}


def block(words: str) -> str:
    (text,) = re.findall(rf"^```{words}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(text)


def is_cron_field(field: str, low: int, high: int) -> bool:
    """A number, a range, a step, a list of them, or `*`; crontab(5)."""
    for part in field.split(","):
        match = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", part)
        if not match or any(not low <= int(number) <= high for number in match.groups()[:2] if number):
            return False
    return True


def units() -> dict[str, str]:
    """File name -> text: each begins with a comment that names it."""
    parts = re.split(r"^# (liteferry\.\w+)\n", block("ini"), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def check_command(words: list[str]) -> None:
    assert Path(words[0]).name == "liteferry"
    _, unknown = build_parser().parse_known_args(words[1:])
    assert unknown == []


@pytest.mark.parametrize(("field", "limits", "is_one"), [
    ("3", "hour", True), ("*/5", "minute", True), ("1-5", "weekday", True), ("0,30", "minute", True),
    ("24", "hour", False), ("0", "day", False), ("x", "month", False), ("", "hour", False),
])  # fmt: skip
def test_cron_fields_are_told_apart(field: str, limits: str, is_one: bool) -> None:
    assert is_cron_field(field, *CRON_FIELDS[limits]) is is_one


def test_cron_line() -> None:
    (line,) = block("cron").splitlines()
    *fields, command = line.split(maxsplit=5)
    for (name, limits), field in zip(CRON_FIELDS.items(), fields, strict=True):
        assert is_cron_field(field, *limits), f"{name}: {field}"
    assert "%" not in command, "cron ends the command there"
    words = shlex.split(command)
    run = words[words.index("&&") + 1 : words.index("||")]
    check_command(run)
    checked = subprocess.run(["sh", "-n", "-c", command], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_systemd_units(tmp_path: Path) -> None:
    found = units()
    assert found.keys() == {"liteferry.service", "liteferry.timer"}
    service = configparser.ConfigParser(interpolation=None)
    service.read_string(found["liteferry.service"])
    assert service["Service"]["SuccessExitStatus"] == "1"
    command = shlex.split(service["Service"]["ExecStart"])
    check_command(command)
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here; the units were parsed")
    for name, text in found.items():
        here = text.replace(command[0], sys.executable).replace(service["Service"]["WorkingDirectory"], str(tmp_path))
        (tmp_path / name).write_text(here)
    verify = ["systemd-analyze", "verify", *(str(tmp_path / name) for name in found)]
    said = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, ""), said.stderr
    (tmp_path / "liteferry.timer").write_text(found["liteferry.timer"].replace("03:00", "25:00"))
    assert subprocess.run(verify, capture_output=True, check=False).returncode != 0, "it cannot tell"
