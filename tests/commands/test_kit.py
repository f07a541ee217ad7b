"""A kit for a device, and the verdict on what comes back: as strict as a run's, and never kinder for what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry.commands.kit import layout
from liteferry.commands.kit.judge import judge_answers
from liteferry.errors import JobError, ReasonCode
from tests.support import Run, liteferry

RANDOM = np.random.default_rng(0)
EXPECTED = {"scores": RANDOM.normal(size=(20, 4)).astype(np.float32), "a/b": RANDOM.normal(size=(20, 2)).astype(np.float32)}


def tensor(name: str, **facts: Any) -> dict[str, Any]:
    plain = {"position": 0, "tensor_index": 0, "tensor_name": name, "dtype": "float32", "shape": [None, 4], "scale": None}
    return {"name": name, "zero_point": None, **plain, **facts}


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    folder = tmp_path / "kit"
    (folder / layout.EXPECTED).mkdir(parents=True)
    for name, value in EXPECTED.items():
        np.save(layout.array_path(str(folder / layout.EXPECTED), name), value)
    rows = [{"row": 100 - place, "id": f"row {place}", "why": "random"} for place in range(20)]
    (folder / layout.ROWS).write_text(json.dumps(rows))
    contract = {"inputs": [], "outputs": [tensor("scores", scale=0.5, zero_point=3), tensor("a/b")]}
    manifest = {"kit": 1, "model_id": "m", "variant": "int8", "like": "int8", "contract": contract, "outputs": list(EXPECTED)}
    (folder / layout.MANIFEST).write_text(json.dumps({**manifest, "gates": {}, "kinds": {}}))
    return folder


def answers(tmp_path: Path, found: dict[str, np.ndarray]) -> str:
    folder = tmp_path / "answers"
    folder.mkdir()
    for name, value in found.items():
        np.save(layout.array_path(str(folder), name), value)
    return str(folder)


def test_the_expected_answers_are_within(kit: Path, tmp_path: Path) -> None:
    judged = judge_answers(str(kit), answers(tmp_path, EXPECTED))
    assert judged.verdict.is_blessed, judged.verdict.reason
    assert judged.row_count == 20
    assert {stats.example_count for stats in judged.stats.values()} == {20}


def test_integers_stand_for_floats(kit: Path, tmp_path: Path) -> None:
    """Round to steps of a half: some 17 dB, too coarse for int8's gates, and named so; not thousands off."""
    coarse = np.clip(np.round(EXPECTED["scores"] / 0.5) + 3, -128, 127).astype(np.int8)
    judged = judge_answers(str(kit), answers(tmp_path, {**EXPECTED, "scores": coarse}))
    assert judged.stats["scores"].report()["max_abs"] <= 0.25 + 1e-6


def test_a_row_axis_that_a_device_left_away_comes_back(kit: Path, tmp_path: Path) -> None:
    assert judge_answers(
        str(kit), answers(tmp_path, {name: value.ravel() for name, value in EXPECTED.items()})
    ).verdict.is_blessed


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda value: np.roll(value, 1, axis=0), ReasonCode.PARITY_OUT_OF_TOLERANCE),
        (lambda value: value * np.float32(np.nan), ReasonCode.PARITY_NONFINITE),
        (lambda value: np.zeros_like(value), ReasonCode.PARITY_OUT_OF_TOLERANCE),
    ],
    ids=["rows shifted", "NaN", "zeros"],
)
def test_wrong_answers_are_not_within(kit: Path, tmp_path: Path, change: Any, code: ReasonCode) -> None:
    judged = judge_answers(str(kit), answers(tmp_path, {**EXPECTED, "scores": change(EXPECTED["scores"])}))
    assert judged.verdict.reason is not None
    assert judged.verdict.reason.code is code


def test_an_output_that_did_not_come_back_is_not_within(kit: Path, tmp_path: Path) -> None:
    judged = judge_answers(str(kit), answers(tmp_path, {"scores": EXPECTED["scores"]}))
    assert judged.verdict.reason is not None
    assert "a/b" in judged.verdict.reason.message


def test_half_of_the_rows_are_an_error(kit: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"has shape \(10, 4\), the kit expects \(20, 4\)"):
        judge_answers(str(kit), answers(tmp_path, {**EXPECTED, "scores": EXPECTED["scores"][:10]}))


def test_no_answers_at_all_name_the_files(kit: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"holds none of scores\.npy, a%2Fb\.npy"):
        judge_answers(str(kit), answers(tmp_path, {}))


def test_a_folder_that_is_no_kit_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"is not a kit's manifest"):
        judge_answers(str(tmp_path), str(tmp_path))


ON_A_BOARD = """
import json, os, sys, urllib.parse
import numpy as np
from ai_edge_litert.interpreter import Interpreter
run = Interpreter("model.tflite").get_signature_runner("serving_default")
rows = np.load("rows.npz")
answers = [run(**{name: rows[name][at : at + 1] for name in rows}) for at in range(len(json.load(open("rows.json"))))]
os.makedirs("answers")
for name in answers[0]:
    np.save(f"answers/{urllib.parse.quote(name, safe='')}.npy", np.concatenate([one[name] for one in answers]))
"""


def test_a_kit_of_the_demo_runs_in_another_process_and_is_within(demo: Run, tmp_path: Path) -> None:
    """LiteRT alone, as on a board: the script of the kit's own README, to the letter."""
    kit = tmp_path / "kit"
    made = liteferry("kit", demo.out, "cnn", kit, "--variant", "dynamic_int8")
    assert made.returncode == 0, made.stderr
    assert "\n".join(ON_A_BOARD.strip().splitlines()[3:]).split("os.makedirs")[0].strip() in (kit / "README.md").read_text()
    subprocess.run([sys.executable, "-c", ON_A_BOARD], cwd=kit, check=True, capture_output=True)
    judged = liteferry("compare", "--kit", kit, "--answers", kit / "answers")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    again = liteferry("kit", demo.out, "cnn", kit, "--variant", "dynamic_int8")
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
