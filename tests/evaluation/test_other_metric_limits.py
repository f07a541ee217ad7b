"""Other limits on task metrics: judged again from the values that the report holds, as TFMA judges them in a run from nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from liteferry.config.metric_limits import bounds_of, without_numbers
from liteferry.evaluation.tfma.results import MetricGate, MetricsResult, MetricValue, ModelMetrics
from liteferry.evaluation.verdict import LackingError
from liteferry.output.model_folder import scan
from liteferry.output.publish import judge_and_publish
from liteferry.plan.model_plan import ModelPlan
from liteferry.report import rejudge
from tests.evaluation.metric_jobs import compute, plan_of
from tests.evaluation.test_metrics import CLASSES, COUNTRIES, SCORES, WORSE_SCORES
from tests.output.test_publish import evaluate, export, make_plan

COLUMNS = {"label": CLASSES, "country": COUNTRIES}
OUTPUTS = {"reference": SCORES, "saved_model": SCORES, "float32": WORSE_SCORES}
SAMPLES = {"label": "label", "slices": [["country"]]}


def metrics(**limits: float) -> list[dict[str, Any]]:
    return [{"class_name": "SparseCategoricalAccuracy", "config": {"name": "accuracy"}, **limits}]


LOOSE, TIGHT = {"max_drop": 0.5, "min": 0.1}, {"max_drop": 0.001, "min": 0.1}
HIGH = {"max_drop": 0.5, "min": 0.999}


@pytest.fixture(scope="module")
def by_tfma(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[ModelPlan, MetricsResult]]:
    """By TFMA, under each set of limits."""
    named = {"loose": LOOSE, "tight": TIGHT, "high": HIGH}
    return {
        name: compute(tmp_path_factory.mktemp(name), COLUMNS, OUTPUTS, metrics=metrics(**limits), samples=SAMPLES)
        for name, limits in named.items()
    }


def report_of(folder: Path, found: tuple[ModelPlan, MetricsResult]) -> tuple[ModelPlan, dict[str, Any]]:
    """The report of a model whose answers are within its gates, with these task metrics."""
    plan = dataclasses.replace(make_plan(folder / "out"), metrics=found[0].metrics)
    judge_and_publish(plan, export(plan), dataclasses.replace(evaluate(), metrics=found[1]))
    return plan, scan(plan.model_directory()).published_report()


VERDICT = ("status", "reason", "saved_model", "variants", "recommended_variant", "passed_over", "judged_by", "metrics")


@pytest.mark.parametrize(("before", "after"), [("loose", "tight"), ("tight", "loose"), ("loose", "high"), ("high", "tight")])
def test_it_comes_to_what_tfma_comes_to(
    tmp_path: Path, by_tfma: dict[str, tuple[ModelPlan, MetricsResult]], before: str, after: str
) -> None:
    _, old = report_of(tmp_path / "old", by_tfma[before])
    plan, fresh = report_of(tmp_path / "new", by_tfma[after])
    assert {old["status"], fresh["status"]} <= {"blessed", "not_blessed"}
    again = rejudge.judged_again(old, rejudge.terms_of(plan))
    for key in VERDICT:
        assert again[key] == fresh[key], key


def test_the_cases_differ(tmp_path: Path, by_tfma: dict[str, tuple[ModelPlan, MetricsResult]]) -> None:
    found = {name: report_of(tmp_path / name, one)[1]["status"] for name, one in by_tfma.items()}
    assert found == {"loose": "blessed", "tight": "not_blessed", "high": "not_blessed"}


def test_only_the_numbers_of_limits_may_differ_for_the_same_work(tmp_path: Path) -> None:
    def work(name: str, found: list[dict[str, Any]]) -> str:
        return plan_of(tmp_path / "job", COLUMNS, metrics=found, samples=SAMPLES).work_digest

    same = work("loose", metrics(**LOOSE))
    assert work("tight", metrics(**TIGHT)) == same
    assert work("one more", metrics(**LOOSE, max=1.0)) != same
    assert work("one less", metrics(max_drop=0.5)) != same
    assert work("another metric", [{"class_name": "AUC", **LOOSE}]) != same


def written(folder: Path, limits: dict[str, float], value: float) -> tuple[ModelPlan, MetricsResult]:
    """A plan with these limits, and a result as the engine gives it: the checkpoint has 0.9, the variant `value`."""
    plan = plan_of(folder, COLUMNS, metrics=metrics(**limits), samples=SAMPLES)
    assert plan.metrics is not None
    values = {"reference": 0.9, "saved_model": 0.9, "float32": value}
    models = {}
    for name, one in values.items():
        drop = 0.9 - one
        observed = {"max_drop": drop, "min_value": one}
        gates = (
            ()
            if name == "reference"
            else tuple(
                MetricGate(
                    slice="Overall",
                    metric="accuracy",
                    output="",
                    kind=bound.kind,
                    limit=bound.shown,
                    observed=observed[bound.kind],
                    is_within=bound.holds(observed[bound.kind]),
                )
                for bound in plan.metrics.bounds()
            )
        )
        change = None if name == "reference" else -drop
        models[name] = ModelMetrics(
            values=(MetricValue(slice="Overall", metric="accuracy", value=one, change=change),), gates=gates
        )
    return plan, MetricsResult(models=models, row_counts={"Overall": 10})


@pytest.mark.parametrize(("before", "after", "status"), [(LOOSE, TIGHT, "not_blessed"), (TIGHT, LOOSE, "blessed")])
def test_values_written_by_hand_are_judged_again(
    tmp_path: Path, before: dict[str, float], after: dict[str, float], status: str
) -> None:
    _, old = report_of(tmp_path / "old", written(tmp_path / "a", before, 0.8))
    plan, fresh = report_of(tmp_path / "new", written(tmp_path / "b", after, 0.8))
    again = rejudge.judged_again(old, rejudge.terms_of(plan))
    assert again["status"] == fresh["status"] == status != old["status"]
    for key in VERDICT:
        assert again[key] == fresh[key], key


def test_two_equal_limits_that_become_different_take_the_model(
    tmp_path: Path, by_tfma: dict[str, tuple[ModelPlan, MetricsResult]]
) -> None:
    plan, report = report_of(tmp_path, by_tfma["loose"])
    bounds = rejudge.terms_of(plan).metric_limits
    twice = [dataclasses.asdict(one) for one in (*bounds, *bounds)]
    other = dataclasses.replace(bounds[0], bound=0.3, shown=0.3)
    report = {**report, "judged_by": {**report["judged_by"], "metric_limits": twice}}
    terms = dataclasses.replace(rejudge.terms_of(plan), metric_limits=(*bounds, other, *bounds[1:]))
    with pytest.raises(LackingError, match="have become different"):
        rejudge.judged_again(report, terms)


def test_a_report_that_does_not_say_its_limits_takes_the_model(
    tmp_path: Path, by_tfma: dict[str, tuple[ModelPlan, MetricsResult]]
) -> None:
    plan, report = report_of(tmp_path, by_tfma["loose"])
    del report["judged_by"]["metric_limits"]
    with pytest.raises(LackingError, match="task metrics"):
        rejudge.judged_again(report, rejudge.terms_of(plan))


def test_limits_stand_in_their_order_with_what_the_user_wrote(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, COLUMNS, metrics=metrics(min=0.5, max_drop=0.25), samples=SAMPLES)
    assert plan.metrics is not None
    assert [(one.kind, one.shown) for one in plan.metrics.bounds()] == [("max_drop", 0.25), ("min_value", 0.5)]
    assert bounds_of(plan.metrics.eval_config, {}) != plan.metrics.bounds(), "bounds have a slack for float32"
    assert "0.25" not in str(without_numbers(plan.metrics.eval_config))
