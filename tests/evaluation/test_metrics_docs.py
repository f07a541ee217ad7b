"""Every recipe in docs/metrics.md runs on a real model, from its checkpoint to its report."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry.config.load import load_job
from liteferry.evaluation.compute_metrics import with_metrics
from liteferry.evaluation.evaluate import evaluate_isolated, shard_tasks
from liteferry.evaluation.results import merge
from liteferry.exporting.export import export_isolated
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.planning import plan_models
from liteferry.report.model_report import build

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
RECIPES = re.findall(r"```yaml recipe (\S+)\n(.*?)```", DOCS.read_text(), re.DOTALL)
ROWS = 240

EVAL_CONFIG = """
metrics_specs { metrics { class_name: "AUC" threshold {
  change_threshold { direction: HIGHER_IS_BETTER absolute { value: -0.01 } } } } }
"""


def _model(folder: Path, name: str, size: int, outputs: dict[str, tuple[int, str]]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Saves a small model and returns inputs for it with its own answers, from which labels can be made."""
    import keras

    keras.utils.set_random_seed(1)
    features = keras.Input((size,), name="features")
    hidden = keras.layers.Dense(16, "tanh")(features)
    heads = {
        head: keras.layers.Dense(units, activation, name=head, kernel_initializer="orthogonal")(hidden)
        for head, (units, activation) in outputs.items()
    }
    model = keras.Model(features, heads if len(heads) > 1 else next(iter(heads.values())))
    model.save(folder / f"{name}.keras")
    rows = np.random.default_rng(0).normal(size=(ROWS, size)).astype(np.float32)
    answers = model.predict(rows, verbose=0)
    return rows, answers if isinstance(answers, dict) else {next(iter(outputs)): answers}


def _save(path: Path, **columns: np.ndarray) -> None:
    np.savez(path, **columns)  # type: ignore[arg-type]


def _binary(folder: Path) -> None:
    rows, answers = _model(folder, "churn", 6, {"score": (1, "sigmoid")})
    noise = np.random.default_rng(1).normal(0, 0.1, ROWS)
    churned = (answers["score"][:, 0] + noise > 0.5).astype(np.int64)
    _save(folder / "customers.npz", features=rows, churned=churned, country=np.array(["de", "fr"])[np.arange(ROWS) % 2])
    (folder / "eval_config.pbtxt").write_text(EVAL_CONFIG)


def _multi_class(folder: Path) -> None:
    rows, answers = _model(folder, "digits", 8, {"digit": (5, "softmax")})
    _save(folder / "rows.npz", features=rows, label=answers["digit"].argmax(1))


def _regression(folder: Path) -> None:
    rows, answers = _model(folder, "demand", 4, {"sold": (1, "linear")})
    sold = answers["sold"][:, 0] + 0.1
    _save(folder / "days.npz", features=rows, sold=sold, importance=np.linspace(0.5, 1.5, ROWS).astype(np.float32))


def _multi_output(folder: Path) -> None:
    rows, answers = _model(folder, "halves", 8, {"digit": (5, "softmax"), "is_even": (1, "sigmoid")})
    even = (answers["is_even"][:, 0] > 0.5).astype(np.int64)
    _save(folder / "rows.npz", features=rows, label=answers["digit"].argmax(1), even=even)


def _ranking(folder: Path) -> None:
    rows, answers = _model(folder, "ranker", 4, {"relevance": (1, "linear")})
    relevance = np.digitize(answers["relevance"][:, 0], [-0.5, 0, 0.5]).astype(np.float32)
    _save(folder / "documents.npz", features=rows, relevance=relevance, query=np.arange(ROWS) // 12)


FILES: dict[str, Callable[[Path], None]] = {
    "binary": _binary,
    "flips": _binary,
    "eval-config": _binary,
    "multi-class": _multi_class,
    "regression": _regression,
    "multi-output": _multi_output,
    "ranking": _ranking,
}


def report_of(folder: Path, job_text: str) -> tuple[Any, str]:
    """The report of the job's only model, and the folder of TFMA's files."""
    (folder / "job.yaml").write_text(job_text)
    (plan,) = [fingerprint(plan) for plan in plan_models(load_job(folder / "job.yaml"), str(folder / "out"))]
    (exported,) = export_isolated((plan,))
    tasks = shard_tasks(plan, exported)
    evaluation = merge([evaluate_isolated(task, referenced=exported.referenced) for task in tasks])
    report = build(plan, exported, with_metrics(plan, exported, evaluation))
    return report, os.path.join(plan.staging_directory(), "evaluation")


def test_there_is_a_recipe_for_every_common_case() -> None:
    assert {name for name, _ in RECIPES} == FILES.keys()


_BY_DAY = ("binary", "multi-class", "eval-config")


@pytest.mark.parametrize(
    ("name", "job_text"),
    [
        pytest.param(name, text, id=f"{number} {name}", marks=() if name in _BY_DAY else pytest.mark.nightly)
        for number, (name, text) in enumerate(RECIPES)
    ],
)
def test_a_recipe_runs(tmp_path: Path, name: str, job_text: str) -> None:
    import tensorflow_model_analysis as tfma

    FILES[name](tmp_path)
    report, evaluation = report_of(tmp_path, job_text)
    assert report["metrics"]["problems"] == []
    float32 = report["variants"]["float32"]
    assert float32["status"] == "blessed", float32["reason"]
    gated = {name: facts for name, facts in float32["metrics"].items() if facts["limit"]}
    assert gated, float32["metrics"]
    assert all(facts["is_within"] and facts["value"] is not None for facts in float32["metrics"].values() if facts["limit"])
    result = tfma.load_eval_result(evaluation, model_name="float32")
    assert len(result.slicing_metrics) == len(report["metrics"]["row_counts"])
    validation = tfma.load_validation_result(evaluation)
    every = [report["saved_model"], *report["variants"].values()]
    limits = [facts["is_within"] for one in every for facts in _all_metrics(one) if facts["limit"]]
    assert validation.validation_ok == all(limits)


def _all_metrics(artifact: dict[str, Any]) -> list[dict[str, Any]]:
    return [facts for found in (artifact["metrics"], *artifact["metric_slices"].values()) for facts in found.values()]
