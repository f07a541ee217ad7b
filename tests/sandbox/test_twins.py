"""The two nurseries of every run come from one process, and are as independent of each other as if they did not."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import psutil
import pytest

from liteferry import sandbox
from liteferry.sandbox import Flavor, Limits, nurseries
from tests.support.units import run_unit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each nursery is started by itself")
LIMITS = Limits(seconds=120, memory_bytes=8 * 2**30)


@pytest.fixture
def both() -> dict[Flavor, psutil.Process]:
    """The twins; new ones where a test before this one has ended or replaced any."""
    found = _processes(nurseries._nurseries)
    if len(found) < 2 or found[Flavor.KERAS].ppid() != found[Flavor.CLEAN].pid:
        sandbox.close()
        sandbox.warm_up()
        found = _processes(nurseries._nurseries)
    return found


def _processes(living: Mapping[Flavor, nurseries.Nursery]) -> dict[Flavor, psutil.Process]:
    return {flavor: psutil.Process(living[flavor].pid) for flavor in Flavor if flavor in living and living[flavor].is_alive()}


def keras_in(flavor: Flavor) -> dict[str, Any]:
    outcome = run_unit("tests.sandbox.twin_units:import_keras_in_every_way", flavor=flavor, limits=LIMITS)
    assert outcome.error is None, outcome.error
    found: dict[str, Any] = outcome.results[0]
    return found


def test_one_imports_keras_and_the_other_cannot_in_any_way(both: dict[Flavor, psutil.Process]) -> None:
    assert both[Flavor.KERAS].ppid() == both[Flavor.CLEAN].pid, "TensorFlow was imported twice"
    assert set(keras_in(Flavor.KERAS).values()) == {"imported"}
    assert "imported" not in keras_in(Flavor.CLEAN).values()


def test_no_unit_keeps_a_nursery_alive_in_the_launchers_eyes(both: dict[Flavor, psutil.Process]) -> None:
    """The pipe whose end says that a nursery has ended is open in no child of it."""
    counts = [
        run_unit("tests.sandbox.twin_units:open_pipes", flavor=flavor, limits=LIMITS).results
        for flavor in Flavor
        if flavor in both
    ]
    assert counts[0] == counts[1]


def test_both_end_when_they_are_not_needed_any_more(both: dict[Flavor, psutil.Process]) -> None:
    assert keras_in(Flavor.KERAS)
    sandbox.close()
    _, alive = psutil.wait_procs(list(both.values()), timeout=60)
    assert alive == []


@pytest.mark.parametrize("killed", [Flavor.CLEAN, pytest.param(Flavor.KERAS, marks=pytest.mark.nightly)])
def test_killed_one_is_replaced_and_the_other_stays(both: dict[Flavor, psutil.Process], killed: Flavor) -> None:
    (other,) = both.keys() - {killed}
    assert keras_in(other)
    both[killed].kill()
    psutil.wait_procs([both[killed]], timeout=60)
    assert keras_in(killed)
    assert nurseries.nursery(killed).pid != both[killed].pid
    assert nurseries.nursery(other).pid == both[other].pid


def test_a_process_that_dies_before_it_has_forked_is_replaced_for_both() -> None:
    sandbox.close()
    sandbox.warm_up()
    nurseries.nursery(Flavor.CLEAN).kill()
    assert not nurseries._nurseries[Flavor.KERAS].is_alive()
    assert set(keras_in(Flavor.KERAS).values()) == {"imported"}
    assert "imported" not in keras_in(Flavor.CLEAN).values()
