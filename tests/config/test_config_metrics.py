"""The job file's task metrics: what is known without TFMA, the sentences for mistakes, what becomes of them as EvalConfig."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry.config import known_metrics
from liteferry.config.job import Job
from liteferry.config.load import parse_job
from liteferry.errors import JobError
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models

ABSTRACT = {"Metric", "MeanMetricWrapper"}


def job(**changes: Any) -> dict[str, Any]:
    return {"models": [{"checkpoints": "*.keras"}], "samples": {"rows": {"path": "rows.npz", "label": "label"}}, **changes}


def parse(**changes: Any) -> Job:
    return parse_job(job(**changes), base_dir="/jobs")


def problems_of(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(JobError) as caught:
        parse(**changes)
    return caught.value.problems


def test_the_known_metrics_are_those_of_tfma_and_tf_keras() -> None:
    import tensorflow_model_analysis  # noqa: F401  # registers its metrics
    import tf_keras
    from tensorflow_model_analysis.metrics import metric_types

    keras = {name for name, value in vars(tf_keras.metrics).items() if isinstance(value, type)} - ABSTRACT
    assert set(known_metrics.DIRECTIONS) == keras | metric_types.registered_metrics().keys()
    assert known_metrics.DIRECTIONS.keys() >= known_metrics.NEEDS_NO_LABEL
    assert known_metrics.DIRECTIONS.keys() >= known_metrics.COMPARES_MODELS


ROWS = {"path": "rows.npz"}
MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    (
        "misspelt metric",
        {"metrics": [{"class_name": "SparseCategoricalAcuracy"}]},
        (
            "metrics[0].class_name: 'SparseCategoricalAcuracy' is no metric of TFMA or tf_keras.metrics (did you mean "
            "SparseCategoricalAccuracy?); correct it, or name the module that defines it under module"
        ),
    ),
    (
        "snake case",
        {"metrics": [{"class_name": "mean_squared_error"}]},
        (
            "metrics[0].class_name: 'mean_squared_error' is no metric of TFMA or tf_keras.metrics (did you mean "
            "MeanSquaredError?); correct it, or name the module that defines it under module"
        ),
    ),
    (
        "no label for a limit",
        {"metrics": [{"class_name": "AUC"}, {"class_name": "AUC", "min": 0.5}], "samples": {"rows": ROWS}},
        (
            "metrics[1]: AUC has a limit, and samples.rows has no label to compute it from; add label: COLUMN to samples.rows, "
            "or remove the limit"
        ),
    ),
    (
        "no label for a limit of one entry",
        {
            "models": [{"checkpoints": "a", "metrics": [{"class_name": "AUC", "max_drop": 0.1}]}],
            "samples": {"rows": ROWS},
        },
        (
            "models[0].metrics[0]: AUC has a limit, and samples.rows has no label to compute it from; add label: COLUMN to "
            "samples.rows, or remove the limit"
        ),
    ),
    (
        "neither way is better",
        {"metrics": [{"class_name": "Calibration", "max_drop": 0.1}]},
        (
            "metrics[0].max_drop: LiteFerry does not know which way Calibration is better; add direction: higher_is_better or "
            "lower_is_better"
        ),
    ),
    (
        "min above max",
        {"metrics": [{"class_name": "AUC", "min": 0.9, "max": 0.8}]},
        "metrics[0].min: 0.9 is above max, 0.8; no value could meet both",
    ),
    (
        "a negative drop",
        {"metrics": [{"class_name": "AUC", "max_drop": -0.1}]},
        "metrics[0].max_drop: -0.1 is below 0; write a plain number such as 0.01, without quotes or units",
    ),
    (
        "a drop of what is a change already",
        {"metrics": [{"class_name": "SymmetricFlipRate", "max_drop": 0.1}]},
        "metrics[0].max_drop: SymmetricFlipRate compares an artifact with the checkpoint by itself; give it a max instead",
    ),
    (
        "both ways to say it",
        {"metrics": [{"class_name": "AUC"}], "eval_config": "eval.pbtxt"},
        "metrics: there is an eval_config, too; put these metrics into it, or remove one of the two",
    ),
    (
        "label and labels",
        {"samples": {"rows": {**ROWS, "label": "a", "labels": {"x": "b"}}}},
        ("samples.rows.labels: there is a label, too; keep label for one column for all outputs, labels for one for each output"),
    ),
    (
        "no eval_config there",
        {"eval_config": "eval.pbtxt"},
        (
            "eval_config: /jobs/eval.pbtxt cannot be read ([Errno 2] No such file or directory: '/jobs/eval.pbtxt'); "
            "correct the path"
        ),
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_one_sentence_with_key_value_and_fix(changes: dict[str, Any], sentence: str) -> None:
    assert problems_of(**changes) == (sentence,)


@pytest.mark.parametrize(
    "metric", [{"class_name": ["AUC"], "min": 1}, {"class_name": {}, "max_drop": 1}, {"class_name": None}, 3]
)
def test_any_shape_gets_sentences(metric: Any) -> None:
    for changes in ({"metrics": [metric]}, {"metrics": metric}, {"models": [{"checkpoints": "a", "metrics": [metric]}]}):
        assert all(problem.startswith(("metrics", "models[0].metrics")) for problem in problems_of(**changes))


def test_what_tfmas_messages_do_not_take() -> None:
    (problem,) = problems_of(metrics=[{"class_name": "Precision", "binarize": {"top_k": [3]}}])
    assert problem.startswith("metrics[0].binarize: TFMA does not take this: ")
    assert "top_k" in problem


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("e.pbtxt", "metrics_specs { metrics { class_name: 'AUX' } }", "'AUX' is no metric of TFMA or tf_keras (did you mean AU"),
        ("e.pbtxt", "metrics_spec {}", 'no field named "metrics_spec"'),
        ("e.pbtxt", "model_specs {}", "has no metrics; add metrics_specs to it"),
        ("e.json", '{"metricsSpecs": [}', "is no EvalConfig in JSON format"),
    ],
    ids=["unknown metric", "unknown field", "no metrics", "broken JSON"],
)  # fmt: skip
def test_an_eval_config_that_cannot_be_used(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    (problem,) = problems_of(eval_config=str(tmp_path / name))
    assert problem.startswith("eval_config: ")
    assert words in problem


def test_checking_an_eval_config_imports_no_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "e.pbtxt").write_text("metrics_specs { metrics { class_name: 'AUC' } }")
    (tmp_path / "job.yaml").write_text(json.dumps(job(eval_config="e.pbtxt")))
    code = (
        f"import sys; from liteferry.config import load_job; load_job({str(tmp_path / 'job.yaml')!r});"
        "print([m for m in ('tensorflow', 'apache_beam', 'tensorflow_model_analysis', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def plan(folder: Path, **changes: Any) -> ModelPlan:
    np.savez(folder / "rows.npz", x=np.zeros((3, 2), np.float32), label=np.zeros(3), other=np.zeros(3))
    (folder / "a.keras").write_bytes(b"")
    (found,) = plan_models(parse_job(job(**changes), base_dir=str(folder)), str(folder / "out"))
    return found


def config_of(found: ModelPlan) -> dict[str, Any]:
    assert found.metrics is not None
    config: dict[str, Any] = json.loads(found.metrics.eval_config)
    return config


class TestPlan:
    def test_no_metrics_no_plan(self, tmp_path: Path) -> None:
        assert plan(tmp_path).metrics is None
        assert plan(tmp_path, models=[{"checkpoints": "a.keras", "metrics": []}], metrics=[{"class_name": "AUC"}]).metrics is None

    def test_an_entrys_metrics_stand_in_for_the_jobs(self, tmp_path: Path) -> None:
        models = [{"checkpoints": "a.keras", "metrics": [{"class_name": "MeanSquaredError"}]}]
        config = config_of(plan(tmp_path, models=models, metrics=[{"class_name": "AUC"}]))
        assert [spec["metrics"][0]["class_name"] for spec in config["metrics_specs"]] == ["MeanSquaredError"]

    def test_columns_are_those_that_anything_names(self, tmp_path: Path) -> None:
        metrics = [{"class_name": "NDCG", "config": {"gain_key": "other", "name": "unrelated"}, "query_key": "x"}]
        found = plan(tmp_path, metrics=metrics)
        assert found.metrics is not None
        assert found.metrics.columns == ("label", "x", "other")
        assert found.metrics.problem is None

    def test_limits_hold_where_float32_puts_their_value(self, tmp_path: Path) -> None:
        """0.9 as float32 lies below 0.9."""
        found = plan(tmp_path, metrics=[{"class_name": "AUC", "min": 0.9, "max_drop": 0.01}])
        threshold = config_of(found)["metrics_specs"][0]["metrics"][0]["threshold"]
        bound, change = threshold["value_threshold"]["lower_bound"], threshold["change_threshold"]["absolute"]
        assert 0.9 - 1e-6 < bound < float(np.float32(0.9)) < 0.9
        assert -0.01 - 1.1e-6 < change < -0.01
        assert found.metrics is not None
        assert {found.metrics.limits[repr(bound)], found.metrics.limits[repr(-change)]} == {0.9, 0.01}

    def test_what_decides_a_report_is_in_its_recipe(self, tmp_path: Path) -> None:
        (tmp_path / "e.pbtxt").write_text("metrics_specs { metrics { class_name: 'AUC' } }")
        recipes = [
            plan(tmp_path, **changes).recipe_digest
            for changes in (
                {},
                {"metrics": [{"class_name": "AUC"}]},
                {"metrics": [{"class_name": "AUC", "max_drop": 0.1}]},
                {"metrics": [{"class_name": "AUC"}], "evaluation": {"confidence_intervals": "jackknife"}},
                {"eval_config": "e.pbtxt"},
            )
        ]
        (tmp_path / "e.pbtxt").write_text("metrics_specs { metrics { class_name: 'MeanLabel' } }")
        recipes.append(plan(tmp_path, eval_config="e.pbtxt").recipe_digest)
        assert len(set(recipes)) == 6

    def test_a_gated_plan_knows_that_it_is(self, tmp_path: Path) -> None:
        for metric, is_gated in (({"class_name": "AUC"}, False), ({"class_name": "AUC", "max": 1}, True)):
            found = plan(tmp_path, metrics=[metric])
            assert found.metrics is not None and found.metrics.is_gated == is_gated
