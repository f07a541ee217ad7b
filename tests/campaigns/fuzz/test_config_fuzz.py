"""A slice of the fuzzers of architectures and graphs: nothing fires, and the canaries fire where nothing is scanned.

`make nightly` takes 20,000 architectures, `make fuzz` 200,000.
"""

from __future__ import annotations

from typing import Any

import pytest

from liteferry.sandbox import Flavor, Limits
from tests.support.units import run_unit

LIMITS = Limits(seconds=120, memory_bytes=8 * 10**9)


def told(kind: str, **request: Any) -> dict[str, Any]:
    outcome = run_unit(f"tests.campaigns.fuzz.{kind}:in_sandbox", {"seed": 7, **request}, flavor=Flavor.KERAS, limits=LIMITS)
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
    assert found["refused"] > 3, found
    assert found["run"] > 1, found


@pytest.mark.parametrize(("operation", "event"), [("ReadFile", "secret.txt: opened"), ("WriteFile", "marker: changed")])
def test_a_graph_that_is_not_scanned_touches_its_canary(operation: str, event: str) -> None:
    found = told("graphs", count=30, operations=[operation], is_scanned=False)
    assert any(event in fired for fired in found["fired"]), found
