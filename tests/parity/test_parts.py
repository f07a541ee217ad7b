"""Rows, columns and classes: a part of the answers that is lost is not hidden by the rest, and honest noise is not refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liteferry.errors import ReasonCode
from liteferry.parity.class_counts import CLASSES_KEPT, ClassCounts, upper_recall
from liteferry.parity.column_errors import MOST_COLUMNS, ColumnStats
from liteferry.parity.gate_limits import DEFAULT_GATES, resolve_gates
from liteferry.parity.gates import Verdict, judge
from liteferry.parity.output_stats import OutputStats

QUANTIZED = ("dynamic_int8", "int8", "int16x8", "dynamic_int4")


def stats_of(reference: np.ndarray, candidate: np.ndarray) -> OutputStats:
    return OutputStats.compare(reference=reference, candidate=candidate, ids=[str(row) for row in range(len(reference))])


def judged(reference: np.ndarray, candidate: np.ndarray, variant: str = "int8", **kinds: str) -> Verdict:
    gates = resolve_gates(variant, {}, kinds=kinds)
    return judge({"y": stats_of(reference, candidate)}, gates=gates, expected_outputs=["y"])


def missed(verdict: Verdict) -> set[str]:
    return {gate.metric for gate in verdict.gates if not gate.is_within}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noisy(answers: np.ndarray, decibels: float, seed: int = 1) -> np.ndarray:
    """Answers with noise of so many decibels below what varies in each column: what an honest quantisation does."""
    flat = answers.reshape(-1, answers.shape[-1]) if answers.ndim > 1 else answers.reshape(-1, 1)
    spread = flat.std(axis=0)
    noise = rng(seed).normal(size=flat.shape) * spread * 10 ** (-decibels / 20)
    return (flat + noise).reshape(answers.shape)


def barometer() -> np.ndarray:
    return 1013.25 + 2.5 * rng().normal(size=(300, 1))


def detections() -> np.ndarray:
    """16 boxes of 4 pixels and 3 scores a row."""
    boxes = rng(1).uniform(0, 320, size=(200, 16, 4))
    scores = (rng(2).uniform(size=(200, 16, 3)) > 0.9) * 0.95 + 0.02
    return np.concatenate([boxes, scores], axis=-1)


def recordings() -> np.ndarray:
    """Three loud rows in four, the others ten times quieter."""
    loudness = np.where(np.arange(200) % 4 == 0, 0.1, 1.0)
    return rng(3).normal(size=(200, 64)) * loudness[:, None]


def calm_and_storm(quiet: float = 0.001) -> np.ndarray:
    """Four numbers a row: one row in five is loud."""
    loudness = np.where(np.arange(300) % 5 == 0, 1.0, quiet)
    return rng(11).normal(size=(300, 4)) * loudness[:, None]


def mask(share: float = 0.01) -> np.ndarray:
    labels = np.zeros((40, 24, 24), np.int64)
    labels[:, :3, :3] = 2
    labels[rng(4).uniform(size=labels.shape) < share] = 1
    return labels


def logits_of(labels: np.ndarray, classes: int = 3) -> np.ndarray:
    return np.eye(classes)[labels] * 6 + rng(5).normal(size=(*labels.shape, classes)) * 0.3


def without_defects(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == 1, 0, labels)


def classes(rows: int = 400) -> np.ndarray:
    """Logits of ten classes, the last of which is one row in fifty."""
    labels = np.where(np.arange(rows) % 50 == 0, 9, np.arange(rows) % 9)
    return logits_of(labels, 10)


def planted(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "an offset that hides the noise":
        return barometer(), noisy(barometer(), 4)
    if name == "an offset":
        return barometer(), barometer() + 2.0
    if name == "scores that the boxes' scale swallows":
        answers = detections()
        step = answers.max() / 255
        return answers, np.round(answers / step) * step
    if name == "a constant column":
        answers = rng().normal(size=(200, 24))
        broken = answers.copy()
        broken[:, 7] = answers[:, 7].mean()
        return answers, broken
    if name == "two columns swapped":
        answers = rng().normal(size=(200, 24))
        return answers, answers[:, [1, 0, *range(2, 24)]]
    if name == "quiet rows zeroed":
        answers = recordings()
        return answers, np.where(np.abs(answers).max(axis=1, keepdims=True) < 0.6, 0.0, answers)
    if name == "quiet rows of four numbers zeroed":
        answers = calm_and_storm()
        return answers, np.where(np.abs(answers).max(axis=1, keepdims=True) < 0.01, 0.0, answers)
    if name == "one row in fifty wrong":
        answers = rng().normal(size=(200, 64))
        broken = answers.copy()
        broken[::50] = rng(9).normal(size=(4, 64))
        return answers, broken
    if name == "a class that died, as labels at rank 3":
        return mask(), without_defects(mask())
    if name == "a class that died, as scores at rank 4":
        return logits_of(mask()), logits_of(without_defects(mask()))
    if name == "a class that died, beside one that is far below all others":
        answers, broken = (logits_of(labels) / 3 for labels in (mask(), without_defects(mask())))  # 2 ahead, of 500
        return tuple(np.concatenate([side, np.full((*side.shape[:-1], 1), -500.0)], axis=-1) for side in (answers, broken))  # type: ignore[return-value]
    if name == "a class that died, tied with another one":
        answers = logits_of(mask())
        broken = answers.copy()
        broken[..., 1] = np.minimum(answers[..., 1], answers[..., 0])  # of a tie the first one is taken
        broken[mask() == 1, 0] = broken[mask() == 1, 1] = 3.0
        return answers, broken
    if name == "a class that died, as truth values":
        return mask() == 1, np.where(rng().uniform(size=mask().shape) < 0.001, True, False)
    answers = classes()
    broken = answers.copy()
    broken[::50, 9] = -1.0
    return answers, broken


DEFECTS = {
    "an offset that hides the noise": "column_sqnr_db",
    "an offset": "column_sqnr_db",
    "scores that the boxes' scale swallows": "column_sqnr_db",
    "a constant column": "column_sqnr_db",
    "two columns swapped": "column_sqnr_db",
    "quiet rows zeroed": "row_agreement",
    "quiet rows of four numbers zeroed": "row_agreement",
    "one row in fifty wrong": "row_agreement",
    "a class that died, as labels at rank 3": "class_recall",
    "a class that died, as scores at rank 4": "class_recall",
    "a class that died, beside one that is far below all others": "class_recall",
    "a class that died, tied with another one": "class_recall",
    "a class that died, as truth values": "class_recall",
    "a class that died, as logits": "class_recall",
}


@pytest.mark.parametrize("variant", ["dynamic_int8", "int8", "int16x8"])
@pytest.mark.parametrize("name", DEFECTS)
def test_a_lost_part_is_refused(name: str, variant: str) -> None:
    verdict = judged(*planted(name), variant=variant)
    assert verdict.reason is not None
    assert verdict.reason.code is ReasonCode.PARITY_OUT_OF_TOLERANCE
    assert DEFECTS[name] in missed(verdict)


def test_the_rest_would_hide_most_of_them() -> None:
    """The numbers over everything that 0.1.0 judged by: what makes the parts necessary."""
    hidden = ["scores that the boxes' scale swallows", "quiet rows zeroed", "a class that died, as labels at rank 3"]
    for name in hidden:
        missed_by = missed(judged(*planted(name), y="regression"))
        assert not missed_by & {"sqnr_db", "exact_agreement"}, name


HONEST: dict[str, np.ndarray] = {
    "a barometer": barometer(),
    "boxes and scores": detections(),
    "loud and quiet recordings": recordings(),
    "calm and storm": calm_and_storm(0.1),
    "one number, mostly small": np.where(rng(12).uniform(size=(500, 1)) < 0.6, 0.3, 5.0) * rng(13).normal(size=(500, 1)),
    "ten classes": classes(),
    "scores of a mask": logits_of(mask()),
    "one number around zero": rng(6).normal(size=(500, 1)),
    "probabilities of which some never rise": 1 / (1 + np.exp(-rng(7).normal(size=(200, 50)) * 3 + np.linspace(0, 12, 50))),
    "one probability in a vector": rng(8).uniform(size=300),
    "many columns": rng(9).normal(size=(50, 1000)),
}


@pytest.mark.parametrize("variant", ["int8", "int16x8"])
@pytest.mark.parametrize("name", HONEST)
def test_honest_noise_is_blessed(name: str, variant: str) -> None:
    kind = {} if "classes" in name or "mask" in name else {"y": "regression"}
    assert judged(HONEST[name], noisy(HONEST[name], 34), variant=variant, **kind).reason is None


@pytest.mark.parametrize("variant", sorted(DEFAULT_GATES))
@pytest.mark.parametrize("name", HONEST)
def test_what_is_equal_is_blessed(name: str, variant: str) -> None:
    assert judged(HONEST[name], HONEST[name].copy(), variant=variant).reason is None


def test_the_message_names_the_part() -> None:
    labels = judged(*planted("a class that died, as labels at rank 3")).reason
    column = judged(*planted("a constant column"), y="regression").reason
    rows = judged(*planted("quiet rows zeroed"), y="regression").reason
    assert labels is not None
    assert "class 1 keeps 0 of the" in labels.message
    assert column is not None
    assert "entry 7 of the last axis varies by" in column.message
    assert rows is not None
    assert "(50 rows are lost: " in rows.message


class TestKinds:
    """Whether the last axis is one of classes: what the job or the rows say, else (batch, entries) is taken for one."""

    FORECAST = np.cumsum(rng(10).normal(size=(300, 24)), axis=1) + 50
    """24 hours, whose largest one means nothing, and moves with the least noise."""

    def test_where_nothing_tells_the_message_names_the_key(self) -> None:
        verdict = judged(self.FORECAST, noisy(self.FORECAST, 24))
        assert missed(verdict) <= {"argmax_agreement", "class_recall"}
        assert "outputs: {y: {kind: regression}}" in verdict.reason.message  # type: ignore[union-attr]

    def test_a_regression_has_no_classes(self) -> None:
        assert judged(self.FORECAST, noisy(self.FORECAST, 24), y="regression").is_blessed

    def test_classes_are_read_at_any_rank_where_the_job_says_so(self) -> None:
        scores = logits_of(mask())
        assert "argmax_agreement" not in {gate.metric for gate in judged(scores, scores).gates}
        assert "argmax_agreement" in {gate.metric for gate in judged(scores, scores, y="classes").gates}

    def test_a_picture_is_no_map_of_classes(self) -> None:
        """Channels of a grey picture are all but equal: which is largest is noise."""
        picture = rng(11).uniform(size=(40, 16, 16, 1)) + rng(12).normal(size=(40, 16, 16, 3)) * 0.01
        assert judged(picture, picture + rng(13).normal(size=picture.shape) * 0.01).is_blessed

    def test_too_few_positions_are_said_and_not_judged(self) -> None:
        labels = np.array([0] * 100 + [1] * 3)
        found = stats_of(labels, np.zeros_like(labels)).report()
        assert (found["class_recall"], found["classes_too_rare"]) == (1.0, 1)
        assert found["rare_classes"] == ["class 1: 3"]


class TestTies:
    @pytest.mark.parametrize(
        ("reference", "candidate", "agrees"),
        [
            pytest.param([1.0, 1.0, 0.0], [0.9, 1.0, 0.0], True, id="the reference's two largest"),
            pytest.param([1.0, 0.9, 0.0], [1.0, 1.0, 0.0], True, id="the candidate's two largest, the other first"),
            pytest.param([0.9, 1.0, 0.0], [1.0, 1.0, 0.0], True, id="the candidate's two largest"),
            pytest.param([1.0, 1.0 - 1e-8, 0.0], [0.99, 1.0, 0.0], True, id="closer than float32 tells"),
            pytest.param([1.0, 0.999, 0.0], [0.99, 1.0, 0.0], False, id="no tie"),
            pytest.param([1.0, 0.2, 0.0], [0.5, 0.5, 0.5], False, id="a candidate that chooses nothing"),
            pytest.param([0.51, 0.49], [0.5, 0.5], True, id="where the reference hardly chooses"),
            pytest.param([0.0, 0.0, 0.0], [0.0, 0.1, 0.0], True, id="a reference that chooses nothing"),
        ],
    )
    def test_agree(self, reference: list[float], candidate: list[float], agrees: bool) -> None:
        assert stats_of(np.array([reference]), np.array([candidate])).report()["argmax_agreement"] == float(agrees)


class TestColumns:
    def test_equal_direct_computation(self) -> None:
        answers = np.float32(1e4) + rng().normal(size=(500, 3, 7)).astype(np.float32)
        other = answers + rng(1).normal(size=answers.shape).astype(np.float32) * np.float32(0.01)
        wide, error = answers.astype(float), (answers.astype(float) - other.astype(float)) ** 2
        expected = 10 * np.log10(wide.reshape(-1, 7).var(axis=0) / error.reshape(-1, 7).mean(axis=0))
        found = stats_of(answers, other).report()
        assert found["column_sqnr_db"] == pytest.approx(expected.min(), rel=1e-6)
        assert found["worst_column"] == found["worst_column_last"] == expected.argmin()
        assert found["sqnr_db"] == pytest.approx(
            10 * np.log10(wide.reshape(-1, 7).var(axis=0).sum() / error.reshape(-1, 7).mean(axis=0).sum()), rel=1e-6
        )

    @pytest.mark.parametrize("width", [1, MOST_COLUMNS, MOST_COLUMNS + 1, 3 * MOST_COLUMNS])
    def test_are_bounded(self, width: int) -> None:
        answers = rng().normal(size=(20, width))
        found = stats_of(answers, answers).columns
        assert len(found.counts) <= MOST_COLUMNS
        assert sum(found.counts) == answers.size
        assert found.columns()[-1].last == width - 1

    def test_of_different_widths_are_not_mixed(self) -> None:
        wide, narrow = (stats_of(rng().normal(size=(20, width)), rng().normal(size=(20, width))) for width in (5, 4))
        assert wide.merge(narrow).columns == narrow.merge(wide).columns == ColumnStats(width=-1)
        assert wide.merge(narrow).report()["column_sqnr_db"] is None

    def test_what_is_not_finite_does_not_count(self) -> None:
        answers = rng().normal(size=(20, 3))
        answers[4, 1] = np.nan
        assert stats_of(answers, answers).columns.counts == (20, 19, 20)

    @given(choices=st.randoms(use_true_random=False), scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e20]))
    @settings(max_examples=25, deadline=None)
    def test_any_split_and_order_is_the_whole_to_the_bit(self, choices: Any, scale: float) -> None:
        random = rng(choices.randrange(1000))
        answers = random.normal(size=(40, 2, 5)) * scale * 10.0 ** random.integers(-8, 8, size=(40, 2, 5))
        other = answers * (1 + random.normal(size=answers.shape) * 1e-3)
        cuts = sorted(choices.sample(range(1, 40), choices.randrange(1, 6)))
        rows = list(zip([0, *cuts], [*cuts, 40], strict=True))
        choices.shuffle(rows)
        parts = [
            OutputStats.compare(reference=answers[a:b], candidate=other[a:b], ids=[str(row) for row in range(a, b)], first_row=a)
            for a, b in rows
        ]
        merged = OutputStats.empty()
        for part in parts:
            merged = merged.merge(OutputStats.from_json(part.to_json()))
        whole = stats_of(answers, other)
        assert (merged.columns, merged.rows, merged.classes) == (whole.columns, whole.rows, whole.classes)
        assert merged.report() == whole.report()


class TestClassCounts:
    def test_equal_a_count(self) -> None:
        random = rng()
        left, right = random.integers(-5, 5, size=(2, 300))
        found = ClassCounts.of(left, left == right)
        expected = {
            int(name): (int((left == name).sum()), int(((left == name) & (right == name)).sum())) for name in set(left.tolist())
        }
        assert found.counts == expected

    def test_any_integers_are_classes(self) -> None:
        names = np.array([2**63 - 1, -(2**63), 0] * 10)
        assert ClassCounts.of(names, np.ones(30, bool)).counts == dict.fromkeys([2**63 - 1, -(2**63), 0], (10, 10))
        assert ClassCounts.of(names.astype(np.uint64), np.ones(30, bool)).counts[2**63] == (10, 10)

    @given(choices=st.randoms(use_true_random=False))
    @settings(max_examples=5, deadline=None)
    def test_memory_is_bounded_and_any_order_keeps_the_same(self, choices: Any) -> None:
        names = np.arange(CLASSES_KEPT + 500)
        parts = [
            ClassCounts.of(part, np.ones(len(part), bool))
            for part in np.array_split(rng(choices.randrange(9)).permutation(names), 4)
        ]
        choices.shuffle(parts)
        merged = list(itertools.accumulate(parts))[-1]
        assert merged == ClassCounts.of(names, np.ones(len(names), bool))
        assert len(merged.counts) == CLASSES_KEPT
        assert not merged.is_complete

    @pytest.mark.parametrize(
        ("seen", "kept", "above"), [(6, 0, False), (10, 1, False), (10, 2, True), (1000, 460, False), (1000, 480, True)]
    )
    def test_few_positions_get_the_benefit_of_the_doubt(self, seen: int, kept: int, above: bool) -> None:
        assert (upper_recall(seen, kept) >= 0.5) is above
