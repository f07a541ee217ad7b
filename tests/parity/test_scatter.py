"""A sample of answers for a chart: bounded, and the same for any way of cutting the rows."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from liteferry.parity.output_stats import OutputStats
from liteferry.parity.scatter import ELEMENTS_PER_ROW, ROWS, ScatterSample


def rows(count, width=7, seed=3):
    random = np.random.default_rng(seed)
    reference = random.normal(size=(count, width))
    return reference, reference + random.normal(size=(count, width)) * 1e-3


def sample(reference, candidate, *cuts):
    edges = [0, *cuts, len(reference)]
    return [
        ScatterSample.of(reference[start:end], candidate[start:end], rows=np.arange(start, end))
        for start, end in itertools.pairwise(edges)
    ]


@pytest.mark.parametrize("cuts", [(), (1,), (500,), (3, 64, 65, 999), tuple(range(50, 1000, 50))])
def test_any_cut_and_any_order_give_the_same_pairs(cuts):
    reference, candidate = rows(1000)
    whole = ScatterSample.of(reference, candidate, rows=np.arange(len(reference)))
    for parts in (sample(reference, candidate, *cuts), sample(reference, candidate, *cuts)[::-1]):
        assert sum(parts, ScatterSample()) == whole


def test_the_sample_is_bounded_and_holds_what_the_sides_hold():
    reference, candidate = rows(1000)
    found = ScatterSample.of(reference, candidate, rows=np.arange(len(reference))).report()
    assert len(found["reference"]) == len(found["candidate"]) == ROWS * ELEMENTS_PER_ROW
    places = [np.argmin(np.abs(reference - value)) for value in found["reference"]]
    assert np.allclose(reference.ravel()[places], found["reference"], rtol=1e-5)
    assert np.allclose(candidate.ravel()[places], found["candidate"], rtol=1e-5, atol=1e-9)
    assert len({place // 7 for place in places}) == ROWS, "rows are spread over the set"


@pytest.mark.parametrize("width", [1, 2, 3, 4, 1000])
def test_few_elements_are_taken_once(width):
    reference, candidate = rows(5, width)
    found = ScatterSample.of(reference, candidate, rows=np.arange(len(reference))).report()
    assert len(found["reference"]) == 5 * min(width, ELEMENTS_PER_ROW)


def test_what_is_not_finite_is_kept_for_merging_and_left_out_of_the_report():
    reference = np.array([[np.nan, 1.0, np.inf]])
    one = ScatterSample.of(reference, np.array([[2.0, 3.0, 4.0]]), rows=np.arange(1))
    assert one.report() == {"reference": [1.0], "candidate": [3.0]}
    assert repr(ScatterSample.from_json(json.loads(json.dumps(one.to_json())))) == repr(one)


def test_nothing_gives_nothing():
    for shape in ((0, 4), (4, 0)):
        assert ScatterSample.of(np.zeros(shape), np.zeros(shape), rows=np.arange(shape[0])) == ScatterSample()
    assert ScatterSample().report() == {"reference": [], "candidate": []}


def test_statistics_of_an_output_carry_it_through_json():
    reference, candidate = rows(100)
    ids = [str(row) for row in range(100)]
    parts = [
        OutputStats.compare(reference=reference[cut], candidate=candidate[cut], ids=ids[cut], first_row=cut.start)
        for cut in (slice(0, 40), slice(40, 100))
    ]
    merged = parts[0].merge(OutputStats.from_json(json.loads(json.dumps(parts[1].to_json()))))
    assert merged.scatter == ScatterSample.of(reference, candidate, rows=np.arange(len(reference)))
