"""The gate is closed by default: every defect is planted once and must be refused, with its reason and its way out."""

from __future__ import annotations

import json
import math
import pathlib
import pickle
import re
from typing import Any, ClassVar

import numpy as np
import pytest

from liteferry.errors import ReasonCode, Stage
from liteferry.parity.gate_limits import NOISE_CAPS, NOISE_MULTIPLE
from liteferry.parity.gates import DEFAULT_GATES, METRICS, Gates, Verdict, judge, resolve_gates
from liteferry.parity.output_stats import OutputStats

NAN, INF = math.nan, math.inf
RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(200, 10))
DOCS = pathlib.Path(__file__).parents[2] / "docs" / "gates.md"


def stats_of(reference: Any, candidate: Any) -> OutputStats:
    reference, candidate = np.asarray(reference), np.asarray(candidate)
    ids = [f"id-{row}" for row in range(len(reference))]
    return OutputStats.compare(reference=reference, candidate=candidate, ids=ids, first_row=0)


def verdict(reference: Any, candidate: Any, *, variant: str = "float32", **user_gates: float | None) -> Verdict:
    stats = {"y": stats_of(reference, candidate)}
    return judge(stats, gates=resolve_gates(variant, {variant: user_gates}), expected_outputs=["y"])


def refusal(judged: Verdict) -> tuple[ReasonCode, str]:
    assert not judged.is_blessed
    assert judged.reason is not None
    assert judged.reason.stage is Stage.JUDGE
    return judged.reason.code, judged.reason.message


class TestBlessed:
    @pytest.mark.parametrize("variant", sorted(DEFAULT_GATES))
    @pytest.mark.parametrize(
        "output",
        [
            pytest.param(LOGITS, id="classes"),
            pytest.param(LOGITS[:, 0], id="one number"),
            pytest.param(LOGITS[:1], id="one example"),
            pytest.param(np.zeros((5, 3)), id="zeros"),
            pytest.param(np.arange(6), id="integers"),
            pytest.param(np.array(["a", "b"]), id="text"),
            pytest.param(np.array([1.0, NAN]), id="NaN in the same place"),
        ],
    )
    def test_equal_outputs_meet_the_defaults_of_every_variant(self, variant: str, output: np.ndarray) -> None:
        judged = verdict(output, output, variant=variant)
        assert judged.is_blessed
        assert judged.reason is None
        assert judged.gates  # by a gate, not for want of one

    @pytest.mark.parametrize(
        ("variant", "noise"),
        [("saved_model", 1e-7), ("float32", 1e-6), ("float16", 1e-4), ("dynamic_int8", 3e-3), ("int8", 3e-3)],
    )
    def test_the_usual_noise_of_a_variant_meets_its_defaults(self, variant: str, noise: float) -> None:
        assert verdict(LOGITS, LOGITS + noise * RANDOM.normal(size=LOGITS.shape), variant=variant).is_blessed

    def test_equal_outputs_meet_a_gate_on_a_ratio_without_noise(self) -> None:
        judged = verdict(LOGITS, LOGITS, sqnr_db=60.0)
        result = next(result for result in judged.gates if result.metric == "sqnr_db")
        assert (judged.is_blessed, result.observed, result.is_within) == (True, None, True)


