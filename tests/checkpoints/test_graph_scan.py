"""An operation is found wherever loading or serving a graph can reach it, and a table's file is told from any other."""

from __future__ import annotations

import pytest

from liteferry.sandbox import Flavor, Limits
from tests.checkpoints import graph_units
from tests.support.units import run_unit

LIMITS = Limits(seconds=120, memory_bytes=8 * 10**9)
FILLS = ["InitializeTableFromTextFileV2"]
# What is found in graphs of tables and of things that are nobody's, or the user's.
OTHERS: dict[str, list[str]] = {
    "a table over its asset": [],
    "a table over a path": FILLS,
    "a table over its asset when served": FILLS,
    "a table over another output of its asset's node": FILLS,
    "a table over its asset while it is restored": FILLS,
    "a table over an input": FILLS,
    "a table over a variable of its asset": [],
    "a table over a variable of two files": FILLS,
    "a table over a variable that a caller may name": FILLS,
    "printed": [],
    "printed to the log": [],
    "printed where a caller says": ["PrintV2"],
    "restored from elsewhere": ["RestoreV2"],
    "restored by an initializer": ["RestoreV2"],
    "restored when served": ["RestoreV2"],
    "reached by nobody": [],
    "an operation of the user's": [],
}


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    outcome = run_unit("tests.checkpoints.graph_units:scan_planted", None, flavor=Flavor.KERAS, limits=LIMITS)
    assert outcome.error is None, outcome.error
    return {result["place"]: result["found"] for result in outcome.results}


@pytest.mark.parametrize("place", graph_units.PLACES)
def test_a_planted_operation_is_found(found: dict[str, list[str]], place: str) -> None:
    assert found[place] == [graph_units.PLANTED]


@pytest.mark.parametrize("place", OTHERS)
def test_what_is_read_is_the_saved_models_own(found: dict[str, list[str]], place: str) -> None:
    assert found[place] == OTHERS[place]


def test_every_graph_is_here() -> None:
    assert OTHERS.keys() == graph_units.TABLES.keys()
