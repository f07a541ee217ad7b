"""Task metrics: the numbers are right, TFMA opens the files, and every way of not meeting a limit is seen."""

from __future__ import annotations

import dataclasses
import os
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry.errors import ReasonCode
from liteferry.evaluation.compute_metrics import compute_isolated
from liteferry.evaluation.tfma import files
from liteferry.evaluation.tfma.results import MetricsResult, facts_of, judge_metrics
from liteferry.plan.model_plan import ModelPlan
from tests.evaluation.metric_jobs import answer, compute, plan_of, value

GENERATOR = np.random.default_rng(3)
ROWS = 200
CLASSES = GENERATOR.integers(0, 10, ROWS)
SCORES = GENERATOR.random((ROWS, 10)).astype(np.float32)
SCORES[np.arange(ROWS), CLASSES] += 0.6
SCORES /= SCORES.sum(axis=1, keepdims=True)
WORSE_SCORES = SCORES + GENERATOR.normal(0, 0.02, SCORES.shape).astype(np.float32)
IS_ZERO = (CLASSES == 0).astype(np.int64)
ZERO_SCORES = np.clip(0.2 + 0.5 * IS_ZERO[:, None] + GENERATOR.normal(0, 0.25, (ROWS, 1)), 0, 1).astype(np.float32)
COUNTRIES = np.array([b"de", b"fr", b"nl", b"pl"])[np.arange(ROWS) % 4]

CLASSIFIED = {"label": CLASSES}
CLASSIFIERS = {"reference": SCORES, "float32": SCORES, "int8": WORSE_SCORES}
ACCURACY = {"class_name": "SparseCategoricalAccuracy", "config": {"name": "accuracy"}}


def gates(result: MetricsResult, model: str) -> dict[tuple[str, str, str], bool]:
    return {(gate.slice, gate.metric, gate.kind): gate.is_within for gate in result.models[model].gates}


