"""The job file's `metrics`: TFMA metric specs with limits, and the problems between them and the rest of the job."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, Strict

from liteferry.config.known_metrics import COMPARES_MODELS, DIRECTIONS, HIGHER_IS_BETTER, LOWER_IS_BETTER, NEEDS_NO_LABEL, nearest
from liteferry.config.value_types import FrozenDict, JsonObject, Number, Record, Text

LIMITS = ("max_drop", "min", "max")


class Direction(str, enum.Enum):
    """Whether a higher or a lower value of a metric is better."""

    HIGHER_IS_BETTER = HIGHER_IS_BETTER
    LOWER_IS_BETTER = LOWER_IS_BETTER


class ConfidenceIntervals(str, enum.Enum):
    """How TFMA estimates the interval around every metric. `jackknife`: cheaper; `poisson_bootstrap`: 20 passes over the rows."""

    JACKKNIFE = "jackknife"
    POISSON_BOOTSTRAP = "poisson_bootstrap"


class MetricSpec(Record):
    """One task metric, computed by TFMA for the checkpoint and every artifact, and how much worse an artifact may be."""

    class_name: Text
    """Class in TFMA or in tf_keras.metrics, for example SparseCategoricalAccuracy, AUC, MeanSquaredError, NDCG."""
    module: Text | None = None
    """Module of a metric of your own, or of a tf_keras loss."""
    config: JsonObject = Field(default_factory=FrozenDict)
    """Arguments of the class, such as {name: accuracy}. Text in it that names a sample column gives the metric that column."""
    output_name: Text | None = None
    """Output it is computed on; needed for models with several."""
    max_drop: Annotated[Number, Field(ge=0)] | None = None
    """How much worse than the checkpoint's own value it may be at most, in its own unit."""
    min: Number | None = None
    """Least value that an artifact needs."""
    max: Number | None = None
    """Greatest value that an artifact may have."""
    direction: Direction | None = None
    """Which direction is better, if LiteFerry does not know: higher_is_better or lower_is_better."""
    overall_only: Annotated[bool, Strict()] = False
    """Limits hold over all rows together, not in every slice."""
    query_key: Text | None = None
    """Column whose equal values make one query, for ranking metrics."""
    binarize: JsonObject | None = None
    """TFMA's BinarizationOptions, for example {top_k_list: {values: [1, 3]}}."""
    aggregate: JsonObject | None = None
    """TFMA's AggregationOptions, for example {micro_average: true}."""


def disagreements(raw: Mapping[Any, Any]) -> list[str]:
    """Problems with the metrics of a raw job of any shape, each a sentence that starts with its key."""
    problems: list[str] = []
    lists = {"metrics": raw.get("metrics")}
    lists |= {f"models[{index}].metrics": model.get("metrics") for index, model in _mappings(raw.get("models"))}
    for path, metrics in lists.items():
        for index, metric in _mappings(metrics):
            problems += _metric_problems(metric, f"{path}[{index}]")
        if metrics and raw.get("eval_config") is not None:
            problems.append(f"{path}: there is an eval_config, too; put these metrics into it, or remove one of the two")
    return problems + _label_problems(raw) + _sample_problems(raw)


def _metric_problems(metric: Mapping[Any, Any], path: str) -> list[str]:
    problems = []
    name, module = _class_name(metric), metric.get("module")
    if name and module is None and name not in DIRECTIONS:
        problems.append(
            f"{path}.class_name: {name!r} is no metric of TFMA or tf_keras.metrics{nearest(name)}; "
            "correct it, or name the module that defines it under module"
        )
    is_known = (name in DIRECTIONS or (name and module is not None)) and name not in COMPARES_MODELS
    if metric.get("max_drop") is not None and is_known and _direction(metric) is None:
        problems.append(
            f"{path}.max_drop: LiteFerry does not know which way {name} is better; "
            "add direction: higher_is_better or lower_is_better"
        )
    for limit in ("max_drop", "min") if name in COMPARES_MODELS else ():
        if metric.get(limit) is not None:
            problems.append(f"{path}.{limit}: {name} compares an artifact with the checkpoint by itself; give it a max instead")
    low, high = metric.get("min"), metric.get("max")
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        problems.append(f"{path}.min: {low!r} is above max, {high!r}; no value could meet both")
    return problems


def _class_name(metric: Mapping[Any, Any]) -> str:
    name = metric.get("class_name")
    return name if isinstance(name, str) else ""


def _direction(metric: Mapping[Any, Any]) -> str | None:
    """Which direction of the metric is better: the user's setting, else the known direction."""
    told = metric.get("direction")
    if told is not None:
        return str(told.value if isinstance(told, enum.Enum) else told)
    module = str(metric.get("module") or "")
    if "losses" in module.split("."):
        return LOWER_IS_BETTER
    return DIRECTIONS.get(str(metric.get("class_name"))) if not module or module.startswith("tensorflow_model_analysis") else None


def direction_of(spec: MetricSpec) -> str | None:
    """Which direction of a metric is better, HIGHER_IS_BETTER or LOWER_IS_BETTER; None when it is not known."""
    return _direction({"class_name": spec.class_name, "module": spec.module, "direction": spec.direction})


def _label_problems(raw: Mapping[Any, Any]) -> list[str]:
    """A metric with a limit needs labels; without them its gate could never be met."""
    problems = []
    samples = raw.get("samples") if isinstance(raw.get("samples"), Mapping) else {}
    assert isinstance(samples, Mapping)
    for number, model in _mappings(raw.get("models")):
        path = "metrics" if model.get("metrics") is None else f"models[{number}].metrics"
        name = model.get("samples") or (next(iter(samples)) if len(samples) == 1 else None)
        entry = samples.get(name) if isinstance(name, str) else None
        if not isinstance(entry, Mapping) or entry.get("label") is not None or entry.get("labels"):
            continue
        for index, metric in _mappings(raw.get("metrics") if model.get("metrics") is None else model["metrics"]):
            if any(metric.get(limit) is not None for limit in LIMITS) and _class_name(metric) not in NEEDS_NO_LABEL:
                problems.append(
                    f"{path}[{index}]: {_class_name(metric)} has a limit, and samples.{name} has no label to compute it "
                    f"from; add label: COLUMN to samples.{name}, or remove the limit"
                )
    return list(dict.fromkeys(problems))


def _sample_problems(raw: Mapping[Any, Any]) -> list[str]:
    samples = raw.get("samples")
    return [
        f"samples.{name}.labels: there is a label, too; keep label for one column for all outputs, labels for one for each output"
        for name, entry in (samples.items() if isinstance(samples, Mapping) else ())
        if isinstance(entry, Mapping) and entry.get("labels") and entry.get("label") is not None
    ]


def _mappings(value: Any) -> list[tuple[int, Mapping[Any, Any]]]:
    """The mappings in a list, with their places; a list is what this value should be."""
    items: Sequence[Any] = value if isinstance(value, (list, tuple)) else ()
    return [(index, item) for index, item in enumerate(items) if isinstance(item, Mapping)]
