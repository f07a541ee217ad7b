"""`run --only` works on the models that fit and leaves the others as they are; `run --strict` begins only where nothing is known
to fail.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import Run, arguments_of_three, copy_of_out, liteferry


@pytest.fixture
def out(three: Run, tmp_path: Path) -> Path:
    """A finished run of two models that are blessed and one that is broken."""
    return copy_of_out(three, tmp_path / "out")


def stamps(out: Path) -> dict[str, int]:
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in (out / "models").rglob("*") if path.is_file()}


def test_only_the_models_that_fit_are_done_again_and_count(demo: Run, out: Path) -> None:
    before = stamps(out)
    said = liteferry(*arguments_of_three(demo), "--output", out, "--only", "ml*", "--force")
    assert said.returncode == 0, said.stderr
    assert "broken_truncated" not in said.stdout
    after = stamps(out)
    assert {name.split("/")[1] for name in after if after[name] != before.get(name)} == {"mlp"}
    fleet = json.loads((out / "fleet.json").read_text())
    assert [model["model_id"] for model in fleet["models"]] == ["broken_truncated", "cnn", "mlp"], "the fleet's files have all"


def test_a_pattern_that_no_model_fits_is_told_with_those_there_are(demo: Run, out: Path) -> None:
    said = liteferry(*arguments_of_three(demo), "--output", out, "--only", "nothing*")
    assert said.returncode == 2
    assert "--only: no model id fits 'nothing*'; the job has broken_truncated, cnn, mlp" in said.stderr


def test_strict_stops_before_the_first_export(demo: Run, out: Path, tmp_path: Path) -> None:
    said = liteferry(*arguments_of_three(demo), "--output", tmp_path / "new", "--strict")
    assert said.returncode == 1
    assert "[check] broken_truncated: will fail: LOAD_CORRUPT" in said.stderr
    assert "--strict: nothing was run; fix the problems above, or run without --strict" in said.stderr
    assert not (tmp_path / "new" / "models").exists()

    before = stamps(out)
    said = liteferry(*arguments_of_three(demo), "--output", out, "--strict", "--only", "cnn")
    assert said.returncode == 0, "what is broken is not asked for"
    assert stamps(out) == before
    assert "1 of 1 models were done already" in said.stdout
