"""Whole models whose code is the user's or whose state is more than variables: the live answers, or a refusal that says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import custom_cases
from tests.checkpoints.written_cases import BY_DAY, Outcomes


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Library/case -> what came of it. Each library's cases are written by one process and loaded by another."""
    return Outcomes(Path(custom_cases.__file__), tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("library", "name"),
    [pytest.param(*pair, marks=pytest.mark.nightly) if pair[0] == "tf_keras" else pair for pair in custom_cases.names()],
)
def test_the_live_answers_or_a_refusal(outcomes: dict[str, dict[str, Any]], library: str, name: str) -> None:
    outcome = outcomes[f"{library}/{name}"]
    expect = json.loads((Path(outcome["folder"]) / "case.json").read_text())["expect"]
    if expect == custom_cases.RIGHT:
        assert outcome["code"] is None, outcome
        assert outcome["difference"] < 1e-5
    else:
        assert outcome["code"] == expect, outcome


@pytest.mark.parametrize("library", BY_DAY)
def test_two_classes_of_one_name_are_both_named_with_the_key_that_decides(
    outcomes: dict[str, dict[str, Any]], library: str
) -> None:
    message = outcomes[f"{library}/one_class_in_two_modules-h5"]["message"]
    assert "one_class_in_two_modules_0 and one_class_in_two_modules_1 each define" in message
    assert 'custom_objects: {Block: "one_class_in_two_modules_0:Block"}' in message


def test_a_vocabulary_that_is_not_in_the_file_is_said_in_plain_words(outcomes: dict[str, dict[str, Any]]) -> None:
    message = outcomes["keras/adapted_string_lookup-h5"]["message"]
    assert "was adapted, and its vocabulary is no variable; only a .keras archive or a SavedModel holds that" in message
