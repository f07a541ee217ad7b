"""From a CSV, an image folder and a Keras model in memory to a verdict in at most three lines; the hook and the action."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from liteferry import sandbox
from tests.docs.test_docs import README, ROOT, Block, blocks

THREE = blocks([README], "python three")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README's lines speak of: model.keras with rows.csv, classifier.keras with photos/."""
    import keras

    here = tmp_path_factory.mktemp("three")
    rng = np.random.default_rng(0)
    inputs = keras.Input((3,), name="x")
    keras.Model(inputs, keras.layers.Dense(2, name="y")(inputs)).save(here / "model.keras")
    rows = "\n".join(",".join(f"{value:.5f}" for value in row) for row in rng.normal(size=(40, 3)))
    (here / "rows.csv").write_text(f"a,b,c\n{rows}\n")
    classifier().save(here / "classifier.keras")
    for name in ("cat", "dog"):
        (here / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 255, size=(12, 10, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(here / "photos" / name / f"{number}.png")
    return here


def classifier() -> Any:
    import keras

    image = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Dense(2, activation="softmax", name="scores")(flat), name="live")


def in_memory() -> dict[str, Any]:
    images = np.random.default_rng(1).integers(0, 255, size=(24, 8, 8, 3)).astype(np.float32)
    return {"model": classifier(), "images": images, "labels": np.arange(24) % 2}


def test_there_are_three_of_at_most_three_lines() -> None:
    assert [sum(bool(line.strip()) for line in block.text.splitlines()) <= 3 for block in THREE] == [True] * 3


@pytest.mark.parametrize("block", THREE, ids=str)
def test_three_lines_are_enough(folder: Path, block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(block.text, str(block), "exec"), in_memory() if "images" in block.text else {})
    sandbox.close()
    verdicts = [line.split("  ")[3] for line in said.getvalue().splitlines()]
    assert verdicts == ["blessed"] * 4, said.getvalue()


def test_the_hook_checks_job_files_by_its_own_command_line(tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    (tmp_path / "job.yaml").write_text("models: [{checkpoints: nothing.keras}]\nvariants: [flaot32]\n")
    words = ["bash", "-c", hook["entry"].split("'")[1], "--", str(tmp_path / "job.yaml")]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    said = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": path}, timeout=60)
    assert said.returncode == 2
    assert "did you mean float32?" in said.stderr


def test_the_action_runs_commands_that_there_are() -> None:
    from liteferry.cli import build_parser

    action = yaml.safe_load((ROOT / "action.yml").read_text())
    lines = [step["run"] for step in action["runs"]["steps"] if "liteferry " in step.get("run", "")]
    given = {"$CONFIG": "job.yaml", "$OUTPUT": "out", "$ARGUMENTS": "--strict"}
    for line in lines:
        words = [given.get(word.strip('"'), word.strip('"')) for word in line.split()]
        build_parser().parse_args(words[1:])
    assert [line.split()[1] for line in lines] == ["check", "run"]
    assert action["runs"]["using"] == "composite"
