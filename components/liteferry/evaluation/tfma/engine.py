"""Runs TFMA's own metric computations over rows on disk, without a Beam pipeline.

TFMA's evaluator wires preprocessors, combiners and derived computations into a graph; building and running such a graph costs
seconds for every model. Here the same preprocessors and combiners are called directly, in the order of the rows, so the numbers
depend neither on shards nor on workers. tests/evaluation/test_tfma_engine.py compares the results with TFMA's evaluator. Some
of TFMA's private names are used, so the dependency is pinned to one minor version.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.evaluation.tfma.blocks import Block, SliceKey, feeders
from liteferry.evaluation.tfma.intervals import Resampling, Sliced

Extracts = Mapping[str, Any]
_MESSAGE_CHARS = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """`sliced`: slice -> {MetricKey, PlotKey or AttributionsKey: value}, as TFMA's evaluator hands them to its writer.

    `row_counts`: rows of each slice. `problems`: a sentence for every computation that failed; its metrics are absent.
    """

    sliced: Sliced
    row_counts: dict[SliceKey, int]
    problems: tuple[str, ...]


def evaluate(eval_config: Any, blocks: Callable[[], Iterator[Block]]) -> Results:
    """Computes every metric of an EvalConfig for every model and slice.

    Computations are shared between metrics, as in TFMA. When one fails, all metrics are computed again, each on its own, so
    that a metric that cannot be computed costs only itself.

    Args:
      blocks: called for each pass over the rows; yields them in order.
    """
    by_query: dict[str, list[Any]] = {}
    for spec in eval_config.metrics_specs:
        by_query.setdefault(spec.query_key, []).append(spec)
    results = _evaluate([_Group(eval_config, specs) for specs in by_query.values()], eval_config, blocks)
    alone = [_only(spec, index) for spec in eval_config.metrics_specs for index in range(len(spec.metrics))]
    if not results.problems or len(alone) == 1:
        return results
    return _evaluate([_Group(eval_config, [spec]) for spec in alone], eval_config, blocks)


def _only(spec: Any, index: int) -> Any:
    """A MetricsSpec with one of its metrics."""
    copy = type(spec)()
    copy.CopyFrom(spec)
    del copy.metrics[:]
    copy.metrics.append(spec.metrics[index])
    return copy


def _evaluate(groups: Sequence[_Group], eval_config: Any, blocks: Callable[[], Iterator[Block]]) -> Results:
    from tensorflow_model_analysis import constants

    row_counts: dict[SliceKey, int] = {}
    for block in blocks():
        for keys in block.slices:
            for key in keys:
                row_counts[key] = row_counts.get(key, 0) + 1
        for group in groups:
            group.add(block)
    sliced: Sliced = {key: {} for key in row_counts}
    for group in groups:
        for key, metrics in group.finish().items():
            sliced.setdefault(key, {}).update(metrics)
    least = eval_config.options.min_slice_size.value
    for key in [key for key, count in row_counts.items() if key and count < least]:
        sliced[key] = {constants.ERROR_METRIC_NAME: f"{row_counts[key]} examples, and min_slice_size is {least}"}
    problems = dict.fromkeys(problem for group in groups for problem in group.problems)
    return Results(
        sliced={key: sliced[key] for key in sorted(sliced, key=_order)},
        row_counts={key: row_counts[key] for key in sorted(row_counts, key=_order)},
        problems=tuple(problems),
    )


def _order(key: SliceKey) -> tuple[Any, ...]:
    """All rows first, then few columns before many; numbers by size, before text; comparisons of slices last."""
    if key and isinstance(key[0], tuple) and not (key[0] and isinstance(key[0][0], str)):
        return (1, *(_order(one) for one in key))
    values = tuple((isinstance(value, str | bytes), str(value) if isinstance(value, str | bytes) else value) for _, value in key)
    return (0, len(key), tuple(name for name, _ in key), values)


class _Group:
    """Metrics that share a query key, or have none, computed together."""

    def __init__(self, eval_config: Any, specs: Sequence[Any]) -> None:
        from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as evaluator
        from tensorflow_model_analysis.metrics import metric_specs

        self.problems: list[str] = []
        self._eval_config = eval_config
        self._query_key = specs[0].query_key
        self._queries: dict[Any, list[Extracts]] = {}
        named = ", ".join(metric.class_name for spec in specs for metric in spec.metrics)
        made = self._attempt(named, metric_specs.to_computations, list(specs), eval_config) or []
        parts = evaluator._filter_and_separate_computations(made)
        self._computations = parts.non_derived_computations
        self._derived = parts.derived_computations
        self._cross_slice = parts.cross_slice_computations
        self._after_intervals = parts.ci_derived_computations
        self._failed: set[int] = set()
        without = self._attempt(named, metric_specs.metric_keys_to_skip_for_confidence_intervals, specs, eval_config)
        fed = list(feeders(self._computations, eval_config, is_query=bool(self._query_key)))
        self._resampling = Resampling.of(eval_config, fed, without)

    def _attempt(self, subject: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """The result, or None when the call raises: then the problem is noted."""
        try:
            return call(*arguments)
        # Metrics are third-party or user code and may raise anything; a failure is reported for that metric alone.
        except Exception as error:  # noqa: BLE001
            self.problems.append(f"{subject}: {first_words(error)}")
            return None

    def _attempt_computation(self, index: int, call: Callable[..., Any], *arguments: Any) -> Any:
        """The same for the computation at an index; a computation that failed is not run again."""
        if index in self._failed:
            return None
        before = len(self.problems)
        result = self._attempt(_subject(self._computations[index]), call, *arguments)
        if len(self.problems) > before:
            self._failed.add(index)
        return result

    def add(self, block: Block) -> None:
        """Adds consecutive rows. With a query key, rows are kept until `finish`, which merges all rows of a query into one
        example.
        """
        from tensorflow_model_analysis import constants

        if not self._query_key:
            self._resampling.add(block, [list(keys) for keys in block.slices], self._attempt_computation)
            return
        for row in range(len(block)):
            extracts = block.extracts(row)
            self._queries.setdefault(_scalar(extracts[constants.FEATURES_KEY].get(self._query_key)), []).append(extracts)

    def finish(self) -> Sliced:
        """Slice -> every public metric, plot and attribution, differences from the baseline model included."""
        from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as evaluator
        from tensorflow_model_analysis.utils import util

        for query, examples in self._queries.items():
            merged = self._attempt(f"query {query!r}", util.merge_extracts, examples)
            if merged is not None:
                self._resampling.add(_Example(merged), [_slice_keys(merged)], self._attempt_computation)
        self._queries.clear()
        sliced = self._resampling.finish(self._attempt_computation, self._complete)
        for metrics in sliced.values():
            self._derive(metrics, self._after_intervals)
        return {key: evaluator._remove_private_metrics(key, metrics)[1] for key, metrics in sliced.items()}

    def _derive(self, metrics: dict[Any, Any], computations: Sequence[Any]) -> None:
        for computation in computations:
            told = len(self.problems)
            metrics.update(self._attempt(_subject(computation), computation.result, dict(metrics)) or {})
            if self._failed:
                del self.problems[told:]  # the computation it derives from may have failed, which was reported already

    def _complete(self, sliced: Sliced) -> Sliced:
        """Adds derived metrics, comparisons between slices, and differences from the baseline model, in TFMA's order."""
        for metrics in sliced.values():
            self._derive(metrics, self._derived)
        sliced = {**sliced, **_cross_slices(sliced, self._eval_config, self._cross_slice)}
        return {key: {**metrics, **_differences(metrics, self._eval_config)} for key, metrics in sliced.items()}


