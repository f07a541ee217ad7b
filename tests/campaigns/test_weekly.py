"""`make weekly` and `make nightly`: what has ended is not run again, what has not is, and the times are told."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The rules of the real Makefile, with campaigns that leave a line and of which one fails as long as a file is not there.
CAMPAIGNS = """
VENV_PYTHON := {python}
.venv/.installed: ;
first: ; @echo first >> ran
second: ; @echo second >> ran; test -e well
third: ; @echo third >> ran
"""


def rules() -> str:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (weekly,) = re.findall(r"^WEEKLY := .*?(?=^\.PHONY: (?!weekly))", text, flags=re.MULTILINE | re.DOTALL)
    return str(weekly)


def weekly(folder: Path) -> int:
    command = ["make", "weekly", "CAMPAIGNS=first second third", f"ROOT={ROOT}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60).returncode


def test_it_goes_on_where_it_stopped_and_writes_the_dates(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(CAMPAIGNS.format(python=f"PYTHONPATH={ROOT} {sys.executable}") + rules())
    (tmp_path / "docs").mkdir()
    page = Path(shutil.copy(ROOT / "docs" / "contributing.md", tmp_path / "docs"))
    assert weekly(tmp_path) != 0
    assert (tmp_path / "ran").read_text().split() == ["first", "second"]
    (tmp_path / "well").touch()
    assert weekly(tmp_path) == 0
    assert (tmp_path / "ran").read_text().split() == ["first", "second", "second", "third"]
    rows = re.findall(r"^\| `make (\w+)` \| \d{4}-\d\d-\d\d \| \d+ \|$", page.read_text(), flags=re.MULTILINE)
    assert rows == ["first", "second", "third"]
    assert not (tmp_path / ".cache" / "weekly").exists(), "the next week begins anew"


# The rules of the real Makefile, with two parts of which the second fails as long as a file is not there.
PARTS = """
VENV_PYTHON := {python}
.venv/.installed: ;
night-one: ; @echo one >> ran
night-two: ; @echo two >> ran; test -e well
"""


def test_the_night_goes_on_where_it_stopped_and_ends_with_the_sum(tmp_path: Path) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (nightly,) = re.findall(r"^NIGHT := .*?(?=^\.PHONY: \$\(NIGHT_PARTS)", text, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "Makefile").write_text(PARTS.format(python=f"PYTHONPATH={ROOT} {sys.executable}") + nightly)
    command = ["make", "nightly", "NIGHT_PARTS=one two"]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    (tmp_path / "well").touch()
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (first.returncode != 0, second.returncode) == (True, 0), first.stderr + second.stderr
    assert (tmp_path / "ran").read_text().split() == ["one", "two", "two"]
    assert re.search(r"\d s  one .*\n.*\d minutes in all", second.stdout, flags=re.DOTALL), second.stdout
    assert not (tmp_path / ".cache" / "nightly").exists(), "the next night begins anew"


def test_every_campaign_is_a_target_and_has_a_row() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    names = re.findall(r"^CAMPAIGNS := (.*)$", text, flags=re.MULTILINE)[0].split()
    assert {path.name for path in Path(__file__).parent.iterdir() if (path / "__main__.py").exists()} == set(names)
    assert all(f"\n{name}: venv" in text for name in names)
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    assert all(f"| `make {name}` |" in page for name in names)
