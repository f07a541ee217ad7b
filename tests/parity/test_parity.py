"""`OutputStats`: the same bits for any split and merge order, and numbers that mean what docs/gates.md says."""

from __future__ import annotations

import functools
import itertools
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liteferry.parity import output_stats
from liteferry.parity.output_stats import OutputStats

NAN, INF = math.nan, math.inf
REPORT_KEYS = {
    "kind",
    "rank",
    "compared_count",
    "column_sqnr_db",
    "worst_column",
    "worst_column_last",
    "worst_column_spread",
    "worst_column_rmse",
    "columns_judged",
    "row_agreement",
    "rows_lost",
    "class_recall",
    "worst_class",
    "worst_class_positions",
    "worst_class_kept",
    "classes_judged",
    "classes_too_rare",
    "classes_lost",
    "rare_classes",
    "example_count",
    "element_count",
    "max_abs",
    "mean_abs",
    "rmse",
    "max_rel",
    "sqnr_db",
    "cosine",
    "argmax_agreement",
    "nonfinite_reference",
    "nonfinite_candidate",
    "nonfinite_mismatch",
    "p50_abs",
    "p90_abs",
    "p99_abs",
    "p999_abs",
    "error_histogram",
    "max_rel_elementwise",
    "p50_rel",
    "p90_rel",
    "p99_rel",
    "p999_rel",
    "topk",
    "topk_agreement",
    "flip_count",
    "flips",
    "flip_pairs",
    "kl_mean",
    "kl_max",
    "kl_infinite",
    "mismatch_count",
    "exact_agreement",
    "constant_reference",
    "constant_candidate",
    "same_rows_reference",
    "same_rows_candidate",
    "zero_reference",
    "zero_candidate",
    "max_abs_reference",
}


def compare(reference: Any, candidate: Any, *, first_row: int = 0, dtype: Any = None) -> OutputStats:
    reference, candidate = np.asarray(reference, dtype=dtype), np.asarray(candidate, dtype=dtype)
    ids = [f"id-{first_row + row}" for row in range(len(reference))]
    return OutputStats.compare(reference=reference, candidate=candidate, ids=ids, first_row=first_row)


def report(reference: Any, candidate: Any, *, dtype: Any = None) -> dict[str, Any]:
    return compare(reference, candidate, dtype=dtype).report()