def keras(metric: Any, labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    metric.update_state(labels, scores, sample_weight=weights)
    return float(metric.result())


class TestValues:
    """Against Keras and NumPy, computed directly."""

    def test_accuracy_and_its_change(self, tmp_path: Path) -> None:
        _, result = compute(tmp_path, CLASSIFIED, CLASSIFIERS, metrics=[ACCURACY])
        expected = {model: np.mean(scores.argmax(1) == CLASSES) for model, scores in CLASSIFIERS.items()}
        assert expected["int8"] < expected["reference"]
        for model, accuracy in expected.items():
            assert value(result, model, "accuracy") == pytest.approx(accuracy, abs=1e-7)
        facts = facts_of("int8", result)["metrics"]["accuracy"]
        assert facts["change"] == pytest.approx(expected["int8"] - expected["reference"], abs=1e-7)
        assert facts["reference"] == value(result, "reference", "accuracy")
        assert result.row_counts == {"Overall": ROWS}

    def test_auc_and_cross_entropy_of_a_score(self, tmp_path: Path) -> None:
        import tf_keras

        metrics = [{"class_name": "AUC"}, {"class_name": "BinaryCrossentropy"}, {"class_name": "BinaryAccuracy"}]
        _, result = compute(tmp_path, {"label": IS_ZERO}, {"reference": ZERO_SCORES, "float32": ZERO_SCORES}, metrics=metrics)
        positives, negatives = ZERO_SCORES[IS_ZERO == 1], ZERO_SCORES[IS_ZERO == 0]
        wins = (positives > negatives.T).mean() + (positives == negatives.T).mean() / 2
        assert value(result, "float32", "auc") == pytest.approx(wins, abs=2e-3)  # TFMA sorts scores into 10,000 bins
        expected = keras(tf_keras.metrics.BinaryCrossentropy(), IS_ZERO[:, None], ZERO_SCORES)
        assert value(result, "float32", "binary_crossentropy") == pytest.approx(expected, rel=1e-5)
        right = np.mean((ZERO_SCORES[:, 0] > 0.5) == IS_ZERO)
        assert value(result, "float32", "binary_accuracy") == pytest.approx(right, abs=1e-7)

    def test_precision_at_k(self, tmp_path: Path) -> None:
        import tf_keras

        metrics = [
            {"class_name": "Precision", "config": {"top_k": 3}},
            {"class_name": "Recall", "binarize": {"top_k_list": {"values": [3]}}},
        ]
        _, result = compute(tmp_path, CLASSIFIED, CLASSIFIERS, metrics=metrics)
        best = np.argsort(-SCORES, axis=1, kind="stable")[:, :3]
        hits = (best == CLASSES[:, None]).any(axis=1).mean()
        assert value(result, "float32", "precision (topK:3)") == pytest.approx(hits / 3)
        assert value(result, "float32", "recall (topK:3)") == pytest.approx(hits)
        one_hot = np.eye(10)[CLASSES]
        direct = tf_keras.metrics.Precision(top_k=3)
        assert value(result, "float32", "precision (topK:3)") == pytest.approx(keras(direct, one_hot, SCORES), rel=1e-6)

    def test_squared_error_and_a_keras_loss(self, tmp_path: Path) -> None:
        import tf_keras

        targets = GENERATOR.normal(size=ROWS).astype(np.float32)
        answers = (targets + GENERATOR.normal(0, 0.1, ROWS)).astype(np.float32)[:, None]
        metrics = [{"class_name": "MeanSquaredError"}, {"class_name": "Huber", "module": "tf_keras.src.losses"}]
        _, result = compute(tmp_path, {"label": targets}, {"reference": answers, "float32": answers}, metrics=metrics)
        expected = np.mean((answers[:, 0].astype(np.float64) - targets) ** 2)
        assert value(result, "float32", "mean_squared_error") == pytest.approx(expected, rel=1e-6)
        loss = float(tf_keras.losses.Huber()(targets[:, None], answers))
        assert value(result, "float32", "huber") == pytest.approx(loss, rel=1e-5)

    def test_two_outputs_with_labels_of_their_own(self, tmp_path: Path) -> None:
        columns = {"digit": CLASSES, "zero": IS_ZERO}
        outputs = {model: {"digit": SCORES, "is_zero": ZERO_SCORES} for model in ("reference", "float32")}
        metrics = [{**ACCURACY, "output_name": "digit"}, {"class_name": "AUC", "output_name": "is_zero"}]
        labels = {"labels": {"digit": "digit", "is_zero": "zero"}}
        _, result = compute(tmp_path, columns, outputs, metrics=metrics, samples=labels)
        assert value(result, "float32", "digit/accuracy") == pytest.approx(np.mean(SCORES.argmax(1) == CLASSES), abs=1e-7)
        assert 0.7 < (value(result, "float32", "is_zero/auc") or 0) < 1
        assert result.problems == ()

    def test_weights(self, tmp_path: Path) -> None:
        weights = GENERATOR.random(ROWS).astype(np.float32)
        columns: dict[str, np.ndarray] = {"label": CLASSES, "weight": weights}
        samples = {"label": "label", "example_weight": "weight"}
        _, result = compute(tmp_path, columns, CLASSIFIERS, metrics=[ACCURACY], samples=samples)
        expected = np.average(SCORES.argmax(1) == CLASSES, weights=weights)
        assert value(result, "float32", "accuracy (weighted)") == pytest.approx(expected, rel=1e-5)

    def test_ranking(self, tmp_path: Path) -> None:
        columns: dict[str, np.ndarray] = {
            "query": np.arange(ROWS) // 10,
            "gain": GENERATOR.integers(0, 4, ROWS).astype(np.float32),
        }
        metrics = [
            {"class_name": "NDCG", "config": {"gain_key": "gain", "top_k_list": [5]}, "query_key": "query", "max_drop": 0.01}
        ]
        answers = {"reference": ZERO_SCORES, "float32": ZERO_SCORES}
        _, result = compute(tmp_path, columns, answers, metrics=metrics, samples={"label": "gain"})
        per_query = []
        for query in range(ROWS // 10):
            gain, score = columns["gain"][columns["query"] == query], ZERO_SCORES[columns["query"] == query, 0]
            discounts = 1 / np.log2(np.arange(2, 7))
            per_query.append((gain[np.argsort(score)[::-1]][:5] * discounts).sum() / (np.sort(gain)[::-1][:5] * discounts).sum())
        assert value(result, "float32", "ndcg (topK:5)") == pytest.approx(np.mean(per_query), rel=1e-6)
        assert gates(result, "float32") == {("Overall", "ndcg (topK:5)", "max_drop"): True}

    def test_slices(self, tmp_path: Path) -> None:
        columns = {"label": CLASSES, "country": COUNTRIES}
        samples = {"label": "label", "slices": [["country"], ["country", "label"]]}
        _, result = compute(tmp_path, columns, CLASSIFIERS, metrics=[ACCURACY], samples=samples)
        for country in (b"de", b"pl"):
            at = country == COUNTRIES
            name = f"country:{country.decode()}"
            assert value(result, "int8", "accuracy", name) == pytest.approx(
                np.mean((WORSE_SCORES.argmax(1) == CLASSES)[at]), abs=1e-7
            )
            assert result.row_counts[name] == np.count_nonzero(at)
        both = np.flatnonzero((COUNTRIES == b"fr") & (CLASSES == 7))
        assert result.row_counts["country_X_label:fr_X_7"] == len(both)
        assert list(result.row_counts)[:3] == ["Overall", "country:de", "country:fr"]

    def test_slices_of_any_bytes(self, tmp_path: Path) -> None:
        columns = {"label": CLASSES, "country": np.where(COUNTRIES == b"de", b"\xff\xfe", COUNTRIES)}
        samples = {"label": "label", "slices": [["country"]]}
        _, result = compute(tmp_path, columns, CLASSIFIERS, metrics=[ACCURACY], samples=samples)
        assert "country:\\xff\\xfe" in result.row_counts

    def test_analyze_raw_data_says_the_same(self, tmp_path: Path) -> None:
        """TFMA's own entry point for predictions in a data frame, for one model at a time."""
        import pandas as pd
        import tensorflow_model_analysis as tfma
        from tensorflow_model_analysis.proto import config_pb2

        columns = {"label": IS_ZERO, "country": COUNTRIES}
        metrics = [{"class_name": "AUC"}, {"class_name": "BinaryAccuracy"}, {"class_name": "MeanLabel"}]
        samples = {"label": "label", "slices": [["country"]]}
        _, result = compute(tmp_path, columns, {"reference": ZERO_SCORES, "int8": ZERO_SCORES}, metrics=metrics, samples=samples)
        config = config_pb2.EvalConfig(
            model_specs=[config_pb2.ModelSpec(label_key="label", prediction_key="prediction")],
            metrics_specs=[
                config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name=one["class_name"]) for one in metrics])
            ],
            slicing_specs=[config_pb2.SlicingSpec(), config_pb2.SlicingSpec(feature_keys=["country"])],
        )
        frame = pd.DataFrame(
            {"label": IS_ZERO, "prediction": ZERO_SCORES[:, 0], "country": [name.decode() for name in COUNTRIES]}
        )
        analysed = tfma.analyze_raw_data(frame, config, output_path=str(tmp_path / "analysed"))
        compared = 0
        for slice_key, found in analysed.slicing_metrics:
            name = "country:" + slice_key[0][1] if slice_key else "Overall"
            for metric, number in found[""][""].items():
                assert value(result, "int8", metric, name) == pytest.approx(number["doubleValue"], rel=1e-6), (name, metric)
                compared += 1
        assert compared == 3 * 5

    def test_a_confidence_interval_holds_the_value(self, tmp_path: Path) -> None:
        evaluation = {"confidence_intervals": "jackknife"}
        _, result = compute(tmp_path, CLASSIFIED, CLASSIFIERS, metrics=[ACCURACY], evaluation=evaluation)
        facts = facts_of("int8", result)["metrics"]["accuracy"]
        low, high = facts["interval"]
        assert low < facts["value"] < high
        spread = np.sqrt(facts["value"] * (1 - facts["value"]) / ROWS)
        assert 2 * spread < high - low < 8 * spread