class TestBuiltInRules:
    """They hold although every default gate is removed."""

    @pytest.fixture
    def no_gates(self) -> Gates:
        gates = resolve_gates("int8", {"int8": dict.fromkeys(DEFAULT_GATES["int8"])})
        assert not gates
        return gates

    @pytest.mark.parametrize(
        ("reference", "candidate", "code", "words"),
        [
            pytest.param(
                np.zeros((0, 3)), np.zeros((0, 3)), ReasonCode.SAMPLES_EMPTY, "no example was compared", id="zero examples"
            ),
            pytest.param(np.zeros((4, 0)), np.zeros((4, 0)), ReasonCode.SAMPLES_EMPTY, "has no elements", id="zero elements"),
            pytest.param([1.0, 2.0], [1.0, NAN], ReasonCode.PARITY_NONFINITE, "1 of 2 elements", id="NaN in the candidate"),
            pytest.param([1.0, NAN], [1.0, 2.0], ReasonCode.PARITY_NONFINITE, "1 in the reference", id="NaN in the reference"),
            pytest.param([1.0, INF], [1.0, -INF], ReasonCode.PARITY_NONFINITE, "not in the same way", id="infinities"),
            pytest.param([NAN, INF], [NAN, INF], ReasonCode.PARITY_NONFINITE, "nothing was compared", id="nothing finite"),
            pytest.param([1.0, 2.0], [1.5, 1.5], ReasonCode.PARITY_OUT_OF_TOLERANCE, "one same value", id="collapsed to a value"),
            pytest.param([1.0, 2.0], [0.0, 0.0], ReasonCode.PARITY_OUT_OF_TOLERANCE, "answers zero", id="collapsed to zero"),
            pytest.param(
                [[1.0, 2.0], [2.0, 1.0]], [[1.5, 1.4]] * 2, ReasonCode.PARITY_OUT_OF_TOLERANCE, "one same row", id="to a row"
            ),
            pytest.param(["a", "b"], ["a", "a"], ReasonCode.PARITY_OUT_OF_TOLERANCE, "one same row", id="collapsed to a word"),
        ],
    )
    def test_refuse(self, reference: Any, candidate: Any, code: ReasonCode, words: str, no_gates: Gates) -> None:
        seen, message = refusal(judge({"y": stats_of(reference, candidate)}, gates=no_gates, expected_outputs=["y"]))
        assert seen is code
        assert "'y'" in message
        assert words in message

    @pytest.mark.parametrize(
        ("stats", "expected", "code", "words"),
        [
            pytest.param({}, [], ReasonCode.SAMPLES_EMPTY, "nothing was compared", id="no outputs at all"),
            pytest.param({}, ["y"], ReasonCode.SAMPLES_EMPTY, "no example was compared for 'y'", id="no statistics"),
            pytest.param({"y": OutputStats.empty()}, ["y"], ReasonCode.SAMPLES_EMPTY, "no example", id="empty statistics"),
            pytest.param(
                {"y": stats_of([1.0], [1.0])},
                ["y", "z"],
                ReasonCode.PARITY_OUT_OF_TOLERANCE,
                "'z' is missing",
                id="missing output",
            ),
            pytest.param(
                {"y": stats_of([1.0], [1.0]), "z": stats_of([1.0] * 2, [1.0] * 2)},
                ["y", "z"],
                ReasonCode.PARITY_OUT_OF_TOLERANCE,
                "different numbers of examples",
                id="a lost batch",
            ),
        ],
    )
    def test_refuse_what_is_incomplete(
        self, stats: dict[str, OutputStats], expected: list[str], code: ReasonCode, words: str, no_gates: Gates
    ) -> None:
        seen, message = refusal(judge(stats, gates=no_gates, expected_outputs=expected))
        assert seen is code
        assert words in message

    def test_a_reference_that_is_constant_too_is_not_a_collapse(self, no_gates: Gates) -> None:
        assert judge({"y": stats_of([1.0, 1.0], [1.1, 1.1])}, gates=no_gates, expected_outputs=["y"]).is_blessed

    def test_an_output_that_nobody_expected_is_judged_too(self) -> None:
        stats = {"y": stats_of([1.0], [1.0]), "extra": stats_of([1.0], [2.0])}
        assert "'extra'" in refusal(judge(stats, gates=resolve_gates("float32", {}), expected_outputs=["y"]))[1]


