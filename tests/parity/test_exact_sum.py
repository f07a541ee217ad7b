"""`ExactSum` is the exact sum, rounded once, for any split and any order; `row_sums` does not see the rows around a row."""

from __future__ import annotations

import fractions
import json
import math
import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liteferry.parity.exact_sum import ExactSum, row_sums

FINITE = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=True, width=64)


def exactly(values: list[float]) -> fractions.Fraction:
    return sum((fractions.Fraction(value) for value in values), fractions.Fraction(0))


def as_fraction(total: ExactSum) -> fractions.Fraction:
    return fractions.Fraction(total.units, 1 << 1126)


@given(st.lists(FINITE, max_size=60), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_any_split_and_any_order_give_the_exact_sum(values: list[float], random) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    parts = []
    while shuffled:
        size = random.randint(1, len(shuffled))
        parts.append(ExactSum.of(shuffled[:size]))
        del shuffled[:size]
    random.shuffle(parts)
    total = ExactSum()
    for part in parts:
        total = total.merge(part)
    assert as_fraction(total) == exactly(values)
    assert total == ExactSum.of(values)


@given(st.lists(st.floats(-1e300, 1e300, allow_subnormal=True), max_size=60))
@settings(max_examples=200, deadline=None)
def test_the_value_is_the_correctly_rounded_sum(values: list[float]) -> None:
    assert ExactSum.of(values).value() == math.fsum(values) == float(exactly(values))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([], 0.0, id="nothing"),
        pytest.param([-0.0], 0.0, id="negative zero"),
        pytest.param([1e300, 1.0, -1e300], 1.0, id="cancellation"),
        pytest.param([5e-324] * 3, 1.5e-323, id="subnormal"),
        pytest.param([1.7e308, 1.7e308, -1.7e308], 1.7e308, id="a partial sum beyond float64"),
        pytest.param([1.0, 2.0**-53], 1.0, id="tie goes to even"),
        pytest.param([1.0, 2.0**-53, 5e-324], 1.0 + 2.0**-52, id="a subnormal breaks the tie"),
        pytest.param([2.0**-1022, -(2.0**-1074)], 2.0**-1022 - 2.0**-1074, id="into the subnormals"),
    ],
)
def test_hard_sums(values: list[float], expected: float) -> None:
    value = ExactSum.of(values).value()
    assert (value, math.copysign(1, value)) == (expected, math.copysign(1, expected))


def test_extreme_mantissas_do_not_round_inside_a_full_chunk() -> None:
    values = np.full((1 << 20) + 3, np.nextafter(2.0, 1.0))
    assert as_fraction(ExactSum.of(values)) == fractions.Fraction(float(values[0])) * values.size
    assert as_fraction(ExactSum.of(-values)) == -fractions.Fraction(float(values[0])) * values.size


def test_adding_is_merging() -> None:
    assert ExactSum.of([0.1]).add([0.2, 0.3]) == ExactSum.of([0.1, 0.2, 0.3])


def test_the_mean_is_rounded_once() -> None:
    total = ExactSum.of([1.7e308] * 4)
    assert total.mean(4) == 1.7e308
    with pytest.raises(OverflowError):
        total.value()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_raises(bad: float) -> None:
    with pytest.raises(ValueError, match="1 of 2 that are NaN or infinite"):
        ExactSum.of([1.0, bad])


@given(st.lists(FINITE, max_size=20))
@settings(max_examples=100, deadline=None)
def test_json_and_pickle_keep_every_bit(values: list[float]) -> None:
    total = ExactSum.of(values)
    assert ExactSum.from_json(json.loads(json.dumps(total.to_json()))) == total
    assert pickle.loads(pickle.dumps(total)) == total


@pytest.mark.parametrize("columns", [0, 1, 2, 3, 7, 8, 9, 129, 1000])
def test_a_row_sum_does_not_depend_on_the_rows_around_it(columns: int) -> None:
    matrix = np.random.default_rng(0).normal(size=(33, columns)) * 10.0 ** np.arange(33)[:, None]
    together = row_sums(matrix.copy())
    alone = np.concatenate([row_sums(matrix[row : row + 1].copy()) for row in range(33)])
    np.testing.assert_array_equal(together, alone, strict=True)
    np.testing.assert_allclose(together, [math.fsum(row) for row in matrix], rtol=1e-9)


def test_two_million_values_take_well_under_a_second() -> None:
    values = np.random.default_rng(0).normal(size=2_000_000)
    started = time.process_time()
    ExactSum.of(values)
    assert time.process_time() - started < 1.0