def test_the_same_numbers_for_any_cut_of_the_rows(tmp_path: Path) -> None:
    """Files and batches: to the last bit, the weighted float sums included."""
    columns = {"label": CLASSES, "weight": GENERATOR.random(ROWS), "country": COUNTRIES}
    keys = {
        "samples": {"label": "label", "example_weight": "weight", "slices": [["country"]]},
        "metrics": [ACCURACY, {"class_name": "SparseCategoricalCrossentropy"}, {"class_name": "MeanLabel"}],
        "evaluation": {"confidence_intervals": "jackknife"},
    }
    found = []
    for shards, batch_size in ((1, 64), (3, 7), (11, 1), (2, 200)):
        job = {**keys, "evaluation": {"batch_size": batch_size, "confidence_intervals": "jackknife"}}
        _, result = compute(tmp_path / f"{shards}_{batch_size}", columns, CLASSIFIERS, shards=shards, **job)
        assert len(result.models["int8"].values) == 3 * 5
        found.append(dataclasses.replace(result, seconds=0, peak_memory_bytes=0))
    assert found[1:] == found[:1] * 3


class TestFiles:
    def test_tfma_opens_them(self, tmp_path: Path) -> None:
        import tensorflow_model_analysis as tfma

        columns = {"label": CLASSES, "country": COUNTRIES}
        samples = {"label": "label", "slices": [["country"]]}
        limited = {**ACCURACY, "max_drop": 0.0, "overall_only": True}
        plan, result = compute(
            tmp_path, columns, CLASSIFIERS, metrics=[limited, {"class_name": "CalibrationPlot"}], samples=samples
        )
        folder = os.path.join(plan.staging_directory(), files.EVALUATION)
        for model in CLASSIFIERS:
            opened = tfma.load_eval_result(folder, model_name=model)
            numbers = {key: found[""][""] for key, found in opened.slicing_metrics}
            assert numbers[()]["accuracy"]["doubleValue"] == value(result, model, "accuracy")
            assert numbers[(("country", "nl"),)]["accuracy"]["doubleValue"] == value(result, model, "accuracy", "country:nl")
            assert ("accuracy_diff" in numbers[()]) == (model != "reference")
            assert len(opened.plots) == 5
        assert opened.model_location == "../tflite/int8.tflite"
        assert opened.config.metrics_specs[0].metrics[0].class_name == "SparseCategoricalAccuracy"
        assert len(tfma.load_eval_results(folder).get_results()) == 3

    @pytest.mark.parametrize("max_drop", [0.5, 0.0])
    def test_tfmas_verdict_is_ours(self, tmp_path: Path, max_drop: float) -> None:
        import tensorflow_model_analysis as tfma

        plan, result = compute(tmp_path, CLASSIFIED, CLASSIFIERS, metrics=[{**ACCURACY, "max_drop": max_drop}])
        folder = os.path.join(plan.staging_directory(), files.EVALUATION)
        validation = tfma.load_validation_result(folder)
        assert validation.validation_ok == all(all(gates(result, model).values()) for model in ("float32", "int8"))
        assert validation.validation_ok == (max_drop == 0.5)
        failed = [failure.metric_key.model_name for one in validation.metric_validations_per_slice for failure in one.failures]
        assert failed == ([] if max_drop else ["int8"])


