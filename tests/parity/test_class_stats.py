"""Classes and probabilities: top-k, flips and divergence equal NumPy's and SciPy's, in any split and order."""

from __future__ import annotations

import collections
import functools
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from liteferry.parity import class_stats
from liteferry.parity.class_stats import ClassStats, Flips

NAN, INF = math.nan, math.inf


def compare(reference: Any, candidate: Any) -> ClassStats:
    left, right = np.asarray(reference, float), np.asarray(candidate, float)
    broken = ~(np.isfinite(left) & np.isfinite(right)) & ~((left == right) | (np.isnan(left) & np.isnan(right)))
    is_odd = not (np.isfinite(left).all() and np.isfinite(right).all())
    return ClassStats.of(left, right, broken if is_odd else None, classes=left.shape[-1])


def noisy(rows: int, classes: int, *, seed: int = 0, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, classes))
    return logits, logits + noise * random.normal(size=logits.shape)


def probabilities(rows: int, classes: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    reference, candidate = (scipy.special.softmax(logits, axis=1) for logits in noisy(rows, classes, seed=seed))
    return reference, candidate


class TestTopK:
    def test_equals_a_count_of_shared_members(self) -> None:
        reference, candidate = noisy(200, 12)
        sets = [[set(np.argsort(-row, kind="stable")[:5]) for row in side] for side in (reference, candidate)]
        expected = np.mean([len(left & right) / 5 for left, right in zip(*sets, strict=True)])
        found = compare(reference, candidate).report()
        assert (found["topk"], found["topk_agreement"]) == (5, pytest.approx(expected, rel=1e-12))

    def test_equals_sorting_also_where_many_entries_are_equal(self) -> None:
        reference, candidate = (np.round(side) for side in noisy(200, 12))
        sets = [[set(np.argsort(-row, kind="stable")[:5]) for row in side] for side in (reference, candidate)]
        shared = sum(len(left & right) for left, right in zip(*sets, strict=True))
        assert compare(reference, candidate).topk_shared == shared

    @pytest.mark.parametrize(("classes", "k"), [(2, None), (5, None), (6, 5), (1000, 5)])
    def test_k_is_five_for_more_than_five_classes(self, classes: int, k: int | None) -> None:
        found = compare(*noisy(4, classes)).report()
        assert (found["topk"], found["topk_agreement"] is None) == (k, k is None)

    @pytest.mark.parametrize(
        ("candidate", "shared"),
        [
            pytest.param([6.0, 5, 4, 3, 2, 1], 5, id="equal"),
            pytest.param([1.0, 2, 3, 4, 5, 6], 4, id="reversed"),
            pytest.param([6.0, 5, 4, 3, 2, NAN], 0, id="NaN on one side"),
            pytest.param([6.0, 5, 4, 3, 2, -INF], 0, id="infinity on one side"),
        ],
    )
    def test_one_position(self, candidate: list[float], shared: int) -> None:
        assert compare([[6.0, 5, 4, 3, 2, 1]], [candidate]).topk_shared == shared

    def test_the_same_nan_on_both_sides_shares_all(self) -> None:
        row = [[6.0, 5, 4, 3, NAN, 1]]
        assert compare(row, row).report()["topk_agreement"] == 1.0


class TestFlips:
    def test_equal_a_counter(self) -> None:
        reference, candidate = noisy(500, 7)
        counter = collections.Counter(
            (int(before), int(after))
            for before, after in zip(reference.argmax(1), candidate.argmax(1), strict=True)
            if before != after
        )
        found = compare(reference, candidate).report()
        assert found["flip_count"] == counter.total() > 0
        assert found["flip_pairs"] == len(counter)
        wanted = sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:10]
        assert [((one["from"], one["to"]), one["count"]) for one in found["flips"]] == wanted

    def test_need_no_nan(self) -> None:
        assert compare([[NAN, 1.0], [1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0], [NAN, 0.0], [1.0, 0.0]]).flips.counts == {(1, 0): 1}

    @given(choices=st.randoms(use_true_random=False))
    @settings(max_examples=30, deadline=None)
    def test_memory_is_bounded_and_any_order_keeps_the_same_pairs(self, choices: Any) -> None:
        parts = [Flips({(choices.randrange(9), choices.randrange(9)): choices.randrange(1, 5)}) for _ in range(60)]
        truth: collections.Counter[tuple[int, int]] = collections.Counter()
        for part in parts:
            truth.update(part.counts)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(class_stats, "FLIP_PAIRS_KEPT", 20)
            found = []
            for _ in range(3):
                choices.shuffle(parts)
                left, right = parts[:25], parts[25:]
                found.append(functools.reduce(Flips.__add__, left, Flips()) + functools.reduce(Flips.__add__, right))
            assert found[0] == found[1] == found[2]
            assert len(found[0].counts) == min(20, len(truth))
            assert found[0].is_complete is (len(truth) <= 20)
            assert all(truth[pair] == count for pair, count in found[0].counts.items()), "what is kept is counted exactly"