def noisy_pair(shape: tuple[int, ...], dtype: str, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes over 12 decades, some elements equal, some not finite on one side or on both."""
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind in "iu":
        return tuple(random.integers(0, 3, size=(2, *shape)).astype(dtype))
    reference = random.normal(size=shape) * 10.0 ** random.integers(-6, 6, size=shape)
    candidate = reference + random.normal(size=shape) * 1e-3
    candidate[random.random(shape) < 0.2] = 0.0
    for side in (reference, candidate):
        side[random.random(shape) < 0.02] = NAN
    both = random.random(shape) < 0.02
    reference[both], candidate[both] = INF, INF
    with np.errstate(over="ignore"):
        return reference.astype(dtype), candidate.astype(dtype)


class TestSameBits:
    """Promise 6: the same numbers for any number of workers, shards, batch splits and merge orders."""

    @pytest.mark.parametrize("shape", [(23,), (23, 1), (23, 7), (23, 5, 3), (23, 130)], ids=str)
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8"])
    @given(choices=st.randoms(use_true_random=False))
    @settings(max_examples=6, deadline=None)
    def test_for_any_split_and_merge_order(self, shape: tuple[int, ...], dtype: str, choices) -> None:
        reference, candidate = noisy_pair(shape, dtype)
        cuts = [0, *sorted(choices.sample(range(1, 23), choices.randint(0, 10))), 23]
        parts = [compare(reference[i:j], candidate[i:j], first_row=i) for i, j in itertools.pairwise(cuts)]
        choices.shuffle(parts)
        while len(parts) > 1:  # a random tree, not a chain
            parts.append(parts.pop(choices.randrange(len(parts))).merge(parts.pop(choices.randrange(len(parts)))))
            choices.shuffle(parts)
        whole = compare(reference, candidate)
        assert parts[0] == whole
        assert json.dumps(parts[0].to_json()) == json.dumps(whole.to_json())
        assert json.dumps(parts[0].report()) == json.dumps(whole.report())

    @pytest.mark.parametrize("block", [1, 7, 100])
    def test_for_any_internal_block_size(self, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
        pair = noisy_pair((40, 9), "float32")
        whole = compare(*pair)
        monkeypatch.setattr(output_stats, "BLOCK_ELEMENTS", block)
        assert compare(*pair) == whole

    def test_for_any_memory_layout(self) -> None:
        reference, candidate = noisy_pair((40, 9), "float32")
        assert compare(np.asfortranarray(reference), candidate[:, ::-1][:, ::-1]) == compare(reference, candidate)

    def test_for_zeros_of_either_sign(self) -> None:
        negative, positive = compare([-0.0], [-0.0]), compare([0.0], [0.0])
        assert json.dumps(negative.merge(positive).to_json()) == json.dumps(positive.merge(negative).to_json())

    def test_a_plain_float_sum_would_fail_this(self) -> None:
        rows = np.random.default_rng(0).normal(size=1000)
        assert functools.reduce(lambda total, row: total + row, rows) != functools.reduce(
            lambda total, row: total + row, rows[::-1]
        )

    def test_empty_changes_nothing(self) -> None:
        stats = compare([1.0], [2.0])
        assert stats.merge(OutputStats.empty()) == OutputStats.empty().merge(stats) == stats

    @pytest.mark.parametrize(
        "stats",
        [
            pytest.param(OutputStats.empty(), id="empty"),
            pytest.param(compare(*noisy_pair((9, 4), "float32")), id="noisy"),
            pytest.param(compare([0.1, 1e-320], [0.2, -0.0]), id="subnormal"),
            pytest.param(compare([1.7e308], [-1.7e308]), id="overflow"),
            pytest.param(compare([2**63 - 1], [-(2**63)]), id="int64"),
            pytest.param(compare(["a"], ["b"]), id="text"),
        ],
    )
    def test_json_and_pickle_keep_every_bit(self, stats: OutputStats) -> None:
        through_json = OutputStats.from_json(json.loads(json.dumps(stats.to_json(), allow_nan=False)))
        assert through_json == pickle.loads(pickle.dumps(stats)) == stats
        assert json.dumps(through_json.to_json()) == json.dumps(stats.to_json())


class TestReport:
    def test_has_the_keys_that_tools_rely_on(self) -> None:
        assert set(report([1.0], [1.0])) == set(OutputStats.empty().report()) == REPORT_KEYS

    @pytest.mark.parametrize(
        "pair", [([], []), ([NAN], [INF]), ([1.7e308], [-1.7e308]), ([1e200], [1.0]), (["a"], ["b"])], ids=str
    )
    def test_is_json_without_nan_or_infinity(self, pair: tuple[list, list]) -> None:
        json.dumps(report(*pair), allow_nan=False)

    def test_equals_direct_computation(self) -> None:
        random = np.random.default_rng(3)
        reference = random.normal(size=(50, 10))
        candidate = reference + random.normal(size=(50, 10)) * 0.01
        difference = np.abs(reference - candidate)
        measured = report(reference, candidate)
        expected = {
            "max_abs": difference.max(),
            "mean_abs": difference.mean(),
            "rmse": np.sqrt((difference**2).mean()),
            "max_rel": difference.max() / np.abs(reference).max(),
            "max_abs_reference": np.abs(reference).max(),
            "sqnr_db": 10 * np.log10(((reference - reference.mean(axis=0)) ** 2).sum() / (difference**2).sum()),
            "cosine": (reference * candidate).sum() / np.linalg.norm(reference) / np.linalg.norm(candidate),
            "argmax_agreement": (reference.argmax(1) == candidate.argmax(1)).mean(),
        }
        assert {name: measured[name] for name in expected} == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize(
        ("reference", "candidate", "expected"),
        [
            pytest.param([3.0, 4.0], [3.0, 4.0], {"max_abs": 0, "max_rel": 0, "cosine": 1, "sqnr_db": None}, id="equal"),
            pytest.param([0.0, 0.0], [0.0, -0.0], {"max_rel": 0, "cosine": None, "mismatch_count": 0}, id="all zero"),
            pytest.param([0.0, 0.0], [1.0, 0.0], {"max_rel": None, "cosine": None, "sqnr_db": None}, id="no signal"),
            pytest.param([1.0, 2.0], [-1.0, -2.0], {"cosine": -1, "max_rel": 2}, id="opposite"),
            pytest.param([1e-9, 100.0], [2e-9, 100.0], {"max_rel": 1e-11}, id="an element near zero does not decide"),
            pytest.param([1e200] * 2, [0.9e200] * 2, {"rmse": None, "cosine": None, "mean_abs": None}, id="squares overflow"),
            pytest.param([1.7e308], [-1.7e308], {"max_abs": None, "max_rel": None, "p99_abs": None}, id="difference overflows"),
        ],
    )
    def test_at_the_edges(self, reference: list[float], candidate: list[float], expected: dict[str, Any]) -> None:
        measured = report(reference, candidate)
        assert {name: measured[name] for name in expected} == pytest.approx(expected)

    def test_nothing_seen_has_no_metric(self) -> None:
        values = OutputStats.empty().report()
        assert {name for name, value in values.items() if value not in (0, False, [])} == {
            name for name, value in values.items() if value is None
        }

    @pytest.mark.parametrize(("name", "per_mille"), [("p50", 500), ("p90", 900), ("p99", 990), ("p999", 999)])
    def test_percentiles_are_an_upper_bound_within_one_percent(self, name: str, per_mille: int) -> None:
        errors = np.random.default_rng(1).lognormal(sigma=4, size=10_000)
        exact = np.sort(errors)[len(errors) * per_mille // 1000 - 1]
        assert exact <= report(np.zeros(10_000), errors)[f"{name}_abs"] <= exact * 1.01
        relative = report(np.ones(10_000), 1.0 + errors)[f"{name}_rel"]
        assert exact * (1 - 1e-9) <= relative <= exact * 1.01
        assert np.quantile(errors, per_mille / 1000, method="inverted_cdf") == exact

    def test_percentiles_count_equal_elements_and_never_exceed_the_maximum(self) -> None:
        measured = report(np.zeros(4), [0.0, 0.0, 0.0, 0.3])
        assert (measured["p50_abs"], measured["p99_abs"]) == (0.0, 0.3)

    def test_percentiles_over_more_than_32_binades(self) -> None:
        assert report(np.zeros(5), [1e-300, 1e-300, 1e-300, 0.0, 1.0])["p50_abs"] == pytest.approx(1e-300, rel=0.01)


class TestRelativeError:
    """Element by element: |difference| / |reference|."""

    @pytest.mark.parametrize(
        ("reference", "candidate", "expected"),
        [
            pytest.param([1e-9, 100.0], [2e-9, 100.0], 1.0, id="an element near zero decides"),
            pytest.param([4.0, -8.0], [5.0, -10.0], 0.25, id="signs do not matter"),
            pytest.param([0.0, 2.0], [0.0, 2.0], 0.0, id="0/0 is 0"),
            pytest.param([0.0, 2.0], [1e-30, 2.0], None, id="x/0 has no value"),
            pytest.param([NAN, 2.0], [NAN, 3.0], 0.5, id="what is not finite does not enter"),
            pytest.param([5e-324, 1.0], [1.0, 1.0], None, id="beyond float64"),
        ],
    )
    def test_largest(self, reference: list[float], candidate: list[float], expected: float | None) -> None:
        assert report(reference, candidate)["max_rel_elementwise"] == expected

    def test_of_integers(self) -> None:
        assert report([10, -4], [11, -4], dtype="int32")["max_rel_elementwise"] == 0.1

    def test_quantiles_below_an_infinite_one_have_values(self) -> None:
        measured = report(np.r_[np.zeros(1), np.ones(99)], np.r_[1.0, np.full(99, 1.5)])
        assert (measured["p50_rel"], measured["p90_rel"], measured["p999_rel"]) == (pytest.approx(0.5, rel=0.01),) * 2 + (None,)


class TestErrorHistogram:
    def test_counts_every_power_of_two_as_numpy_does(self) -> None:
        errors = np.r_[np.zeros(7), np.random.default_rng(2).uniform(2.0**-9, 4.0, size=500)]
        bins = report(np.zeros(507), errors)["error_histogram"]
        assert bins[0] == {"from": 0.0, "to": 0.0, "count": 7}
        edges = [bins[1]["from"], *(one["to"] for one in bins[1:])]
        assert [one["count"] for one in bins[1:]] == np.histogram(errors[7:], bins=edges)[0].tolist()
        assert all(math.log2(one["to"] / one["from"]) == 1 for one in bins[1:])

    def test_lists_at_most_26_bins_and_loses_nothing(self) -> None:
        errors = np.concatenate([[0.0], 2.0 ** np.arange(-1000.0, 1000.0)])
        bins = report(np.zeros(2001), errors)["error_histogram"]
        assert (len(bins), sum(one["count"] for one in bins)) == (26, 2001)
        assert [bins[1]["from"], bins[1]["to"], bins[-1]["to"]] == [0.0, 2.0**976, 2.0**1000]

    def test_a_difference_beyond_float64_has_no_upper_edge(self) -> None:
        assert report([1.7e308], [-1.7e308])["error_histogram"] == [{"from": None, "to": None, "count": 1}]


class TestNonFinite:
    @pytest.mark.parametrize(
        ("reference", "candidate", "expected"),
        [
            pytest.param([1.0, NAN], [1.0, 2.0], (1, 0, 1), id="NaN in the reference"),
            pytest.param([1.0, 2.0], [1.0, NAN], (0, 1, 1), id="NaN in the candidate"),
            pytest.param([1.0, NAN], [1.0, NAN], (1, 1, 0), id="NaN on both"),
            pytest.param([1.0, NAN], [1.0, INF], (1, 1, 1), id="NaN against infinity"),
            pytest.param([1.0, INF], [1.0, INF], (1, 1, 0), id="infinity on both"),
            pytest.param([1.0, INF], [1.0, -INF], (1, 1, 1), id="infinities of opposite sign"),
        ],
    )
    def test_is_counted(self, reference: list[float], candidate: list[float], expected: tuple[int, int, int]) -> None:
        measured = report(reference, candidate)
        counts = tuple(measured[f"nonfinite_{side}"] for side in ("reference", "candidate", "mismatch"))
        assert (counts, measured["mismatch_count"], measured["max_abs"]) == (expected, expected[2], 0.0)

    def test_never_enters_a_difference(self) -> None:
        measured = report([[1.0, NAN], [5.0, 3.0]], [[2.0, 7.0], [INF, 3.0]])
        assert (measured["max_abs"], measured["mean_abs"], measured["p50_abs"]) == (1.0, 0.5, 0.0)

    def test_never_counts_as_a_difference_of_zero(self) -> None:
        assert report([NAN, NAN, 0.0], [NAN, INF, 1.0])["p50_abs"] == 1.0

    def test_float16_overflow_is_a_mismatch_not_a_big_number(self) -> None:
        with np.errstate(over="ignore"):
            measured = report(np.array([7e4], "float32"), np.array([7e4]).astype("float16"))
        assert (measured["nonfinite_mismatch"], measured["max_abs"]) == (1, None)


class TestDtypes:
    @pytest.mark.parametrize(
        ("reference", "candidate", "dtype", "max_abs"),
        [
            pytest.param([0], [255], "uint8", 255.0, id="uint8 does not wrap"),
            pytest.param([-128], [127], "int8", 255.0, id="int8 does not wrap"),
            pytest.param([2**53], [2**53 + 1], "int64", 1.0, id="int64 beyond 2**53"),
            pytest.param([-(2**63)], [2**63 - 1], "int64", 2.0**64, id="int64 does not overflow"),
            pytest.param([2**64 - 1], [2**64 - 2], "uint64", 1.0, id="uint64"),
            pytest.param([True, False], [True, True], "bool", 1.0, id="bool"),
        ],
    )
    def test_integers_are_compared_exactly(self, reference: list[int], candidate: list[int], dtype: str, max_abs: float) -> None:
        measured = report(reference, candidate, dtype=dtype)
        assert (measured["max_abs"], measured["mismatch_count"], measured["argmax_agreement"]) == (max_abs, 1, None)

    def test_integers_of_different_width_are_compared_by_value(self) -> None:
        measured = compare(np.array([2**64 - 1, 3], "uint64"), np.array([-1, 3], "int64")).report()
        assert (measured["mismatch_count"], measured["max_abs"]) == (1, 2.0**64)

    def test_one_wrong_integer_of_many_is_counted(self) -> None:
        measured = report(np.zeros((10, 10), int), np.eye(10, dtype=int) * [1] + np.zeros((10, 10), int))
        assert (measured["mismatch_count"], measured["exact_agreement"]) == (10, 0.9)

    def test_bfloat16_is_widened(self) -> None:
        ml_dtypes = pytest.importorskip("ml_dtypes")
        assert compare(np.array([1.0], "float32"), np.array([1.5], ml_dtypes.bfloat16)).report()["max_abs"] == 0.5

    def test_complex_counts_as_two_elements(self) -> None:
        measured = report([[1 + 2j, 3j]], [[1 + 2j, 4j]])
        assert (measured["element_count"], measured["max_abs"], measured["argmax_agreement"]) == (4, 1.0, None)

    def test_a_worst_example_holds_both_answers_or_their_largest_entries(self) -> None:
        (example,) = compare([[1.0, 2.0]], [[1.0, np.nan]]).worst_examples()
        assert (example["reference"], example["candidate"]) == (["1", "2"], ["1", "nan"])
        long = np.zeros((1, 17))
        long[0, [3, 9, 12]] = [0.5, 0.25, 0.125]
        (example,) = compare(long, np.ones((1, 17))).worst_examples()
        assert example["reference"] == ["3: 0.5", "9: 0.25", "12: 0.125"]
        assert example["candidate"] == ["0: 1", "1: 1", "2: 1"], "equal ones in their order"

    @pytest.mark.parametrize("dtype", [str, bytes, object])
    def test_text_is_compared_for_equality_only(self, dtype: type) -> None:
        texts = [["cat", "dog"], ["cat", "eel"]]
        other = [["cat", "dog"], ["cat", "emu"]]
        measured = report(texts, other, dtype=dtype)
        assert (measured["mismatch_count"], measured["max_abs"], measured["cosine"]) == (1, None, None)
        answers = {"reference": ["cat", "eel"], "candidate": ["cat", "emu"]}
        assert compare(texts, other, dtype=dtype).worst_examples() == [{"id": "id-1", "row": 1, "max_abs": None, **answers}]

    def test_str_and_its_bytes_are_the_same_text(self) -> None:
        assert report(np.array(["käse"]), np.array(["käse".encode()], dtype=object))["mismatch_count"] == 0


class TestArgmax:
    @pytest.mark.parametrize(
        ("reference", "candidate", "expected"),
        [
            pytest.param([[0.1, 0.9], [0.8, 0.2]], [[0.2, 0.8], [0.4, 0.6]], 0.5, id="one of two"),
            pytest.param([[[0.0, 1.0], [1.0, 0.0]]], [[[0.0, 1.0], [0.0, 1.0]]], 0.5, id="positions of a sequence"),
            pytest.param([[0.5, 0.5]], [[0.5, 0.5]], 1.0, id="a tie goes to the first on both sides"),
            pytest.param([[NAN, 1.0]], [[NAN, 1.0]], 1.0, id="equal with NaN"),
            pytest.param([[NAN, 1.0]], [[NAN, 2.0]], 0.0, id="NaN on both, not equal"),
            pytest.param([[1.0, 0.0]], [[1.0, NAN]], 0.0, id="NaN on one side"),
            pytest.param([[1.0, -INF]], [[1.1, -INF]], 1.0, id="masked on both sides"),
            pytest.param([[1.0, 2.0, -INF]], [[1.0, 2.0, -1e9]], 0.0, id="masked on one side"),
            pytest.param([1.0, 2.0], [1.0, 2.0], None, id="rank 1 has no classes"),
            pytest.param([[1.0], [2.0]], [[1.0], [2.0]], None, id="one class is none"),
        ],
    )
    def test_agreement(self, reference: list, candidate: list, expected: float | None) -> None:
        assert report(reference, candidate)["argmax_agreement"] == expected


class TestConstant:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            pytest.param([[1.0, 1.0], [1.0, 1.0]], True, id="one value"),
            pytest.param([[1.0, NAN], [1.0, 1.0]], True, id="one finite value"),
            pytest.param([[0.0], [-0.0]], True, id="zeros of either sign"),
            pytest.param([[1.0], [2.0]], False, id="two values"),
            pytest.param([[1.0, 1.0]], False, id="one example says nothing"),
            pytest.param([[NAN], [NAN]], False, id="no finite value"),
            pytest.param([2**53, 2**53 + 1], False, id="neighbours beyond 2**53"),
        ],
    )
    def test_needs_one_value_over_two_examples(self, values: list, expected: bool) -> None:
        other = np.arange(np.size(values)).reshape(np.shape(values)).astype(np.asarray(values).dtype)
        assert report(values, other)["constant_reference"] is expected
        assert report(other, values)["constant_candidate"] is expected

    def test_holds_over_batches(self) -> None:
        assert compare([[1.0]], [[1.0]]).merge(compare([[1.0]], [[2.0]])).report()["constant_reference"]
        assert not compare([[1.0]], [[1.0]]).merge(compare([[1.0]], [[2.0]])).report()["constant_candidate"]


class TestSameRows:
    """One same vector for every row is what a collapsed variant answers, whatever the vector."""

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            pytest.param([[1.0, 2.0]] * 3, True, id="one vector"),
            pytest.param([[1.0, 2.0], [1.0, 2.0], [1.0, 2.5]], False, id="the last differs"),
            pytest.param([[1.0, 2.0], [1.0, 2.5], [1.0, 2.0]], False, id="one in the middle differs"),
            pytest.param([[0.0, NAN], [-0.0, NAN]], True, id="zeros of either sign, NaN in one place"),
            pytest.param([[1.0, 2.0]], False, id="one example says nothing"),
            pytest.param(np.zeros((3, 0)), False, id="no elements"),
            pytest.param([[1, 2], [1, 2]], True, id="integers"),
            pytest.param([[2**53], [2**53 + 1]], False, id="neighbours beyond 2**53"),
            pytest.param([["a", "b"], ["a", "b"]], True, id="text"),
            pytest.param([["a", "b"], ["ab", ""]], False, id="text that joins alike"),
        ],
    )
    def test_is_seen_over_any_batches(self, rows: Any, expected: bool) -> None:
        rows = np.asarray(rows)
        measured = report(rows, rows)
        assert (measured["same_rows_reference"], measured["same_rows_candidate"]) == (expected, expected)
        parts = [compare(rows[i : i + 1], rows[i : i + 1], first_row=i) for i in range(len(rows))]
        for order in (parts, parts[::-1]):
            assert functools.reduce(OutputStats.merge, order).report() == measured

    def test_rows_of_different_shapes_are_different(self) -> None:
        short, long = compare([[1.0]], [[1.0]]), compare([[1.0, 1.0]], [[1.0, 1.0]])
        assert not short.merge(long).report()["same_rows_candidate"]

    @pytest.mark.parametrize(
        ("values", "expected"), [([0.0, -0.0], True), ([0.0, 1e-320], False), ([0, 0], True), ([NAN], False), ([0.0, NAN], True)]
    )
    def test_all_zeros_are_said(self, values: list, expected: bool) -> None:
        assert report(values, values)["zero_candidate"] is expected


class TestWorstExamples:
    def test_are_the_five_rows_with_the_largest_error(self) -> None:
        stats = compare(np.zeros((8, 1)), np.array([[3.0], [7], [1], [0], [7], [2], [9], [5]]), first_row=100)
        assert [(worst["id"], worst["row"], worst["max_abs"]) for worst in stats.worst_examples()] == [
            ("id-106", 106, 9.0),
            ("id-101", 101, 7.0),
            ("id-104", 104, 7.0),  # a tie goes to the lower row
            ("id-107", 107, 5.0),
            ("id-100", 100, 3.0),
        ]

    def test_non_finite_mismatches_come_first(self) -> None:
        assert [worst["row"] for worst in compare([[0.0], [1.0], [2.0]], [[9.0], [NAN], [2.0]]).worst_examples()] == [1, 0]

    def test_rows_that_agree_are_left_out(self) -> None:
        assert compare([1.0, NAN], [1.0, NAN]).worst_examples() == []


class TestWhatCannotBeCompared:
    @pytest.mark.parametrize(
        ("reference", "candidate", "message"),
        [
            pytest.param(np.zeros((2, 3)), np.zeros((2, 4)), r"shape \(2, 3\), the candidate \(2, 4\)", id="shapes"),
            pytest.param(np.zeros((2, 1)), np.zeros(2), r"shape \(2, 1\), the candidate \(2,\)", id="no broadcasting"),
            pytest.param(np.zeros(3), np.zeros(2), r"shape \(3,\), the candidate \(2,\)", id="example counts"),
            pytest.param(np.float64(1), np.float64(1), r"examples first", id="scalars"),
            pytest.param(np.zeros(2), np.zeros(2, int), "dtype float64, the candidate int64", id="float against integer"),
            pytest.param(np.zeros(2), np.array(["a", "b"]), "dtype float64, the candidate <U1", id="float against text"),
            pytest.param(
                np.zeros(2), np.zeros(2, complex), "dtype float64, the candidate complex128", id="float against complex"
            ),
        ],
    )
    def test_raises_naming_both(self, reference: np.ndarray, candidate: np.ndarray, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            OutputStats.compare(reference=reference, candidate=candidate, ids=["a"] * np.size(reference), first_row=0)

    def test_ids_must_name_every_example(self) -> None:
        with pytest.raises(ValueError, match="1 ids for 2 examples"):
            OutputStats.compare(reference=np.zeros(2), candidate=np.zeros(2), ids=["a"], first_row=0)

    def test_statistics_of_different_outputs_do_not_merge(self) -> None:
        with pytest.raises(ValueError, match="rank 1 float output with those of a rank 2 integer output"):
            compare([1.0], [1.0]).merge(compare([[1]], [[1]]))

    @pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0,)], ids=str)
    def test_no_elements_are_no_error_and_no_proof(self, shape: tuple[int, ...]) -> None:
        measured = report(np.zeros(shape), np.zeros(shape))
        assert (measured["example_count"], measured["element_count"], measured["max_abs"]) == (shape[0], 0, None)