def reason(plan: ModelPlan, result: MetricsResult | None, model: str = "int8") -> tuple[str, str]:
    _, why = judge_metrics(model, plan.metrics, result)
    return ("", "") if why is None else (why.code.value, why.message)


def flipped(count: int) -> np.ndarray:
    """Scores that are wrong on `count` rows on which SCORES are right."""
    changed = SCORES.copy()
    right = np.flatnonzero(SCORES.argmax(1) == CLASSES)[:count]
    changed[right, CLASSES[right]] = -1.0
    return changed


class TestLimits:
    def test_a_drop_names_both_values_and_the_limit(self, tmp_path: Path) -> None:
        answers = {"reference": SCORES, "float32": SCORES, "int8": flipped(10)}
        plan, result = compute(tmp_path, CLASSIFIED, answers, metrics=[{**ACCURACY, "max_drop": 0.03}])
        before, after = value(result, "reference", "accuracy"), value(result, "int8", "accuracy")
        code, message = reason(plan, result)
        assert code == "METRIC_DROP"
        for words in ("accuracy", f"{before:.6g}", f"{after:.6g}", "0.05", "max_drop is 0.03"):
            assert words in message
        assert reason(plan, result, "float32") == ("", "")
        listed, _ = judge_metrics("int8", plan.metrics, result)
        assert [(gate.metric, gate.limit, gate.is_within) for gate in listed] == [("max_drop of accuracy", 0.03, False)]

    @pytest.mark.parametrize(("limit", "is_met"), [(0.05, True), (0.045, False)])
    def test_a_drop_of_exactly_the_limit_is_within(self, tmp_path: Path, limit: float, is_met: bool) -> None:
        """10 of 200 rows are 0.05, which no float holds."""
        answers = {"reference": SCORES, "int8": flipped(10)}
        plan, result = compute(tmp_path, CLASSIFIED, answers, metrics=[{**ACCURACY, "max_drop": limit}])
        assert (reason(plan, result)[0] == "") == is_met

    def test_an_error_that_grows_is_worse_and_one_that_shrinks_is_not(self, tmp_path: Path) -> None:
        targets = np.zeros(ROWS, np.float32)
        answers = {"reference": np.full((ROWS, 1), 2.0, np.float32), "int8": np.full((ROWS, 1), 2.5, np.float32)}
        answers["float32"] = np.full((ROWS, 1), 1.0, np.float32)
        metrics = [{"class_name": "MeanAbsoluteError", "max_drop": 0.4}]
        plan, result = compute(tmp_path, {"label": targets}, answers, metrics=metrics)
        assert reason(plan, result)[0] == "METRIC_DROP"
        assert reason(plan, result, "float32")[0] == ""

    @pytest.mark.parametrize(("limit", "words"), [({"min": 0.999}, "at least 0.999"), ({"max": 0.1}, "at most 0.1")])
    def test_a_value_beyond_its_limit(self, tmp_path: Path, limit: dict[str, float], words: str) -> None:
        plan, result = compute(tmp_path, CLASSIFIED, CLASSIFIERS, metrics=[{**ACCURACY, **limit}])
        code, message = reason(plan, result, "float32")
        assert (code, words in message) == ("METRIC_DROP", True)

    @pytest.mark.parametrize(("overall_only", "is_met"), [(False, False), (True, True)])
    def test_limits_hold_in_every_slice_unless_told_otherwise(self, tmp_path: Path, overall_only: bool, is_met: bool) -> None:
        """All flips in one country: 0.05 there of 50 rows, 0.0125 over all."""
        changed = SCORES.copy()
        rows = np.flatnonzero((SCORES.argmax(1) == CLASSES) & (COUNTRIES == b"nl"))[:5]
        changed[rows, CLASSES[rows]] = -1.0
        columns = {"label": CLASSES, "country": COUNTRIES}
        metrics = [{**ACCURACY, "max_drop": 0.03, "overall_only": overall_only}]
        samples = {"label": "label", "slices": [["country"]]}
        plan, result = compute(tmp_path, columns, {"reference": SCORES, "int8": changed}, metrics=metrics, samples=samples)
        code, message = reason(plan, result)
        assert (code == "") == is_met
        assert is_met or "accuracy on country:nl" in message

    def test_flips_between_the_models(self, tmp_path: Path) -> None:
        swapped = ZERO_SCORES.copy()
        swapped[:20] = 1 - swapped[:20]
        metrics = [{"class_name": "SymmetricFlipRate", "config": {"threshold": 0.5}, "max": 0.05}]
        answers = {"reference": ZERO_SCORES, "float32": ZERO_SCORES, "int8": swapped}
        plan, result = compute(tmp_path, {"label": IS_ZERO}, answers, metrics=metrics)
        assert reason(plan, result)[0] == "METRIC_DROP"
        assert reason(plan, result, "float32")[0] == ""


