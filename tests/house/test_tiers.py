"""The tables of tests/support/tiers.py name what is there: a test that was renamed would run by day again, or lose its guard."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiers import FIRST, NIGHTLY, NIGHTLY_FIXTURES, UNIT

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("place", [*UNIT, *FIRST, *NIGHTLY])
def test_every_place_in_the_tables_is_there(place: str) -> None:
    file, _, test = place.partition("::")
    assert (ROOT / file).exists()
    assert not test or f"def {test.rpartition('::')[2]}" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NIGHTLY_FIXTURES)
def test_every_fixture_in_the_table_is_there(name: str) -> None:
    assert any(f"def {name}(" in path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