class TestGates:
    """Each default gate refuses its defect."""

    @pytest.mark.parametrize(
        ("variant", "reference", "candidate", "metric"),
        [
            pytest.param("saved_model", [1.0, 2.0], [1.0, 2.0001], "max_rel", id="saved_model"),
            pytest.param("float32", [1.0, 2.0], [1.0, 2.001], "max_rel", id="float32"),
            pytest.param("float32", [1, 2], [1, 3], "mismatch_count", id="float32, integers"),
            pytest.param("saved_model", ["a", "b"], ["a", "c"], "mismatch_count", id="saved_model, text"),
            pytest.param("float16", [1.0, 2.0], [1.0, 2.1], "max_rel", id="float16"),
            pytest.param("float16", [[1.0, 1.001]] * 2, [[1.002, 1.001]] * 2, "argmax_agreement", id="float16, flipped class"),
            pytest.param("dynamic_int8", [1.0, -2.0], [2.0, -1.0], "sqnr_db", id="dynamic_int8"),
            pytest.param("int8", [1, 2, 3], [1, 2, 4], "exact_agreement", id="int8, integers"),
            pytest.param("int8", LOGITS, LOGITS[:, ::-1], "argmax_agreement", id="int8, classes reversed"),
            pytest.param("int16x8", LOGITS, np.roll(LOGITS, 1, axis=0), "sqnr_db", id="int16x8, rows shifted"),
            pytest.param("dynamic_int4", LOGITS, -LOGITS, "sqnr_db", id="dynamic_int4, sign lost"),
            pytest.param("weight_only_int4", ["a"], ["b"], "exact_agreement", id="weight_only_int4, text"),
        ],
    )
    def test_default(self, variant: str, reference: Any, candidate: Any, metric: str) -> None:
        judged = verdict(reference, candidate, variant=variant)
        assert refusal(judged)[0] is ReasonCode.PARITY_OUT_OF_TOLERANCE
        assert metric in [result.metric for result in judged.gates if not result.is_within]

    @pytest.mark.parametrize("metric", sorted(METRICS))
    def test_every_metric_can_be_gated_and_can_fail(self, metric: str) -> None:
        reference = [[0.4, 0.3, 0.15, 0.05, 0.05, 0.05], [0.05, 0.05, 0.05, 0.15, 0.3, 0.4]] * 6
        candidate = [[0.05, 0.3, 0.4, 0.05, 0.05, 0.15], [0.1] * 6] * 6
        loose, strict = (1e9, -1.0) if METRICS[metric] == "max" else (-1e9, 1e9)
        only: dict[str, Any] = dict.fromkeys(DEFAULT_GATES["float32"])
        assert verdict(reference, candidate, **{**only, metric: loose}).is_blessed
        assert metric in refusal(verdict(reference, candidate, **{**only, metric: strict}))[1]

    @pytest.mark.parametrize(("limit", "is_blessed"), [(0.5, True), (0.4999, False)])
    def test_a_limit_is_within(self, limit: float, is_blessed: bool) -> None:
        assert verdict([1.0, 2.0], [1.0, 2.5], max_rel=None, max_abs=limit).is_blessed is is_blessed

    def test_results_name_output_metric_limit_and_observed(self) -> None:
        result = verdict([1.0, 2.0], [1.0, 2.5], max_rel=None, max_abs=1.0).gates[0]
        assert (result.output, result.metric, result.limit, result.observed, result.is_within) == ("y", "max_abs", 1.0, 0.5, True)

    def test_one_bad_output_of_two_is_enough(self) -> None:
        stats = {"good": stats_of([1.0, 2.0], [1.0, 2.0]), "bad": stats_of([1.0, 2.0], [1.0, 3.0])}
        message = refusal(judge(stats, gates=resolve_gates("float32", {}), expected_outputs=["good", "bad"]))[1]
        assert message.startswith("output 'bad': max_rel")


class TestNearTies:
    """In a mask the order of sums decides between classes that are equal but for their last bit; nowhere else is a whole number
    excused.
    """

    @pytest.mark.parametrize("variant", ["saved_model", "float32"])
    @pytest.mark.parametrize(("flips", "is_blessed"), [(0, True), (4, True), (5, False)])
    def test_a_mask_may_differ_in_one_of_ten_thousand_positions(self, variant: str, flips: int, is_blessed: bool) -> None:
        judged = verdict(*mask(flips), variant=variant)
        assert judged.is_blessed is is_blessed
        assert [result.limit for result in judged.gates if result.metric == "mismatch_count"] == [4]

    def test_a_number_for_each_row_may_not(self) -> None:
        reference, candidate = (side.reshape(-1) for side in mask(1))
        assert "mismatch_count = 1, the limit is at most 0" in refusal(verdict(reference, candidate))[1]

    def test_nor_may_a_mask_that_the_job_gates(self) -> None:
        assert not verdict(*mask(1), mismatch_count=0).is_blessed

    def test_nor_may_text(self) -> None:
        assert not verdict(*(side.astype(str) for side in mask(1))).is_blessed

    @pytest.mark.parametrize("positions", [1, 4])
    def test_a_class_that_dies_is_no_tie_however_rare_it_is(self, positions: int) -> None:
        reference, candidate = mask(0)
        reference.reshape(-1)[: 1000 * positions : 1000] = 2
        message = refusal(verdict(reference, candidate))[1]
        assert f"mismatch_count = {positions}, the limit is at most 0" in message

    def test_an_entry_that_a_vocabulary_lost_is_no_tie(self) -> None:
        """Ids of 200 words a row, of which one word occurs twice in 40,000 and is unknown to the candidate."""
        reference = np.arange(40_000).reshape(200, 200) % 5000 + 2
        reference[reference == 17] = 18
        reference[3, 5], reference[90, 7] = 17, 17
        candidate = np.where(reference == 17, 1, reference)
        assert "mismatch_count = 2, the limit is at most 0" in refusal(verdict(reference, candidate))[1]