class TestClosed:
    """What has no value does not meet its limit."""

    def test_a_metric_that_is_not_a_number(self, tmp_path: Path) -> None:
        broken = ZERO_SCORES.copy()
        broken[17] = np.nan
        metrics = [{"class_name": "MeanSquaredError", "max_drop": 0.1}, {"class_name": "AUC", "max_drop": 0.1}]
        answers = {"reference": ZERO_SCORES, "float32": ZERO_SCORES, "int8": broken}
        plan, result = compute(tmp_path, {"label": IS_ZERO}, answers, metrics=metrics)
        code, message = reason(plan, result)
        assert (code, "has no value" in message) == ("METRIC_DROP", True)
        assert not any(gates(result, "int8").values())
        assert reason(plan, result, "float32")[0] == ""

    def test_labels_that_are_missing_in_one_row(self, tmp_path: Path) -> None:
        targets = np.ones(ROWS, np.float32)
        targets[3] = np.nan
        metrics = [{"class_name": "MeanSquaredError", "max_drop": 0.1}]
        plan, result = compute(tmp_path, {"label": targets}, {"reference": ZERO_SCORES, "int8": ZERO_SCORES}, metrics=metrics)
        assert reason(plan, result)[0] == "METRIC_DROP"

    @pytest.mark.parametrize(
        ("metric", "words"),
        [
            ({**ACCURACY, "output_name": "digti"}, "no output 'digti' (its outputs: score)"),
            ({"class_name": "AUC", "config": {"curv": "PR"}}, "AUC"),
            ({"class_name": "Mine", "module": "not_there", "direction": "higher_is_better"}, "not_there"),
            ({"class_name": "MeanIoU", "config": {"num_classes": 2}}, "mean_io_u of int8"),
        ],
        ids=["no such output", "no such argument", "no such module", "does not fit"],
    )
    def test_a_metric_that_cannot_be_computed(self, tmp_path: Path, metric: dict[str, Any], words: str) -> None:
        import tensorflow_model_analysis as tfma

        plan, result = compute(tmp_path, CLASSIFIED, CLASSIFIERS, metrics=[{**metric, "max_drop": 0.1}, ACCURACY])
        code, message = reason(plan, result)
        assert (code, words in message) == ("METRIC_DROP", True), message
        assert value(result, "int8", "accuracy") is not None
        folder = os.path.join(plan.staging_directory(), files.EVALUATION)
        assert not tfma.load_validation_result(folder).validation_ok

    def test_without_a_limit_it_is_told_and_costs_nothing(self, tmp_path: Path) -> None:
        plan, result = compute(tmp_path, CLASSIFIED, CLASSIFIERS, metrics=[{"class_name": "AUC", "config": {"curv": "PR"}}])
        assert len(result.problems) == 1
        assert reason(plan, result) == ("", "")

    def test_a_column_that_the_samples_do_not_have(self, tmp_path: Path) -> None:
        samples = {"label": "label", "slices": [["contry"]]}
        plan = plan_of(tmp_path, CLASSIFIED, metrics=[{**ACCURACY, "max_drop": 0.1}], samples=samples)
        result = compute_isolated(answer(plan, CLASSIFIED, CLASSIFIERS))
        code, message = reason(plan, result)
        assert (code, "'contry'" in message) == (ReasonCode.SAMPLES_MISMATCH.value, True)

    def test_a_process_that_dies(self, tmp_path: Path) -> None:
        """A metric of the user's own takes its process with it; nothing half-written stays."""
        source = """
            import os, tf_keras
            class Deadly(tf_keras.metrics.Mean):
                def update_state(self, *_, **__):
                    os.abort()
        """
        (tmp_path / "deadly.py").write_text(textwrap.dedent(source))
        metrics = [{"class_name": "Deadly", "module": "deadly", "max_drop": 0.1, "direction": "higher_is_better"}]
        plan, result = compute(tmp_path, CLASSIFIED, CLASSIFIERS, metrics=metrics, modules=["deadly.py"])
        code, message = reason(plan, result)
        assert (code, message.startswith("task metrics: ")) == ("CRASHED", True)
        assert os.listdir(plan.staging_directory()) == []

    def test_a_second_try_after_one_that_was_killed_when_all_was_written(self, tmp_path: Path) -> None:
        plan = plan_of(tmp_path, CLASSIFIED, metrics=[{**ACCURACY, "max_drop": 0.1}])
        task = answer(plan, CLASSIFIED, CLASSIFIERS)
        first = compute_isolated(task)
        assert first.reason is None and os.listdir(plan.staging_directory()), "nothing was left that could be in the way"
        second = compute_isolated(task)
        assert second.reason is None, second.reason
        assert second.models == first.models

    def test_never_computed(self, tmp_path: Path) -> None:
        plan = plan_of(tmp_path, CLASSIFIED, metrics=[{**ACCURACY, "max_drop": 0.1}])
        assert reason(plan, None)[0] == "METRIC_DROP"
        assert reason(plan, MetricsResult())[0] == "METRIC_DROP"