class _Example:
    """A single example, already merged: the rows of a query."""

    def __init__(self, extracts: Extracts) -> None:
        self._extracts = extracts
        self.prepared: dict[tuple[int, int], Any] = {}

    def extracts(self, _: int) -> Extracts:
        return self._extracts


def _slice_keys(extracts: Extracts) -> list[SliceKey]:
    """Slices of an example, or of the merged examples of a query, each once."""
    from tensorflow_model_analysis import constants
    from tensorflow_model_analysis.api import types

    keys = extracts[constants.SLICE_KEY_TYPES_KEY]
    if isinstance(keys, types.VarLenTensorValue):
        keys = keys.values
    return list(dict.fromkeys(np.asarray(keys, dtype=object).reshape(-1).tolist()))


def _scalar(value: Any) -> Any:
    return "" if value is None else np.asarray(value).reshape(-1)[0].item()


def _subject(computation: Any) -> str:
    """A computation's name in messages: its first metric and the model."""
    for key in computation.keys or ():
        output = f" on output {key.output_name}" if key.output_name else ""
        return f"{key.name.lstrip('_').partition(':')[0]}{output} of {key.model_name or 'the model'}"
    return type(getattr(computation, "combiner", computation)).__name__.lstrip("_")


def first_words(error: BaseException) -> str:
    """An exception as one line: TFMA appends the failing rows to its messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    words = lines[0] if lines else ""
    cut = words if len(words) <= _MESSAGE_CHARS else f"{words[:_MESSAGE_CHARS]} ..."
    return f"{type(error).__name__}: {cut}".rstrip(": ")


def _is_diffable(value: Any) -> bool:
    from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as evaluator

    return bool(evaluator._is_metric_diffable(value))


def _differences(metrics: Mapping[Any, Any], eval_config: Any) -> dict[Any, Any]:
    """Every candidate's metric minus the baseline's, as TFMA adds them."""
    from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as evaluator
    from tensorflow_model_analysis.utils import model_util

    baseline = model_util.get_baseline_model_spec(eval_config)
    found: dict[Any, Any] = {}
    for key, value in metrics.items():
        if baseline is None or evaluator._is_private_metrics(key) or key.is_diff or key.model_name == baseline.name:
            continue
        base_key = key.make_baseline_key(baseline.name)
        if base_key in metrics and _is_diffable(value):
            found[key.make_diff_key()] = value - metrics[base_key]
    return found


def _cross_slices(sliced: Sliced, eval_config: Any, computations: Sequence[Any]) -> Sliced:
    """The baseline slice's metrics minus those of each slice it is compared with, as TFMA computes them."""
    from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as evaluator
    from tensorflow_model_analysis.metrics import metric_types
    from tensorflow_model_analysis.slicer import slicer_lib

    found: Sliced = {}
    for spec in eval_config.cross_slicing_specs:
        baseline = slicer_lib.SingleSliceSpec(spec=spec.baseline_spec)
        wanted = [slicer_lib.SingleSliceSpec(spec=one) for one in spec.slicing_specs]
        for base_key, base in sliced.items():
            for key, metrics in sliced.items() if baseline.is_slice_applicable(base_key) else ():
                is_compared = any(one.is_slice_applicable(key) for one in wanted) if wanted else key != base_key
                if not is_compared:
                    continue
                result = {
                    name: base[name] - value
                    for name, value in metrics.items()
                    if name in base
                    and type(name) is metric_types.MetricKey
                    and not evaluator._is_private_metrics(name)
                    and _is_diffable(value)
                }
                for computation in computations:
                    result.update(computation.cross_slice_comparison(base, metrics))
                found[(base_key, key)] = result
    return found
