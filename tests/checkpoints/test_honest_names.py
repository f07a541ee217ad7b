"""No honest architecture is refused: every layer, operation and symbol that can be written simply passes the scan."""

from __future__ import annotations

from typing import Any

import pytest

from liteferry.sandbox import Flavor, Limits
from tests.support.units import run_unit

# A thousand small models of both libraries take a minute.
pytestmark = pytest.mark.nightly

LIMITS = Limits(seconds=240, memory_bytes=8 * 10**9)
# As many as there are with the pinned libraries, and a few less: a table that no longer calls anything would pass.
LEAST = {"layers": 180, "operations of Keras 3": 150, "symbols of Keras 2": 250}
# Layers that say by their class that they do more, see `config_names.FOREIGN_LAYERS`.
REFUSED = ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")


@pytest.fixture(scope="module")
def scanned() -> dict[str, Any]:
    outcome = run_unit("tests.checkpoints.honest_units:scan", None, flavor=Flavor.KERAS, limits=LIMITS)
    assert outcome.error is None, outcome.error
    return {result["kind"]: result for result in outcome.results}


@pytest.mark.parametrize("kind", LEAST)
def test_nothing_honest_is_refused(scanned: dict[str, Any], kind: str) -> None:
    refused = [told for told in scanned[kind]["refused"] if not told.split(":")[0].endswith(REFUSED)]
    assert not refused, "\n".join(refused)


@pytest.mark.parametrize("kind", LEAST)
def test_there_are_as_many_as_there_should_be(scanned: dict[str, Any], kind: str) -> None:
    assert scanned[kind]["count"] >= LEAST[kind], scanned[kind]["count"]
