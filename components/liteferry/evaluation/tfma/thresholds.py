"""TFMA's metrics and thresholds -> the numbers and limits that a report holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.config.metric_limits import MAX_DROP, MAX_RELATIVE_DROP, MAX_VALUE, MIN_VALUE
from liteferry.evaluation.tfma.engine import Results
from liteferry.evaluation.tfma.results import OVERALL, MetricGate, MetricValue


def name_of(key: Any) -> str:
    """A MetricKey as the report names it: `accuracy`, `digit/accuracy`, `macro_auc`, `precision (topK:3)`."""
    name = f"{key.aggregation_type}_{key.name}" if key.aggregation_type else key.name
    details = [str(key.sub_key)] if key.sub_key else []
    details += ["weighted"] if key.example_weighted else []
    output = f"{key.output_name}/" if key.output_name else ""
    return f"{output}{name} ({', '.join(details)})" if details else f"{output}{name}"


def slice_name(key: Any) -> str:
    """`Overall`, `label:3`, `age_X_gender:5_X_f`; `Overall - label:3` for a comparison of two slices."""
    from tensorflow_model_analysis.slicer import slicer_lib

    if slicer_lib.is_cross_slice_key(key):
        return " - ".join(str(slicer_lib.stringify_slice_key(one)) for one in key)
    return str(slicer_lib.stringify_slice_key(key))


def values_of(model: str, results: Results) -> Iterator[MetricValue]:
    """Every single number of one model, in every slice."""
    from tensorflow_model_analysis.metrics import metric_types

    for slice_key, metrics in results.sliced.items():
        for key, value in metrics.items():
            if type(key) is not metric_types.MetricKey or key.model_name not in (model, ""):
                continue
            if key.is_diff and key._replace(is_diff=False) in metrics:
                continue  # this key holds the change of another value
            number, low, high = _number(value)
            if number is None and not _is_number(value):
                continue  # an array, a plot's matrix: only TFMA's files hold them
            change, _, _ = _number(metrics.get(key.make_diff_key())) if not key.is_diff else (None, None, None)
            yield MetricValue(slice=slice_name(slice_key), metric=name_of(key), value=number, change=change, low=low, high=high)


def _is_number(value: Any) -> bool:
    from tensorflow_model_analysis.api import types

    inner = value.unsampled_value if isinstance(value, types.ValueWithTDistribution) else value
    return isinstance(inner, int | float | np.number) or (isinstance(inner, np.ndarray) and inner.size == 1 and inner.ndim == 0)


def _number(value: Any) -> tuple[float | None, float | None, float | None]:
    """(value, low, high); None for what is no finite number."""
    from tensorflow_model_analysis.api import types
    from tensorflow_model_analysis.utils import math_util

    if not _is_number(value):
        return None, None, None
    if not isinstance(value, types.ValueWithTDistribution):
        return _finite(value), None, None
    _, low, high = math_util.calculate_confidence_interval(value)
    return _finite(value.unsampled_value), _finite(low), _finite(high)


def _finite(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def gates_of(
    model: str, eval_config: Any, results: Results, limits: Mapping[str, float], spoiled: Mapping[str, str]
) -> Iterator[MetricGate]:
    """Every threshold of the EvalConfig for one model, in every slice it is meant for.

    Args:
      limits: from `MetricsPlan`: a threshold's number as the user wrote it.
      spoiled: outputs with NaN somewhere, "" for all; TFMA's numbers for them do not count.
    """
    from tensorflow_model_analysis.metrics import metric_specs

    thresholds = metric_specs.metric_thresholds_from_metrics_specs(eval_config.metrics_specs, eval_config=eval_config)
    for key, pairs in thresholds.items():
        if key.model_name != model:
            continue
        for spec, threshold in pairs:
            slices: list[Any] = [slice_key for slice_key in results.sliced if _is_meant(spec, slice_key)]
            for slice_key in slices or [None]:
                metrics = {} if slice_key is None else results.sliced[slice_key]
                where = _spec_name(spec) if slice_key is None else slice_name(slice_key)
                for kind, limit, value in _checks(threshold, key, metrics, eval_config):
                    observed = None if is_spoiled(key, spoiled) else value
                    shown = limits.get(repr(limit), limit)
                    is_within = observed is not None and (observed >= limit if kind == MIN_VALUE else observed <= limit)
                    yield MetricGate(
                        slice=where,
                        metric=name_of(key._replace(is_diff=False)),
                        output=key.output_name,
                        kind=kind,
                        limit=shown,
                        observed=observed,
                        is_within=is_within,
                    )


def is_spoiled(key: Any, spoiled: Mapping[str, str]) -> bool:
    """Whether a metric reads an output with NaN; one without an output's name reads the only one."""
    return bool(spoiled) and (not key.output_name or "" in spoiled or key.output_name in spoiled)


