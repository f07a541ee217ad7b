"""Names in a weights file decide, every array is used and every variable filled: held against live answers, or refused.

Each case of `weights_cases.TABLE` is one way in which a builder and a file differ, in each layout and by both libraries.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from liteferry import sandbox
from tests.checkpoints import weights_cases
from tests.checkpoints.weights_cases import REFUSED, RIGHT

HERE = Path(__file__).parent
LIBRARIES = ("keras", "tf_keras")
LIMITS = sandbox.Limits(seconds=120, memory_bytes=8 * 10**9)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weights")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    for library in LIBRARIES:
        command = [sys.executable, str(HERE / "weights_cases.py"), library, str(out)]
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return out


def outcome_of(folder: Path) -> sandbox.Outcome:
    return sandbox.run("tests.checkpoints.weights_unit:load_and_compare", str(folder), flavor=sandbox.Flavor.KERAS, limits=LIMITS)


@pytest.mark.parametrize("name", weights_cases.names())
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_live_answers_or_a_refusal(cases: Path, library: str, name: str) -> None:
    folder = cases / library / name
    expect = json.loads((folder / "case.json").read_text())["expect"]
    outcome = outcome_of(folder)
    if expect == RIGHT:
        assert outcome.error is None, outcome.error
        assert outcome.results[0]["difference"] < 1e-5
    else:
        assert outcome.error is not None, f"loaded, {outcome.results[0]['difference']:.3g} off"
        assert outcome.error["code"] == REFUSED, outcome.error


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_refusal_has_both_lists_nearest_names_side_by_side(cases: Path, library: str) -> None:
    error = outcome_of(cases / library / "heads_renamed-legacy").error
    assert error is not None
    assert "its 4 arrays are not the model's 4 variables" in error["message"]
    assert "file: mean/mean/kernel [4, 4] / model: mu/mu/kernel [4, 4]" in error["message"]
    assert "weights: by_position" in error["message"]


@pytest.mark.parametrize("layout", weights_cases.LAYOUTS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_user_may_insist_on_the_order(cases: Path, tmp_path: Path, library: str, layout: str) -> None:
    case = json.loads((cases / library / f"heads_renamed-{layout}" / "case.json").read_text())
    for file in (cases / library / f"heads_renamed-{layout}").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "case.json").write_text(json.dumps({**case, "weights": "by_position"}))
    outcome = outcome_of(tmp_path)
    assert outcome.error is None, outcome.error
    assert outcome.results[0]["difference"] < 1e-5
    assert any("all weights by position" in warning for warning in outcome.results[0]["warnings"])


@pytest.mark.parametrize("layout", weights_cases.LAYOUTS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_order_does_not_excuse_what_is_left_over(cases: Path, tmp_path: Path, library: str, layout: str) -> None:
    source = cases / library / f"a_layer_too_few-{layout}"
    case = json.loads((source / "case.json").read_text())
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "case.json").write_text(json.dumps({**case, "weights": "by_position"}))
    error = outcome_of(tmp_path).error
    assert error is not None
    assert error["code"] in (REFUSED, "LOAD_FAILED")


def test_what_shapes_alone_have_decided_is_told(cases: Path) -> None:
    outcome = outcome_of(cases / "keras" / "renamed_but_only_one_fits-legacy")
    assert any("broad from wide, by its shapes" in warning for warning in outcome.results[0]["warnings"])
