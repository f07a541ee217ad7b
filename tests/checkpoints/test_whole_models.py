"""Whole models whose code is the user's or whose state is more than variables: the live answers, or a refusal that says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from liteferry import sandbox
from tests.checkpoints import custom_cases

LIBRARIES = ("keras", "tf_keras")
LIMITS = sandbox.Limits(seconds=120, memory_bytes=8 * 10**9)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    for library in LIBRARIES:
        command = [sys.executable, custom_cases.__file__, library, str(out)]
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return out


def outcome_of(folder: Path) -> sandbox.Outcome:
    """A package of the user's is found as an installed one is: on the path."""
    request = (str(folder), str(folder.with_name(f"{folder.name.rpartition('-')[0]}-code")))
    return sandbox.run("tests.checkpoints.weights_unit:load_with_code", request, flavor=sandbox.Flavor.KERAS, limits=LIMITS)


@pytest.mark.parametrize(("library", "name"), custom_cases.names())
def test_the_live_answers_or_a_refusal(cases: Path, library: str, name: str) -> None:
    folder = cases / library / name
    expect = json.loads((folder / "case.json").read_text())["expect"]
    outcome = outcome_of(folder)
    if expect == custom_cases.RIGHT:
        assert outcome.error is None, outcome.error
        assert outcome.results[0]["difference"] < 1e-5
    else:
        assert outcome.error is not None, f"loaded, {outcome.results[0]['difference']:.3g} off"
        assert outcome.error["code"] == expect, outcome.error


@pytest.mark.parametrize("library", LIBRARIES)
def test_two_classes_of_one_name_are_both_named_with_the_key_that_decides(cases: Path, library: str) -> None:
    error = outcome_of(cases / library / "one_class_in_two_modules-h5").error
    assert error is not None
    assert "one_class_in_two_modules_0 and one_class_in_two_modules_1 each define" in error["message"]
    assert 'custom_objects: {Block: "one_class_in_two_modules_0:Block"}' in error["message"]


def test_a_vocabulary_that_is_not_in_the_file_is_said_in_plain_words(cases: Path) -> None:
    error = outcome_of(cases / "keras" / "adapted_string_lookup-h5").error
    assert error is not None
    assert "was adapted, and its vocabulary is no variable; only a .keras archive or a SavedModel holds that" in error["message"]
