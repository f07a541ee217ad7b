"""The lists of names and operations against the installed libraries: each name is listed or was looked at and left out.

A release that brings a new layer, operation or function fails here, and not at a user's. Put it on its list in
`liteferry.checkpoints` if it only computes, else into `left_out.json`: `python -m tests.checkpoints.test_names` writes that anew.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from liteferry.checkpoints import config_names, graph_ops, graph_state, tf_symbols
from liteferry.sandbox import Flavor, Limits
from tests.support.units import run_unit

LIMITS = Limits(seconds=240, memory_bytes=8 * 10**9)
_LEFT_OUT = Path(__file__).with_name("left_out.json")
LISTED: Mapping[str, Collection[str]] = {
    "operations": graph_ops.HARMLESS,
    "symbols": tf_symbols.SYMBOLS,
    "layers of Keras 3": config_names.BUILT,
    "layers of tf_keras": config_names.BUILT,
    "operations of Keras 3": config_names.OPERATIONS,
    "functions of tensors": config_names.FUNCTIONS,
    "activations": config_names.FUNCTIONS,
    "initializers": config_names.INITIALIZERS,
    "regularizers": config_names.REGULARIZERS,
    "constraints": config_names.CONSTRAINTS,
    "losses": config_names.LOSSES,
    "dtype policies": config_names.DTYPES,
    "quantizers": config_names.QUANTIZERS,
}


def libraries() -> dict[str, list[str]]:
    """What the libraries offer, by group."""
    outcome = run_unit("tests.checkpoints.names_units:tell", None, flavor=Flavor.KERAS, limits=LIMITS)
    assert outcome.error is None, outcome.error
    return {result["group"]: result["names"] for result in outcome.results}


@pytest.fixture(scope="module")
def offered() -> dict[str, list[str]]:
    return libraries()


@pytest.fixture(scope="module")
def left_out() -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(_LEFT_OUT.read_text())
    return found


@pytest.mark.parametrize("group", LISTED)
def test_every_name_is_listed_or_left_out(offered: dict[str, list[str]], left_out: dict[str, list[str]], group: str) -> None:
    assert set(offered[group]) - set(LISTED[group]) == set(left_out[group])


@pytest.mark.parametrize("group", LISTED)
def test_nothing_is_both(left_out: dict[str, list[str]], group: str) -> None:
    assert not set(left_out[group]) & set(LISTED[group])


def test_operations_with_state_are_told_from_those_that_importing_evaluates(offered: dict[str, list[str]]) -> None:
    assert set(offered["operations with state"]) - set(graph_ops.HARMLESS) == graph_state.STATEFUL


def test_a_listed_name_is_bound_to_nothing_else_anywhere(offered: dict[str, list[str]], left_out: dict[str, list[str]]) -> None:
    """tf_keras takes a name out of any module that a file names."""
    assert offered["bindings"] == left_out["bindings"]


def test_keys_whose_names_a_layer_looks_up_are_judged_as_such(offered: dict[str, list[str]]) -> None:
    kinds = {
        "initializers": config_names.INITIALIZERS,
        "regularizers": config_names.REGULARIZERS,
        "constraints": config_names.CONSTRAINTS,
        "activations": config_names.BUILT,
    }
    wrong = [
        told
        for told in offered["resolved keys"]
        for kind, _, key in [told.partition(" ")]
        if config_names.expected(key, frozenset()) != kinds[kind] and key not in ("identifier", "kernel_constraint_")
    ]
    assert not wrong


def write() -> None:
    found = libraries()
    kept = {group: sorted(set(found[group]) - set(names)) for group, names in LISTED.items()}
    _LEFT_OUT.write_text(json.dumps({**kept, "bindings": found["bindings"]}, indent=1) + "\n")


if __name__ == "__main__":
    write()
