"""A slice of the fuzzers of architectures and graphs: nothing fires, and the canaries fire where nothing is scanned.

`make nightly` takes 20,000 architectures, `make fuzz` 200,000.
"""

from __future__ import annotations

from typing import Any

import pytest

from liteferry.sandbox import Flavor, Limits
from tests.campaigns.fuzz.graph_mutations import LEFT_OUT
from tests.support.units import run_unit

LIMITS = Limits(seconds=120, memory_bytes=8 * 10**9)
READABLE = [str(LEFT_OUT)]


def told(kind: str, **request: Any) -> dict[str, Any]:
    unit = f"tests.campaigns.fuzz.{kind}:in_sandbox"
    outcome = run_unit(unit, {"seed": 7, **request}, flavor=Flavor.KERAS, limits=LIMITS, readable=READABLE)
    assert outcome.error is None, outcome.error
    (result,) = outcome.results
    return dict(result)


def test_no_architecture_that_passes_the_scan_does_anything() -> None:
    found = told("configs", count=600, is_scanned=True)
    assert not found["fired"]
    assert found["configs"] == 600
    assert found["deserialised"] > 40, found
    assert found["LOAD_UNSAFE"] > 100, found
    assert found["resolved"] > 300, found


def test_what_the_scan_refuses_would_set_canaries_off() -> None:
    assert told("configs", count=60, is_scanned=False)["fired"]


def test_no_graph_that_passes_the_scan_touches_a_file() -> None:
    found = told("graphs", count=24, operations=None, is_scanned=True)
    assert not found["fired"]
    assert found["graphs"] == 24
    assert found["run"] >= 2, found  # the seeds as they are


def test_what_computes_only_passes_the_scan_and_runs() -> None:
    found = told("graphs", count=12, operations=["AsString"], is_scanned=True)
    assert not found["fired"]
    assert found["run"] > 2, found


def test_what_opens_files_does_not_pass_the_scan() -> None:
    found = told("graphs", count=12, operations=["ReadFile", "WriteFile"], is_scanned=True)
    assert not found["fired"]
    assert found["refused"] > 0, found


def test_a_number_makes_the_same_input_in_every_process() -> None:
    """What a test was run beside, and the order in which TensorFlow writes a graph's functions, are none of it."""
    outcome = run_unit("tests.campaigns.fuzz.same_units:tell", None, flavor=Flavor.KERAS, limits=LIMITS, readable=READABLE)
    assert outcome.error is None, outcome.error
    (differing,) = outcome.results
    assert not differing["graphs"]
    assert not differing["architectures"]


@pytest.mark.parametrize(("operation", "event"), [("ReadFile", "secret.txt: opened"), ("WriteFile", "marker: changed")])
def test_a_graph_that_is_not_scanned_touches_its_canary(operation: str, event: str) -> None:
    found = told("graphs", count=30, operations=[operation], is_scanned=False)
    assert any(event in fired for fired in found["fired"]), found