def mask(flips: int) -> tuple[Any, Any]:
    """Four rows of 10,000 positions in two classes, and the same with so many of the other class."""
    reference = np.stack([np.arange(10_000) // period % 2 for period in (1, 2, 3, 5)])
    candidate = reference.copy()
    candidate.reshape(-1)[: 7 * flips : 7] ^= 1
    return reference, candidate


class TestMetricsThatDoNotApply:
    @pytest.mark.parametrize("output", [[1.0, 2.0], [[1.0], [2.0]], np.ones((2, 3, 4)), [1, 2], ["a", "b"]], ids=repr)
    def test_a_default_argmax_gate_steps_aside(self, output: Any) -> None:
        judged = verdict(output, output, variant="int8")
        assert judged.is_blessed
        assert "argmax_agreement" not in [result.metric for result in judged.gates]

    @pytest.mark.parametrize("output", [[1.0, 2.0], [[1.0], [2.0]], [1, 2], ["a", "b"]], ids=repr)
    def test_a_user_gate_that_no_output_can_answer_is_not_met(self, output: Any) -> None:
        judged = verdict(output, output, variant="int8", argmax_agreement=0.5)
        assert refusal(judged)[0] is ReasonCode.PARITY_OUT_OF_TOLERANCE
        assert [result.observed for result in judged.gates if not result.is_within] == [None]

    def test_a_user_gate_applies_to_every_output_that_can_answer_it(self) -> None:
        flipped = [[[1.0, 2.0], [2.0, 1.0]]], [[[2.0, 1.0], [2.0, 1.0]]]
        stats = {"tags": stats_of(*flipped), "score": stats_of([1.0], [1.0])}
        gates = resolve_gates("int8", {"int8": {"argmax_agreement": 0.9, "sqnr_db": None}})
        judged = judge(stats, gates=gates, expected_outputs=["tags", "score"])
        assert [(result.output, result.metric, result.observed) for result in judged.gates] == [("tags", "argmax_agreement", 0.5)]
        assert not judged.is_blessed

    def test_a_metric_without_a_value_is_not_met(self) -> None:
        judged = verdict([0.0, 0.0], [1.0, 2.0])  # relative to nothing
        assert "max_rel is not defined" in refusal(judged)[1]


class TestGatesOfOutputs:
    """`gates.<variant>.outputs.<output>`: limits of one output alone."""

    STATS: ClassVar = {"logits": stats_of(LOGITS[:2], LOGITS[:2] + 0.01), "score": stats_of([1.0, 2.0], [1.0, 2.5])}

    def judged(self, **gates: Any) -> Verdict:
        resolved = resolve_gates("int8", {"int8": {"sqnr_db": None, **gates}})
        return judge(self.STATS, gates=resolved, expected_outputs=["logits", "score"])

    @pytest.mark.parametrize(
        ("gates", "is_blessed"),
        [
            pytest.param({"outputs": {"score": {"max_abs": 0.5}}}, True, id="within"),
            pytest.param({"outputs": {"score": {"max_abs": 0.49}}}, False, id="not within"),
            pytest.param({"outputs": {"logits": {"max_abs": 0.49}}}, True, id="of the other output"),
            pytest.param({"max_abs": 0.1, "outputs": {"score": {"max_abs": 0.5}}}, True, id="before the variant's, looser"),
            pytest.param({"max_abs": 0.5, "outputs": {"score": {"max_abs": 0.1}}}, False, id="before the variant's, stricter"),
            pytest.param({"max_abs": 0.1, "outputs": {"score": {"max_abs": None}}}, True, id="null removes it for one"),
            pytest.param({"outputs": {"logits": {"argmax_agreement": None}}}, True, id="null removes a default for one"),
            pytest.param({"outputs": {"score": {"argmax_agreement": 0.1}}}, False, id="a metric that the output has not"),
            pytest.param({"argmax_agreement": 0.1}, True, id="of the variant: the output without classes steps aside"),
            pytest.param({"outputs": {"score": {"kl_max": 9.0}}}, False, id="not computed for this output"),
            pytest.param({"outputs": {"scores": {"max_abs": 9.0}}}, False, id="an output that is not there"),
            pytest.param({"outputs": {"scores": {"max_abs": None}}}, True, id="no gate on an output that is not there"),
        ],
    )
    def test_count_before_the_variants(self, gates: dict[str, Any], is_blessed: bool) -> None:
        judged = self.judged(**gates)
        assert judged.is_blessed is is_blessed
        assert judged.is_blessed or refusal(judged)[0] is ReasonCode.PARITY_OUT_OF_TOLERANCE

    def test_messages_name_the_key(self) -> None:
        message = refusal(self.judged(outputs={"score": {"max_abs": 0.1}}))[1]
        assert "raise gates.int8.outputs.score.max_abs in the job file" in message
        message = refusal(self.judged(outputs={"scores": {"max_abs": 0.1}}))[1]
        assert "is gated by gates.int8.outputs.scores.max_abs, and the model has no such output" in message
        assert "'logits', 'score'" in message

    def test_errors_name_the_key(self) -> None:
        with pytest.raises(ValueError, match=re.escape("gates.int8.outputs.y.max_bas: no such metric to gate on (known: ")):
            resolve_gates("int8", {"int8": {"outputs": {"y": {"max_bas": 1.0}}}})

    def test_results_say_where_the_limit_came_from(self) -> None:
        judged = self.judged(cosine=0.1, outputs={"score": {"max_abs": 0.5}})
        assert {(gate.output, gate.metric): gate.source for gate in judged.gates} == {
            ("logits", "argmax_agreement"): "default",
            ("logits", "cosine"): "job",
            ("logits", "row_agreement"): "default",
            ("score", "cosine"): "job",
            ("score", "max_abs"): "job",
        }


class TestPlantedDefects:
    """What must never be blessed, on answers of 1,000 rows, under the gates that a careful user writes."""

    TRUTH = RANDOM.normal(size=(1000, 10))

    def planted(self, name: str) -> dict[str, np.ndarray]:
        good = self.TRUTH.copy()
        other = -self.TRUTH
        if name == "NaN in one row":
            good[417, 3] = NAN
        elif name == "a constant row":
            good[:] = good[0]
        elif name == "all zero":
            good[:] = 0.0
        elif name == "a class flip in 3 % of rows":
            rows = np.arange(0, 1000, 33)[:30]
            good[rows] = np.roll(good[rows], 1, axis=1)
        elif name == "outputs of one shape swapped":
            good, other = other, good
        return {"z": other} if name == "an output missing" else {"y": good, "z": other}

    @pytest.mark.parametrize("variant", ["float32", "int8"])
    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("NaN in one row", ReasonCode.PARITY_NONFINITE),
            ("a constant row", ReasonCode.PARITY_OUT_OF_TOLERANCE),
            ("all zero", ReasonCode.PARITY_OUT_OF_TOLERANCE),
            ("a class flip in 3 % of rows", ReasonCode.PARITY_OUT_OF_TOLERANCE),
            ("outputs of one shape swapped", ReasonCode.PARITY_OUT_OF_TOLERANCE),
            ("an output missing", ReasonCode.PARITY_OUT_OF_TOLERANCE),
            ("zero rows", ReasonCode.SAMPLES_EMPTY),
        ],
    )
    def test_is_not_blessed(self, variant: str, name: str, code: ReasonCode) -> None:
        rows = 0 if name == "zero rows" else 1000
        truth = {"y": self.TRUTH, "z": -self.TRUTH}
        candidate = self.planted(name)
        stats = {output: stats_of(truth[output][:rows], candidate[output][:rows]) for output in candidate}
        gates = resolve_gates(variant, {variant: {"argmax_agreement": 0.98}})
        judged = judge(stats, gates=gates, expected_outputs=["y", "z"])
        assert refusal(judged)[0] is code

    @pytest.mark.parametrize(("flips", "is_blessed"), [(20, True), (21, False)])
    def test_the_gate_on_classes_is_exact(self, flips: int, is_blessed: bool) -> None:
        candidate = self.TRUTH.copy()
        candidate[:flips] = np.roll(candidate[:flips], 1, axis=1)
        only = {**dict.fromkeys(DEFAULT_GATES["int8"]), "argmax_agreement": 0.98}
        assert verdict(self.TRUTH, candidate, variant="int8", **only).is_blessed is is_blessed


