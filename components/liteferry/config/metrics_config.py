"""The job's task metrics -> a TFMA EvalConfig as JSON, without importing TFMA, and the sample columns it needs.

The EvalConfig is complete except for the models, whose names are known only after they were made. Messages of EvalConfig need
protobuf alone: TFMA's generated module is loaded from its file, since importing it as usual imports TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from liteferry.config.known_metrics import COMPARES_MODELS, DIRECTIONS, HIGHER_IS_BETTER, LOWER_IS_BETTER, nearest
from liteferry.config.metric_limits import Bound, bounds_of
from liteferry.config.metric_settings import ConfidenceIntervals, MetricSpec, direction_of
from liteferry.errors import JobError, Reason, ReasonCode, Stage

if TYPE_CHECKING:
    from liteferry.config.job import Job, ModelSpec, SamplesSpec

_PROTO = "tensorflow_model_analysis.proto.config_pb2"
_THRESHOLDS = ("threshold", "thresholds", "per_slice_thresholds", "cross_slice_thresholds")
# TFMA's metrics are float32: a value that equals the limit exactly may differ from it by this much, and so may a difference of
# two values.
_RELATIVE_SLACK = 1e-6
_CHANGE_SLACK = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricsPlan:
    """The task metrics of one model.

    Args:
      eval_config: TFMA's EvalConfig as JSON; its one model spec stands for all models.
      columns: sample columns that metrics, weights and slices are computed from.
      labels, example_weights: output -> column; "" stands for every output.
      limits: limit as the EvalConfig has it, printed -> as the user wrote it.
      is_gated: whether anything has a limit.
      problem: why nothing can be computed.
    """

    eval_config: str
    columns: tuple[str, ...]
    labels: Mapping[str, str]
    example_weights: Mapping[str, str]
    limits: Mapping[str, float]
    is_gated: bool
    problem: Reason | None = None

    def bounds(self) -> tuple[Bound, ...]:
        """Every limit, in the order of the config."""
        return bounds_of(self.eval_config, self.limits)

    def readable_columns(self) -> tuple[str, ...]:
        """The columns to read with the rows; none if one of them does not exist."""
        return self.columns if self.problem is None else ()


def plan_metrics(job: Job, entry: ModelSpec, samples: SamplesSpec | None, columns: Sequence[str]) -> MetricsPlan | None:
    """The metrics of one `models` entry, or None when it has none.

    Args:
      samples: the entry's sample data; `columns`: what its files hold, () when they cannot be read.

    Raises:
      JobError: the EvalConfig cannot be read.
    """
    specs = job.metrics if entry.metrics is None else entry.metrics
    if samples is None or not (specs or job.eval_config):
        return None
    limits: dict[str, float] = {}
    if job.eval_config:
        config = read_eval_config(job.eval_config)
    else:
        config = {"metrics_specs": [_metrics_spec(spec, limits) for spec in specs]}
    model = _model_spec(config, samples)
    slices = [{"feature_keys": list(keys)} for keys in samples.slices if keys]
    config["model_specs"] = [model]
    config["slicing_specs"] = _distinct([{}, *config.get("slicing_specs", ()), *slices])
    if job.evaluation.confidence_intervals is not None:
        config["options"] = {**config.get("options", {}), **_intervals(job.evaluation.confidence_intervals)}
    labels = {**model.get("label_keys", {}), **({"": model["label_key"]} if model.get("label_key") else {})}
    weights = model.get("example_weight_keys", {})
    weights = {**weights, **({"": model["example_weight_key"]} if model.get("example_weight_key") else {})}
    needed = list(dict.fromkeys([*labels.values(), *weights.values(), *_columns_of(config)]))
    named = [text for text in _texts_in_configs(config) if text in columns]
    return MetricsPlan(
        eval_config=json.dumps(config, sort_keys=True),
        columns=tuple(dict.fromkeys([*needed, *named])),
        labels=labels,
        example_weights=weights,
        limits=limits,
        is_gated=any(True for _ in _thresholds(config)),
        problem=_missing_columns(needed, columns) if columns else None,
    )


def problems_of(job: Job) -> list[str]:
    """Parts of the job's metrics that TFMA's protobuf messages reject; each problem starts with its key."""
    lists = {"metrics": job.metrics}
    lists |= {f"models[{index}].metrics": entry.metrics for index, entry in enumerate(job.models) if entry.metrics}
    found = []
    for path, specs in lists.items():
        for index, spec in enumerate(specs):
            for key in ("binarize", "aggregate"):
                if getattr(spec, key) is not None:
                    found += _message_problems({key: getattr(spec, key)}, f"{path}[{index}].{key}")
    if job.eval_config:
        try:
            read_eval_config(job.eval_config)
        except JobError as error:
            found += error.problems
    return found


def read_eval_config(path: str) -> dict[str, Any]:
    """A TFMA EvalConfig from .pbtxt or .json as plain JSON. Raises JobError: unreadable, no metrics, or unknown ones."""
    from google.protobuf import json_format, text_format

    parse = json_format.Parse if path.endswith(".json") else text_format.Parse
    try:
        with open(path, encoding="utf-8") as file:
            message = parse(file.read(), config_proto().EvalConfig())
    except (OSError, UnicodeDecodeError) as error:
        raise JobError([f"eval_config: {path} cannot be read ({error}); correct the path"]) from error
    except (json_format.ParseError, text_format.ParseError) as error:
        kind = "JSON" if path.endswith(".json") else "text"
        raise JobError([f"eval_config: {path} is no EvalConfig in {kind} format: {error}"]) from error
    config: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    metrics = [metric for spec in config.get("metrics_specs", ()) for metric in spec.get("metrics", ())]
    if not metrics:
        raise JobError([f"eval_config: {path} has no metrics; add metrics_specs to it"])
    unknown = [metric["class_name"] for metric in metrics if not metric.get("module") and metric["class_name"] not in DIRECTIONS]
    if unknown:
        raise JobError([f"eval_config: {path}: {name!r} is no metric of TFMA or tf_keras{nearest(name)}" for name in unknown])
    return config


@functools.cache
def config_proto() -> Any:
    """TFMA's config_pb2 module, without TFMA."""
    from google.protobuf import wrappers_pb2

    assert wrappers_pb2.DESCRIPTOR.name, "EvalConfig's messages are built on these"
    if _PROTO in sys.modules:
        return sys.modules[_PROTO]
    package = importlib.util.find_spec("tensorflow_model_analysis")
    assert package is not None and package.origin is not None, "LiteFerry declares tensorflow-model-analysis"
    path = os.path.join(os.path.dirname(package.origin), "proto", "config_pb2.py")
    spec = importlib.util.spec_from_file_location("liteferry_tfma_config_pb2", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _message_problems(fields: Mapping[str, Any], path: str) -> list[str]:
    from google.protobuf import json_format

    try:
        json_format.Parse(json.dumps(fields), config_proto().MetricsSpec())
    except json_format.ParseError as error:
        return [f"{path}: TFMA does not take this: {error}"]
    return []


def _metrics_spec(spec: MetricSpec, limits: dict[str, float]) -> dict[str, Any]:
    config, binarize = dict(spec.config), spec.binarize
    if spec.module is None and binarize is None:
        binarize = _binarize(config)
    metric: dict[str, Any] = {"class_name": spec.class_name, "config": json.dumps(config, sort_keys=True)}
    if spec.module is not None:
        metric["module"] = spec.module
    threshold = _threshold(spec, limits)
    if threshold and spec.overall_only:
        metric["per_slice_thresholds"] = [{"slicing_specs": [{}], "threshold": threshold}]
    elif threshold:
        metric["threshold"] = threshold
    options = {"query_key": spec.query_key, "binarize": binarize, "aggregate": spec.aggregate}
    found: dict[str, Any] = {"metrics": [metric], **{key: value for key, value in options.items() if value is not None}}
    if spec.output_name is not None:
        found["output_names"] = [spec.output_name]
    return found


def _binarize(config: dict[str, Any]) -> dict[str, Any] | None:
    """Takes top_k, class_id and top_k_list out of a metric's config and says the same in BinarizationOptions: the values stay
    equal, and TFMA finds thresholds only in this form.
    """
    found: dict[str, Any] = {}
    for key, option in (("top_k", "top_k_list"), ("top_k_list", "top_k_list"), ("class_id", "class_ids")):
        value = config.get(key)
        if isinstance(value, int) or (isinstance(value, Sequence) and not isinstance(value, str)):
            del config[key]
            found.setdefault(option, {"values": []})["values"] += [value] if isinstance(value, int) else list(value)
    return found or None


def _threshold(spec: MetricSpec, limits: dict[str, float]) -> dict[str, Any]:
    threshold: dict[str, Any] = {}
    bounds = {}
    if spec.class_name in COMPARES_MODELS:
        return _change_threshold(spec, limits)
    for bound, limit, sign in (("lower_bound", spec.min, -1), ("upper_bound", spec.max, 1)):
        if limit is not None:
            bounds[bound] = limit + sign * abs(limit) * _RELATIVE_SLACK
            limits[repr(bounds[bound])] = limit
    if bounds:
        threshold["value_threshold"] = bounds
    if spec.max_drop is not None:
        worse = spec.max_drop + min(_CHANGE_SLACK, spec.max_drop / 1000)
        limits[repr(worse)] = spec.max_drop
        is_higher = direction_of(spec) == HIGHER_IS_BETTER
        direction = HIGHER_IS_BETTER if is_higher else LOWER_IS_BETTER
        threshold["change_threshold"] = {"absolute": -worse if is_higher else worse, "direction": direction.upper()}
    return threshold


def _change_threshold(spec: MetricSpec, limits: dict[str, float]) -> dict[str, Any]:
    """The limit of a metric that compares an artifact with the checkpoint by itself: to TFMA its value is a change."""
    if spec.max is None:
        return {}
    worse = spec.max + abs(spec.max) * _RELATIVE_SLACK
    limits[repr(worse)] = spec.max
    return {"change_threshold": {"absolute": worse, "direction": LOWER_IS_BETTER.upper()}}


def _model_spec(config: Mapping[str, Any], samples: SamplesSpec) -> dict[str, Any]:
    """The EvalConfig's own model spec without its name; labels and weights of the job file win."""
    kept = ("label_key", "label_keys", "example_weight_key", "example_weight_keys", "padding_options", "prediction_key")
    model = {key: value for key, value in next(iter(config.get("model_specs", ())), {}).items() if key in kept}
    if samples.label is not None or samples.labels:
        model = {key: value for key, value in model.items() if key not in ("label_key", "label_keys")}
        model |= {"label_key": samples.label} if samples.label is not None else {"label_keys": dict(samples.labels)}
    if samples.example_weight is not None:
        model.pop("example_weight_keys", None)
        model["example_weight_key"] = samples.example_weight
    return model


def _intervals(method: ConfidenceIntervals) -> dict[str, Any]:
    return {"compute_confidence_intervals": True, "confidence_intervals": {"method": method.value.upper()}}


def _distinct(specs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return list({json.dumps(spec, sort_keys=True): spec for spec in specs}.values())


def _columns_of(config: Mapping[str, Any]) -> Iterator[str]:
    """Columns that slices and queries name."""
    crossed = [spec for cross in config.get("cross_slicing_specs", ()) for spec in _crossed(cross)]
    for spec in [*config.get("slicing_specs", ()), *crossed]:
        yield from spec.get("feature_keys", ())
        yield from spec.get("feature_values", {})
    yield from (spec["query_key"] for spec in config["metrics_specs"] if spec.get("query_key"))


def _crossed(cross: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [cross.get("baseline_spec", {}), *cross.get("slicing_specs", ())]


def _texts_in_configs(config: Mapping[str, Any]) -> Iterator[str]:
    """Texts in the configs of metrics, some of which name columns, as the gain_key of NDCG does."""
    for spec in config["metrics_specs"]:
        for metric in spec.get("metrics", ()):
            text = metric.get("config") or "{}"
            for value in json.loads(text if text.startswith("{") else f"{{{text}}}").values():
                yield from (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str))


def _thresholds(node: Any) -> Iterator[Any]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in _THRESHOLDS and value:
                yield value
            yield from _thresholds(value)
    elif isinstance(node, list):
        for item in node:
            yield from _thresholds(item)


def _missing_columns(needed: Sequence[str], columns: Sequence[str]) -> Reason | None:
    missing = [name for name in needed if name not in columns]
    if not missing:
        return None
    message = (
        f"the task metrics need the column {', '.join(map(repr, missing))}, which the samples do not have "
        f"(columns: {', '.join(sorted(columns))}); correct label, example_weight, slices or query_key"
    )
    return Reason(code=ReasonCode.SAMPLES_MISMATCH, stage=Stage.SAMPLES, message=message)
