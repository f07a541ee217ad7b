"""A process of the evaluation that dies with its results out may cost time: no fact, and never a verdict that hangs on luck."""

from __future__ import annotations

from typing import Any

import pytest

from liteferry.config.load import load_job
from liteferry.errors import ReasonCode
from liteferry.evaluation.compute_metrics import with_metrics
from liteferry.evaluation.evaluate import evaluate_isolated, evaluate_siblings_isolated, shard_tasks
from liteferry.evaluation.measure import Units
from liteferry.evaluation.results import SAVED_MODEL, Evaluation, EvaluationTask
from liteferry.exporting.export import export_isolated
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models
from liteferry.report.model_report import build
from liteferry.sandbox.units import Unit
from liteferry.types import ExportedModel
from tests.evaluation import dying_units
from tests.support import Run, facts_of

Exported = tuple[ModelPlan, ExportedModel]


@pytest.fixture(scope="module")
def exported(demo: Run, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    job = load_job(demo.out / "fleet" / "job.yaml")
    plans = plan_models(job, str(tmp_path_factory.mktemp("out")))
    plan = fingerprint(next(plan for plan in plans if plan.model_id == "mlp"))
    return plan, export_isolated([plan])[0]


@pytest.fixture(scope="module")
def task(exported: Exported) -> EvaluationTask:
    return shard_tasks(*exported)[0]


@pytest.fixture(scope="module")
def undisturbed(task: EvaluationTask) -> Evaluation:
    return evaluate_isolated(task, referenced=True)


def facts(exported: Exported, evaluation: Evaluation) -> Any:
    report = facts_of(build(*exported, evaluation))
    return {key: value for key, value in report.items() if key != "timings_s"}


def has_costs(evaluation: Evaluation) -> dict[str, bool]:
    variants = {name: result for name, result in evaluation.candidates.items() if name != SAVED_MODEL}
    return {name: bool(result.latency_ms) and result.activation_bytes is not None for name, result in variants.items()}


@pytest.mark.parametrize(
    "unit",
    [
        pytest.param(dying_units.alone_killed_at_kernels, id="killed twice at the noise floor"),
        pytest.param(dying_units.alone_aborts_at_kernels, id="crashed at the noise floor", marks=pytest.mark.nightly),
        pytest.param(dying_units.alone_aborts_at_costs, id="crashed at the first latency"),
    ],
)
def test_what_a_dead_process_left_unmeasured_is_measured_again(
    unit: Unit, task: EvaluationTask, exported: Exported, undisturbed: Evaluation
) -> None:
    evaluation = evaluate_isolated(task, referenced=True, units=Units(candidates=unit))
    assert undisturbed.noise["float32"] is not None, "nothing was there to lose"
    assert facts(exported, evaluation) == facts(exported, undisturbed)
    assert all(has_costs(evaluation).values()), has_costs(evaluation)


@pytest.mark.parametrize(
    "unit", [dying_units.in_turn_killed_at_kernels, pytest.param(dying_units.in_turn_killed_at_costs, marks=pytest.mark.nightly)]
)
def test_siblings_whose_common_process_died_are_told_apart_no_worse(
    unit: Unit, task: EvaluationTask, exported: Exported, undisturbed: Evaluation
) -> None:
    both = evaluate_siblings_isolated([task, task], units=Units(candidates_in_turn=unit))  # a model is its own nearest sibling
    for evaluation in both:
        assert facts(exported, evaluation) == facts(exported, undisturbed)
        assert all(has_costs(evaluation).values()), has_costs(evaluation)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (dying_units.kernels_are_killed, "KILLED"),
        pytest.param(dying_units.kernels_meet_a_full_disk, "STORAGE_FAILED", marks=pytest.mark.nightly),
    ],
)
def test_what_ends_so_again_is_the_variants_reason_and_the_next_run_tries_it(
    end: Unit, code: str, task: EvaluationTask, exported: Exported
) -> None:
    units = Units(candidates=dying_units.alone_killed_at_kernels, kernels=end)
    report: Any = build(*exported, with_metrics(*exported, evaluate_isolated(task, referenced=True, units=units)))
    assert report["variants"]["float32"]["reason"]["code"] == code
    assert ReasonCode(code).is_transient
    assert report["variants"]["dynamic_int8"]["status"] == "blessed", "the others are heard"


def test_kernels_that_crash_on_the_file_leave_default_gates_and_a_warning(
    task: EvaluationTask, exported: Exported, undisturbed: Evaluation
) -> None:
    units = Units(candidates=dying_units.alone_aborts_at_kernels, kernels=dying_units.kernels_abort)
    report: Any = build(*exported, with_metrics(*exported, evaluate_isolated(task, referenced=True, units=units)))
    assert report["noise_floor"]["float32"] is None
    assert report["variants"]["float32"]["status"] == "blessed", report["variants"]["float32"]["reason"]
    (warning,) = [sentence for sentence in report["warnings"] if "noise floor" in sentence]
    assert "default gates stand" in warning and "SIGABRT" in warning


@pytest.mark.parametrize("at_once", [1, 2], ids=["alone", "siblings"])
def test_answers_of_a_process_that_leaves_a_link_are_not_believed(at_once: int, task: EvaluationTask, exported: Exported) -> None:
    units = Units(candidates=dying_units.leaves_a_link, candidates_in_turn=dying_units.siblings_leave_a_link)
    evaluation = evaluate_siblings_isolated([task] * at_once, units=units)[0]
    assert evaluation.reason is not None and evaluation.reason.code is ReasonCode.LOAD_UNSAFE
    assert build(*exported, evaluation)["status"] != "blessed"