class TestNoise:
    """Measured noise raises a default limit, and only so far."""

    @pytest.mark.parametrize(
        ("variant", "noise", "limit"),
        [
            pytest.param("float32", 0.0, 1e-4, id="a quiet model keeps the default"),
            pytest.param("float32", 2e-5, 1e-4, id="below the default"),
            pytest.param("float32", 5e-5, 2e-4, id="four times the noise"),
            pytest.param("float32", 0.3, 5e-4, id="never above the cap"),
            pytest.param("float32", INF, 1e-4, id="infinity is no noise"),
            pytest.param("float32", NAN, 1e-4, id="NaN is no noise"),
            pytest.param("saved_model", 1e-2, 5e-5, id="the SavedModel's cap"),
            pytest.param("float16", 1.0, 1e-2, id="float16 has no noise but its own"),
        ],
    )
    def test_raises_a_default_up_to_its_cap(self, variant: str, noise: float, limit: float) -> None:
        gates = resolve_gates(variant, {}, noise={"y": {"max_rel": noise}})
        found = gates.limits_of("y")["max_rel"]
        assert found.limit == pytest.approx(limit)
        assert found.source == ("noise" if limit > DEFAULT_GATES[variant]["max_rel"] else "default")
        assert gates.limits_of("other")["max_rel"].limit == DEFAULT_GATES[variant]["max_rel"]

    @pytest.mark.parametrize(
        "user",
        [{"max_rel": 1e-6}, {"outputs": {"y": {"max_rel": 1e-6}}}],
        ids=["of the variant", "of the output"],
    )
    def test_never_touches_a_users_gate(self, user: dict[str, Any]) -> None:
        gates = resolve_gates("float32", {"float32": user}, noise={"y": {"max_rel": 1e-4}})
        assert (gates.limits_of("y")["max_rel"].limit, gates.limits_of("y")["max_rel"].source) == (1e-6, "job")

    @pytest.mark.parametrize(("error", "is_blessed"), [(3e-4, True), (6e-4, False)])
    def test_a_noisy_model_is_judged_by_the_cap(self, error: float, is_blessed: bool) -> None:
        gates = resolve_gates("float32", {}, noise={"y": {"max_rel": 0.5}})
        judged = judge({"y": stats_of([1.0, 0.5], [1.0 + error, 0.5])}, gates=gates, expected_outputs=["y"])
        assert judged.is_blessed is is_blessed
        assert {(gate.metric, gate.source) for gate in judged.gates} == {("max_rel", "noise")}

    def test_documented_numbers_are_those_of_the_code(self) -> None:
        page = DOCS.read_text()
        for variant, caps in NOISE_CAPS.items():
            row = next(line for line in page.splitlines() if line.startswith(f"| `{variant}`: `max_rel`"))
            default, multiple, cap = re.findall(r"`max_rel` (\S+) \| (\d+) times .* \| (\S+) \|", row)[0]
            assert (float(default), float(multiple), float(cap)) == (
                DEFAULT_GATES[variant]["max_rel"],
                NOISE_MULTIPLE,
                caps["max_rel"],
            )