def test_a_metric_of_the_users_own(tmp_path: Path) -> None:
    source = """
        import tf_keras
        class ShareOfZeros(tf_keras.metrics.Mean):
            def update_state(self, y_true, y_pred, sample_weight=None):
                return super().update_state(y_true == 0, sample_weight)
    """
    (tmp_path / "mine.py").write_text(textwrap.dedent(source))
    metrics = [{"class_name": "ShareOfZeros", "module": "mine", "max": 0.5}]
    plan, result = compute(tmp_path, CLASSIFIED, CLASSIFIERS, metrics=metrics, modules=["mine.py"])
    assert value(result, "int8", "share_of_zeros") == pytest.approx(np.mean(CLASSES == 0), abs=1e-7)
    assert reason(plan, result) == ("", "")


EVAL_CONFIG = """
model_specs { label_key: "label" }
slicing_specs {} slicing_specs { feature_keys: "country" }
metrics_specs {
  metrics { class_name: "SparseCategoricalAccuracy" config: '"name": "accuracy"'
    threshold { value_threshold { lower_bound { value: 0.1 } }
                change_threshold { direction: HIGHER_IS_BETTER absolute { value: -0.2 } relative { value: -0.001 } } }
    per_slice_thresholds { slicing_specs { feature_values { key: "country" value: "xx" } }
                           threshold { value_threshold { lower_bound { value: 0.5 } } } } }
}
"""


def test_an_eval_config_in_place_of_metrics(tmp_path: Path) -> None:
    import tensorflow_model_analysis as tfma

    (tmp_path / "eval_config.pbtxt").write_text(EVAL_CONFIG)
    columns = {"label": CLASSES, "country": COUNTRIES}
    answers = {"reference": SCORES, "int8": flipped(10)}
    plan, result = compute(tmp_path, columns, answers, eval_config="eval_config.pbtxt", samples={})
    found = gates(result, "int8")
    assert found["Overall", "accuracy", "min_value"] and found["Overall", "accuracy", "max_drop"]
    assert not found["Overall", "accuracy", "max_relative_drop"]
    assert found["country:pl", "accuracy", "max_drop"]
    missing = [key for key in found if "xx" in key[0]]
    assert len(missing) == 1 and not found[missing[0]], "a slice that no row is in does not meet its limit"
    assert reason(plan, result)[0] == "METRIC_DROP"
    folder = os.path.join(plan.staging_directory(), files.EVALUATION)
    assert not tfma.load_validation_result(folder).validation_ok
