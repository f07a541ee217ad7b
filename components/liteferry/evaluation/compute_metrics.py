"""Computes task metrics with TFMA from predictions on disk: one sandboxed unit of work for each model.

The artifacts ran in a sandbox without Keras and without the user's code, which wrote their answers to disk (`predictions`).
Here a process with TFMA computes every metric for the checkpoint, the SavedModel and all variants, compares them with the
checkpoint as TFMA's baseline, and writes TFMA's own files. The stage calls `compute_isolated`.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from liteferry import sandbox, storage
from liteferry.errors import Stage
from liteferry.evaluation.results import SAVED_MODEL, CandidateResult, Evaluation
from liteferry.evaluation.tfma.results import REFERENCE, MetricGate, MetricsResult, ModelMetrics
from liteferry.exporting import reference
from liteferry.json_records import decode
from liteferry.plan.local_inputs import InputNeeds, hold_inputs
from liteferry.plan.model_plan import ModelPlan
from liteferry.sandbox import Flavor, Reporter, SandboxSpec
from liteferry.types import ExportedModel

# Imported in the child only when it has a task, since both import TFMA.
sandbox.preload(
    __name__,
    "liteferry.evaluation.tfma.prediction_keys",
    "liteferry.evaluation.tfma.rows",
    flavors=(Flavor.METRICS,),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricsTask:
    """One model. `artifacts`: name -> path relative to the model's folder, of those that answered every row."""

    plan: ModelPlan
    artifacts: Mapping[str, str]


def metrics_tasks(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> list[MetricsTask]:
    """The unit of work of one model; none without metrics, and none when no artifact has answered every row."""
    if plan.metrics is None or evaluation.reason is not None or exported.saved_model is None:
        return []
    paths = {SAVED_MODEL: exported.saved_model.path}
    paths |= {name: facts.path for name, facts in exported.variants.items() if facts.path is not None}
    answered = {name: path for name, path in paths.items() if _has_answered(evaluation.candidates.get(name))}
    return [MetricsTask(plan=plan, artifacts=answered)] if answered else []


def with_metrics(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> Evaluation:
    """The evaluation with its task metrics, computed now; unchanged for a job without metrics."""
    results = [compute_isolated(task) for task in metrics_tasks(plan, exported, evaluation)]
    return dataclasses.replace(evaluation, metrics=results[0]) if results else evaluation


def _has_answered(result: CandidateResult | None) -> bool:
    return result is not None and result.reason is None


def compute_isolated(task: MetricsTask) -> MetricsResult:
    """All task metrics of one model, in a process of its own. Never raises for what TFMA or a metric does."""
    assert task.plan.metrics is not None
    if task.plan.metrics.problem is not None:
        return MetricsResult(reason=task.plan.metrics.problem)
    with hold_inputs([task.plan], lambda _: InputNeeds(code=True)) as here:
        if here.problems:
            return MetricsResult(reason=here.problems[task.plan.model_id])
        spec = SandboxSpec(flavor=Flavor.METRICS, limits=task.plan.limits, writable=[task.plan.staging_directory()])
        outcome = here.run(compute_metrics, dataclasses.replace(task, plan=here.plans[0]), spec)
    facts: dict[str, Any] = {"models": {}}
    for message in outcome.results:
        facts["models"].update(message.pop("models", {}))
        facts.update(message)
    reason = outcome.reason
    if reason is not None:
        storage.remove_tree(_partial(task.plan))
        storage.remove_tree(_directory(task.plan))
        reason = dataclasses.replace(reason, message=f"task metrics: {reason.message}")
    whole = decode(MetricsResult, facts) if reason is None else MetricsResult(reason=reason)
    return dataclasses.replace(whole, seconds=outcome.seconds, peak_memory_bytes=outcome.peak_memory_bytes)


def _directory(plan: ModelPlan) -> str:
    from liteferry.evaluation.tfma.files import EVALUATION

    return os.path.join(plan.staging_directory(), EVALUATION)


def _partial(plan: ModelPlan) -> str:
    return f"{_directory(plan)}.partial"


def compute_metrics(task: MetricsTask, reporter: Reporter) -> None:
    """Runs in the sandbox: reads predictions, computes, compares, writes TFMA's files, hands over the numbers and gates.

    Hands over {"models": {name: ModelMetrics}} for each model, then the other fields of MetricsResult.
    """
    from liteferry.evaluation.tfma import engine, files, prediction_keys, rows, thresholds

    plan = task.plan
    assert plan.metrics is not None
    reporter.stage(Stage.EVALUATE, subject=plan.model_id)
    _import_metrics(plan)
    models = [REFERENCE, *task.artifacts]
    config, broken = prediction_keys.complete(plan.metrics, models, reference.output_names(plan, shard_index=0))
    results = engine.evaluate(config, lambda: rows.blocks(plan, config, tuple(task.artifacts)))
    nans = rows.find_nans(plan, tuple(task.artifacts))
    missing = [(metric.name, metric.problem) for metric in broken if metric.limits]
    missing += thresholds.thresholds_on(config, nans)
    validation = files.validate(config, results, not_computable=missing)
    storage.remove_tree(_partial(plan))
    sources = files.Sources(
        samples_path=plan.samples.sample_set.path if plan.samples.sample_set else "",
        model_paths={REFERENCE: plan.uri, **{name: os.path.join("..", path) for name, path in task.artifacts.items()}},
    )
    files.write(_partial(plan), config, results, validation=validation, sources=sources)
    storage.remove_tree(_directory(plan))  # left by a first attempt that was killed after writing it
    os.rename(_partial(plan), _directory(plan))
    for model in models:
        gates: list[MetricGate] = []
        if model != REFERENCE:
            gates += thresholds.gates_of(model, config, results, plan.metrics.limits, nans[model])
            gates += [gate for metric in broken for gate in thresholds.unmet(metric.name, metric.limits)]
        found = ModelMetrics(values=tuple(thresholds.values_of(model, results)), gates=tuple(gates))
        reporter.result({"models": {model: dataclasses.asdict(found)}})
    row_counts = {thresholds.slice_name(key): count for key, count in results.row_counts.items()}
    problems = [*(f"{metric.name}: {metric.problem}" for metric in broken), *results.problems]
    problems += dict.fromkeys(sentence for outputs in nans.values() for sentence in outputs.values())
    reporter.result({"row_counts": row_counts, "problems": problems})


def _import_metrics(plan: ModelPlan) -> None:
    """Imports the job's modules that a metric names: TFMA imports a metric's module by name and then finds it loaded."""
    from liteferry.loading import user_code

    assert plan.metrics is not None
    specs = json.loads(plan.metrics.eval_config)["metrics_specs"]
    named = {metric.get("module", "") for spec in specs for metric in spec["metrics"]}
    for module in plan.load.modules:
        if module in named or os.path.basename(module).removesuffix(".py") in named:
            user_code.import_module(module)