class TestMessages:
    def test_name_the_numbers_the_worst_row_and_the_next_step(self) -> None:
        assert refusal(verdict([1.0, 2.0, 4.0], [1.0, 2.5, 4.0], variant="float16"))[1] == (
            "output 'y': max_rel = 0.125, the limit is at most 0.01 (worst example: id 'id-1', row 1); "
            "raise gates.float16.max_rel in the job file or drop the variant"
        )

    def test_an_agreement_is_lowered(self) -> None:
        message = refusal(verdict(LOGITS, LOGITS[:, ::-1], variant="dynamic_int8"))[1]
        assert "lower gates.dynamic_int8.argmax_agreement" in message
        assert "4 more gates are not met" in message

    def test_a_saved_model_is_no_variant_to_drop(self) -> None:
        assert "drop" not in refusal(verdict([1.0], [2.0], variant="saved_model"))[1]


PARTS = {"row_agreement": 0.99, "column_sqnr_db": 20.0, "class_recall": 0.9}


class TestResolve:
    @pytest.mark.parametrize(
        ("user", "expected"),
        [
            pytest.param({}, {"max_rel": 1e-4, "mismatch_count": 0, **PARTS}, id="defaults"),
            pytest.param({"max_rel": 0.5}, {"max_rel": 0.5, "mismatch_count": 0, **PARTS}, id="override"),
            pytest.param({"max_rel": None}, {"mismatch_count": 0, **PARTS}, id="remove"),
            pytest.param({"cosine": 1}, {"cosine": 1.0, "max_rel": 1e-4, "mismatch_count": 0, **PARTS}, id="add"),
        ],
    )
    def test_the_user_wins(self, user: dict[str, float | None], expected: dict[str, float]) -> None:
        assert dict(resolve_gates("float32", {"float32": user, "int8": {"cosine": 0.1}})) == expected

    @pytest.mark.parametrize(
        ("variant", "user", "message"),
        [
            pytest.param("float8", {}, "gates.float8: no such variant", id="variant"),
            pytest.param("int8", {"max_bas": 1.0}, "gates.int8.max_bas: no such metric", id="metric"),
            pytest.param("int8", {"nonfinite_mismatch": 9.0}, "no such metric to gate on", id="a built-in rule"),
            pytest.param("int8", {"cosine": NAN}, "gates.int8.cosine: nan is not a limit", id="NaN"),
            pytest.param("int8", {"max_abs": INF}, "inf is not a limit", id="infinity"),
            pytest.param("int8", {"cosine": True}, "True is not a limit", id="bool"),
            pytest.param("int8", {"cosine": "0.9"}, "'0.9' is not a limit", id="text"),
        ],
    )
    def test_errors_name_the_key(self, variant: str, user: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            resolve_gates(variant, {variant: user})

    def test_gates_and_verdicts_pickle(self) -> None:
        gates = resolve_gates("int8", {"int8": {"cosine": 0.5}})
        judged = verdict([1.0], [2.0])
        assert (pickle.loads(pickle.dumps(gates)), pickle.loads(pickle.dumps(judged))) == (gates, judged)

    def test_a_plain_mapping_is_gates_of_the_user(self) -> None:
        assert not judge({"y": stats_of([1.0], [1.0])}, gates={"argmax_agreement": 0.5}, expected_outputs=["y"]).is_blessed


class TestDefaults:
    def test_name_known_metrics_that_reports_have(self) -> None:
        assert (
            {metric for gates in DEFAULT_GATES.values() for metric in gates} <= set(METRICS) <= set(OutputStats.empty().report())
        )

    def test_are_documented(self) -> None:
        rows = dict(re.findall(r"^\| `(\w+)` \| (\{.*\}) \|$", DOCS.read_text(), flags=re.MULTILINE))
        documented = {variant: json.loads(re.sub(r"(\w+):", r'"\1":', row)) for variant, row in rows.items()}
        assert documented == {variant: dict(gates) for variant, gates in DEFAULT_GATES.items()}

    def test_every_metric_is_documented(self) -> None:
        assert set(METRICS) <= set(re.findall(r"^\| `(\w+)`", DOCS.read_text(), flags=re.MULTILINE))
