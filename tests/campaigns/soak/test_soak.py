"""What the soak campaign measures: a process that grows is seen, and so is a run that slows down."""

from __future__ import annotations

import pytest

from tests.campaigns.soak.__main__ import MOST_GROWTH_PERCENT, Observer, Watched


@pytest.mark.parametrize(("bytes_a_model", "is_seen"), [(0, False), (20_000, False), (200_000, True)])
def test_memory_that_grows_with_the_models_is_seen(bytes_a_model: int, is_seen: bool) -> None:
    samples = [(count, 500_000_000 + bytes_a_model * count + 1000 * (count % 7)) for count in range(1, 1001)]
    growth = Watched("launcher", samples).growth_percent(150)
    assert growth is not None
    assert (growth >= MOST_GROWTH_PERCENT) == is_seen, growth


def test_a_process_that_did_not_live_long_has_no_growth() -> None:
    assert Watched("nursery", [(count, 500_000_000) for count in range(500, 640)]).growth_percent(150) is None


def test_seconds_a_model_are_those_between_two_counts() -> None:
    observer = object.__new__(Observer)
    observer.finished = [(0.0, 0), (10.0, 100), (30.0, 200)]
    assert (observer.seconds_a_model(0, 100), observer.seconds_a_model(100, 200)) == (0.1, 0.2)
