"""Numbers as people read them, never rounded in a model's favour."""

from __future__ import annotations

import math

import pytest

from liteferry.report import formats


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, formats.ABSENT),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "9.9 kB"),
        (9_999, "10 kB"),
        (21_344, "21 kB"),
        (999_499, "999 kB"),
        (999_999, "1.0 MB"),
        (4_200_000, "4.2 MB"),
        (5 * 10**12, "5.0 TB"),
        (10**19, "10000 PB"),
    ],
)
def test_sizes(value, shown):
    assert formats.human_bytes(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, formats.ABSENT),
        ("text", formats.ABSENT),
        (True, formats.ABSENT),
        (0.0, "0"),
        (1797, "1,797"),
        (1.24e-7, "1.2e-07"),
        (0.0121, "0.0121"),
        (0.98331, "0.9833"),
        (-6e-4, "-6.0e-04"),
        (2.5e6, "2,500,000"),
        (1e30, "1.0e+30"),
        (math.nan, "NaN"),
        ("NaN", "NaN"),
        (math.inf, "∞"),
        ("-Infinity", "-∞"),
    ],
)
def test_numbers(value, shown):
    assert formats.human_number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "100 %"), (0.9999999, "99.99 %"), (0.97996, "97.99 %"), (0.5, "50 %"), (0, "0 %")]
)
def test_shares_round_down(value, shown):
    assert formats.human_share(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(1.0, "1"), (0.99999999, "0.999999"), (-0.5, "-0.500000"), (math.nan, "NaN")])
def test_cosines_round_down(value, shown):
    assert formats.human_cosine(value) == shown


@pytest.mark.parametrize(
    ("observed", "limit", "shown"),
    [
        (0.97996, 0.98, "0.97996"),
        (0.97, 0.98, "0.97"),
        (0.98, 0.98, "0.98"),
        (1.0000004e-5, 1e-5, "1.0000004e-05"),
        (1.24e-7, 1e-5, "1.2e-07"),
        (1797, 1, "1,797"),
        (math.nan, 1e-5, "NaN"),
        (None, 1e-5, formats.ABSENT),
        (0.5, None, "0.5"),
        ("missing", 0.1, "missing"),
    ],
)
def test_an_observed_value_shows_on_which_side_of_its_limit_it_stands(observed, limit, shown):
    assert formats.beside_limit(observed, limit) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.207, "0.21 s"), (12.34, "12.3 s"), (200, "3 min 20 s"), (7260, "2 h 1 min"), (None, formats.ABSENT)]
)
def test_times(value, shown):
    assert formats.human_seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [([None, 8, 1], "(None, 8, 1)"), ([-1], "(None,)"), ([], "()"), (None, formats.ABSENT), ("?", "?")]
)
def test_shapes(value, shown):
    assert formats.shape(value) == shown


def test_counts():
    assert [formats.counted(count, "row") for count in (0, 1, 1797)] == ["0 rows", "1 row", "1,797 rows"]
