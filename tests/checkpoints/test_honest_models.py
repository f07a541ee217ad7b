"""No honest file is refused: models over every layer of both libraries, in every format, pass the scan and load."""

from __future__ import annotations

from typing import Any

import pytest

from liteferry.sandbox import Flavor, Limits
from tests.support.units import run_unit

LIMITS = Limits(seconds=900, memory_bytes=8 * 10**9)
# One layer in so many by day; every night all of them. The least of files that there have to be.
DAY = 24
LEAST = {"keras": 280, "tf_keras": 220}
# Layers that say by their class that they do more, see `config_names.FOREIGN_LAYERS`.
FOREIGN = ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")


def checked(library: str, one_in: int) -> dict[str, Any]:
    request = {"library": library, "one_in": one_in}
    outcome = run_unit("tests.checkpoints.honest_models:check", request, flavor=Flavor.KERAS, limits=LIMITS)
    assert outcome.error is None, outcome.error
    (result,) = outcome.results
    refused = [f"{name}: {said}" for name, said in result["refused"] if not any(foreign in name for foreign in FOREIGN)]
    assert not refused, "\n".join(refused)
    return dict(result)


@pytest.mark.parametrize("library", LEAST)
def test_a_few_of_the_models_of_each_library_load(library: str) -> None:
    assert checked(library, DAY)["models"] >= 6


@pytest.mark.nightly
@pytest.mark.parametrize("library", LEAST)
def test_all_models_of_each_library_load(library: str) -> None:
    """Five hundred files of both."""
    assert checked(library, 1)["models"] >= LEAST[library]
