"""A job's EvalConfig for one model: names its artifacts, checks its outputs, and takes out what TFMA cannot compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from liteferry.config.metrics_config import MetricsPlan
from liteferry.evaluation.tfma.engine import first_words
from liteferry.evaluation.tfma.thresholds import bounds_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Broken:
    """A metric that cannot be computed for this model at all: why, and the (kind, limit) pairs that are therefore not met."""

    name: str
    problem: str
    limits: tuple[tuple[str, float], ...]


def complete(plan: MetricsPlan, models: Sequence[str], outputs: Sequence[str]) -> tuple[Any, tuple[Broken, ...]]:
    """(EvalConfig for all models with the first as baseline, metrics that had to be left out).

    Args:
      models: names, the reference first.
      outputs: the model's outputs. With a single one, metrics need not name it.
    """
    from google.protobuf import json_format
    from tensorflow_model_analysis.proto import config_pb2

    config = json_format.Parse(plan.eval_config, config_pb2.EvalConfig())
    template = config.model_specs[0]
    del config.model_specs[:]
    for model in models:
        spec = config.model_specs.add()
        spec.CopyFrom(template)
        spec.name, spec.is_baseline = model, model == models[0]
    broken: list[Broken] = []
    specs = list(config.metrics_specs)
    del config.metrics_specs[:]
    for spec in specs:
        unknown = [name for name in spec.output_names if name not in outputs]
        if len(outputs) == 1 and not unknown:
            del spec.output_names[:]  # TFMA takes a single output without a name
        del spec.model_names[:]
        spec.model_names.extend(models)
        metrics = list(spec.metrics)
        del spec.metrics[:]
        for metric in metrics:
            problem = _unknown_output(unknown, outputs) if unknown else _problem(config, spec, metric)
            if problem is None:
                spec.metrics.append(metric)
            else:
                broken.append(Broken(name=metric.class_name, problem=problem, limits=tuple(_limits(metric, plan))))
        if spec.metrics:
            config.metrics_specs.append(spec)
    return config, tuple(broken)


def _unknown_output(unknown: Sequence[str], outputs: Sequence[str]) -> str:
    return f"the model has no output {', '.join(map(repr, unknown))} (its outputs: {', '.join(outputs)}); correct output_name"


def _problem(config: Any, spec: Any, metric: Any) -> str | None:
    """Why TFMA cannot make the computations of a metric; None when it can."""
    from tensorflow_model_analysis.metrics import metric_specs

    alone = type(spec)()
    alone.CopyFrom(spec)
    alone.metrics.append(metric)
    del alone.metrics[:-1]
    try:
        metric_specs.to_computations([alone], eval_config=config)
        metric_specs.metric_thresholds_from_metrics_specs([alone], eval_config=config)
    except Exception as error:  # noqa: BLE001  # constructors of metrics, the user's among them, raise anything
        return first_words(error)
    return None


def _limits(metric: Any, plan: MetricsPlan) -> list[tuple[str, float]]:
    thresholds = [metric.threshold] if metric.HasField("threshold") else []
    thresholds += [one.threshold for one in (*metric.per_slice_thresholds, *metric.cross_slice_thresholds)]
    found = []
    for threshold in thresholds:
        for field in ("value_threshold", "change_threshold"):
            if threshold.HasField(field):
                found += [(kind, plan.limits.get(repr(limit), limit)) for kind, limit, _ in bounds_of(getattr(threshold, field))]
    return found