def thresholds_on(eval_config: Any, nans: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    """(metric, why) for every threshold on a metric that NaN has made invalid."""
    from tensorflow_model_analysis.metrics import metric_specs

    thresholds = metric_specs.metric_thresholds_from_metrics_specs(eval_config.metrics_specs, eval_config=eval_config)
    baseline = eval_config.model_specs[0].name
    keys = [key for key in thresholds if key.model_name != baseline and is_spoiled(key, nans[key.model_name])]
    return [(key.name, "; ".join(nans[key.model_name].values())) for key in keys]


def _is_meant(spec: Any, slice_key: Any) -> bool:
    """Whether a threshold for `spec` holds in a slice, as TFMA's validator decides it: without a spec, in every single slice."""
    from tensorflow_model_analysis.proto import config_pb2
    from tensorflow_model_analysis.slicer import slicer_lib

    is_cross = slicer_lib.is_cross_slice_key(slice_key)
    if isinstance(spec, config_pb2.CrossSlicingSpec):
        return is_cross and bool(slicer_lib.is_cross_slice_applicable(cross_slice_key=slice_key, cross_slicing_spec=spec))
    if is_cross:
        return False
    return spec is None or bool(slicer_lib.SingleSliceSpec(spec=spec).is_slice_applicable(slice_key))


def _spec_name(spec: Any) -> str:
    return " ".join(str(spec).split()) or OVERALL if spec is not None else OVERALL


def bounds_of(threshold: Any) -> Iterator[tuple[str, float, float]]:
    """(kind, limit, sign) for each bound of a threshold. Drops are positive when the model is worse than the baseline: `sign`
    times the change.
    """
    from tensorflow_model_analysis.proto import config_pb2

    if isinstance(threshold, config_pb2.GenericValueThreshold):
        if threshold.HasField("lower_bound"):
            yield MIN_VALUE, threshold.lower_bound.value, 1.0
        if threshold.HasField("upper_bound"):
            yield MAX_VALUE, threshold.upper_bound.value, 1.0
        return
    sign = -1.0 if threshold.direction == config_pb2.MetricDirection.HIGHER_IS_BETTER else 1.0
    if threshold.HasField("absolute"):
        yield MAX_DROP, sign * threshold.absolute.value, sign
    if threshold.HasField("relative"):
        yield MAX_RELATIVE_DROP, sign * threshold.relative.value, sign


def _checks(threshold: Any, key: Any, metrics: Mapping[Any, Any], eval_config: Any) -> Iterator[tuple[str, float, float | None]]:
    """(kind, limit, observed) for each bound of a threshold."""
    from tensorflow_model_analysis.utils import model_util

    for kind, limit, sign in bounds_of(threshold):
        value, _, _ = _number(metrics.get(key))
        if kind == MAX_RELATIVE_DROP and value is not None:
            base, _, _ = _number(metrics.get(key.make_baseline_key(model_util.get_baseline_model_spec(eval_config).name)))
            value = None if base is None or math.isclose(base, 0.0) else value / base
        yield kind, limit, None if value is None else sign * value


def unmet(name: str, limits: Sequence[tuple[str, float]]) -> list[MetricGate]:
    """Gates of a metric that TFMA cannot make."""
    return [
        MetricGate(slice=OVERALL, metric=name, output="", kind=kind, limit=limit, observed=None, is_within=False)
        for kind, limit in limits
    ]
