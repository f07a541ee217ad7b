"""Names in a weights file decide, every array is used and every variable filled: held against live answers, or refused.

Each case of `weights_cases.TABLE` is one way in which a builder and a file differ, in each layout and by both libraries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import weights_cases
from tests.checkpoints.weights_cases import RIGHT
from tests.checkpoints.written_cases import BY_DAY, Outcomes


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Library/case -> what came of it. Each library's cases are written by one process and loaded by another."""
    out = tmp_path_factory.mktemp("weights")
    return Outcomes(Path(weights_cases.__file__), out)


@pytest.mark.parametrize("name", weights_cases.names())
@pytest.mark.parametrize("library", BY_DAY)
def test_the_live_answers_or_a_refusal(outcomes: dict[str, dict[str, Any]], library: str, name: str) -> None:
    outcome = outcomes[f"{library}/{name}"]
    expect = weights_cases.expectation(name, library)
    assert outcome["code"] == (None if expect == RIGHT else expect), outcome
    assert outcome.get("difference", 0.0) < 1e-5, outcome


@pytest.mark.parametrize("library", BY_DAY)
def test_a_refusal_has_both_lists_nearest_names_side_by_side(outcomes: dict[str, dict[str, Any]], library: str) -> None:
    message = outcomes[f"{library}/heads_renamed-legacy"]["message"]
    assert "its 4 arrays are not the model's 4 variables" in message
    assert "file: mean/mean/kernel [4, 4] / model: mu/mu/kernel [4, 4]" in message
    assert "weights: by_position" in message


@pytest.mark.parametrize("layout", weights_cases.LAYOUTS)
@pytest.mark.parametrize("library", BY_DAY)
def test_that_the_user_insists_on_the_order_is_told(outcomes: dict[str, dict[str, Any]], library: str, layout: str) -> None:
    warnings = outcomes[f"{library}/heads_renamed_by_position-{layout}"]["warnings"]
    assert any("all weights by position" in warning for warning in warnings)


def test_what_shapes_alone_have_decided_is_told(outcomes: dict[str, dict[str, Any]]) -> None:
    warnings = outcomes["keras/renamed_but_only_one_fits-legacy"]["warnings"]
    assert any("broad from wide, by its shapes" in warning for warning in warnings)
