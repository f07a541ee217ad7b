"""Before the run: rows that look prepared in another way than in training, and nothing where nobody can know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry.checkpoints import row_ranges
from liteferry.cli import main
from liteferry.types import TensorSpec
from tests.commands.test_newcomers import write_model, write_rows

BYTES = np.arange(6 * 64, dtype=np.float32).reshape(6, 8, 8, 1) % 256
FLAGS = ("--checkpoints", "model.keras", "--samples", "rows.npz")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hints(capsys: pytest.CaptureFixture[str]) -> list[str]:
    main(["check", "--json", *FLAGS])
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert model["state"] == "ready"
    found: list[str] = model["hints"]
    return found


def test_raw_bytes_for_a_model_that_scales_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(here / "model.keras")
    write_rows(here / "rows.npz", image=BYTES)
    (hint,) = hints(capsys)
    assert hint.startswith("input 'image': the rows hold images of 0 .. 255, and no layer of the model scales them")
    write_rows(here / "rows.npz", image=BYTES / 255)
    assert hints(capsys) == []


def test_scaled_rows_for_a_model_that_scales_itself(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(here / "model.keras", rescaling=1 / 255)
    write_rows(here / "rows.npz", image=BYTES / 255)
    (hint,) = hints(capsys)
    assert "it expects values of 0 .. 255; the sample rows have 0 .. 1, as if they were normalised already" in hint
    write_rows(here / "rows.npz", image=BYTES)
    assert hints(capsys) == []


def test_a_terminal_is_told_in_a_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(here / "model.keras")
    write_rows(here / "rows.npz", image=BYTES)
    assert main(["check", *FLAGS]) == 0
    assert "hint: input 'image': the rows hold images of 0 .. 255" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("shape", "high", "may_scale", "is_told"),
    [
        ((None, 28, 28, 1), 255, False, True),
        ((None, 28, 28), 255, False, True),
        ((None, 3, 32, 32), 255, False, True),
        ((None, None, None, 3), 200, False, True),
        ((None, 28, 28, 1), 255, True, False),  # some layer may bring it to another scale
        ((None, 28, 28, 1), 16, False, False),  # digits of scikit-learn are 0 .. 16 and are meant so
        ((None, 28, 28, 1), 1000, False, False),
        ((None, 28, 28, 12), 255, False, False),
        ((None, 10), 255, False, False),
    ],
)
def test_only_images_of_bytes_are_told(shape: Any, high: float, may_scale: bool, is_told: bool) -> None:
    spec = TensorSpec(name="x", shape=shape, dtype="float32")
    assert (row_ranges.warning(spec, None, low=0.0, high=high, may_scale=may_scale) is not None) == is_told