class TestDivergence:
    def test_equals_scipy(self) -> None:
        reference, candidate = probabilities(300, 9)
        rows = scipy.special.kl_div(reference, candidate).sum(axis=1)
        found = compare(reference, candidate).report()
        assert (found["kl_mean"], found["kl_max"]) == pytest.approx((rows.mean(), rows.max()), rel=1e-12)
        assert found["kl_mean"] == pytest.approx(scipy.special.rel_entr(reference, candidate).sum(axis=1).mean(), rel=1e-9)

    def test_of_nearly_equal_sides_does_not_cancel(self) -> None:
        reference = np.array([[0.25, 0.75]])
        candidate = reference * [[1 + 3e-9, 1 - 1e-9]]
        exact = (candidate - reference) ** 2 / (2 * reference)  # the first term of the series; the next is 1e-9 of it
        assert compare(reference, candidate).kl_max == pytest.approx(exact.sum(), rel=1e-6)

    @pytest.mark.parametrize(
        ("reference", "candidate", "expected"),
        [
            pytest.param([[0.5, 0.5]], [[0.5, 0.5]], (0.0, 0), id="equal"),
            pytest.param([[1.0, 0.0]], [[1.0, 0.0]], (0.0, 0), id="certain"),
            pytest.param([[1.0, 0.0]], [[0.5, 0.5]], (math.log(2), 0), id="no chance in the reference adds nothing"),
            pytest.param([[0.5, 0.5]], [[1.0, 0.0]], (None, 1), id="a chance lost is infinite"),
            pytest.param([[0.5, 0.5]], [[1.5, -0.5]], (None, 1), id="a negative chance is infinite"),
            pytest.param([[0.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [NAN, 0.5]], (None, 1), id="NaN is infinite"),
            pytest.param([[0.5, 0.4989]], [[0.5, 0.4989]], (None, None), id="does not sum up to 1"),
            pytest.param([[0.5, 0.4999]], [[0.5, 0.4999]], (0.0, 0), id="sums up to 1 as float16 does"),
            pytest.param([[1.5, -0.5]], [[1.5, -0.5]], (None, None), id="negative: logits"),
            pytest.param([[0.5, 0.5], [2.0, 1.0]], [[0.5, 0.5], [2.0, 1.0]], (None, None), id="every row has to be one"),
            pytest.param([[NAN, 1.0]], [[NAN, 1.0]], (None, None), id="NaN in the reference"),
        ],
    )
    def test_is_defined_for_distributions(self, reference: list, candidate: list, expected: tuple) -> None:
        found = compare(reference, candidate).report()
        assert (found["kl_max"], found["kl_infinite"]) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["logits", "probabilities", "a row that is none", "NaN"])
@given(choices=st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_any_split_and_order_is_the_whole_to_the_bit(kind: str, choices: Any) -> None:
    reference, candidate = noisy(40, 8) if kind == "logits" else probabilities(40, 8)
    if kind == "a row that is none":
        reference[choices.randrange(40)] *= 2
    if kind == "NaN":
        reference[3, 2], candidate[5, 1] = NAN, NAN
    cuts = [0, *sorted(choices.sample(range(1, 40), choices.randint(0, 12))), 40]
    parts = [compare(reference[i:j], candidate[i:j]) for i, j in itertools.pairwise(cuts)]
    choices.shuffle(parts)
    merged = functools.reduce(ClassStats.__add__, parts)
    whole = compare(reference, candidate)
    assert merged == whole
    assert ClassStats.from_json(json.loads(json.dumps(merged.to_json(), allow_nan=False))) == whole
    assert merged.report() == whole.report()
