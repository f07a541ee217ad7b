"""Resamples rows for confidence intervals: says how often each row counts in each sample. For the metrics themselves every row
counts once.

TFMA's two methods with TFMA's own final steps: jackknife deletes one of 20 buckets of rows at a time, Poisson bootstrap draws
every row a random number of times for each of 20 samples. TFMA draws afresh in every run; here the draws have a fixed seed and
follow the order of the rows, so a report can be computed again. The metrics themselves never depend on the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from liteferry.evaluation.tfma.blocks import RowWise, SliceKey

SAMPLES = 20  # TFMA's number of jackknife buckets and of bootstrap samples
_SEED = 0
_FULL = -1  # TFMA's sample id of what was computed from all rows

Sliced = dict[SliceKey, dict[Any, Any]]
Attempt = Callable[..., Any]  # (index of a computation, function, *arguments) -> its result, or None when it has failed


class _Sample:
    """One accumulator for each slice and computation."""

    def __init__(self, feeders: Sequence[RowWise]) -> None:
        self._feeders = feeders
        self._slices: dict[SliceKey, list[Any]] = {}

    def _of_slice(self, key: SliceKey) -> list[Any]:
        found = self._slices.get(key)
        if found is None:
            found = self._slices[key] = [feeder.create() for feeder in self._feeders]
        return found

    def add(self, block: Any, rows_by_slice: dict[SliceKey, np.ndarray], attempt: Attempt) -> None:
        for key, rows in rows_by_slice.items():
            accumulators = self._of_slice(key)
            for index, feeder in enumerate(self._feeders):
                accumulators[index] = attempt(index, feeder.add, accumulators[index], block, rows)

    def merged(self, others: Sequence[_Sample], attempt: Attempt) -> _Sample:
        """Merges samples into a new one, in order, as TFMA's jackknife does."""
        result = _Sample(self._feeders)
        for other in others:
            for key, theirs in other._slices.items():
                mine = result._of_slice(key)
                for index, feeder in enumerate(self._feeders):
                    theirs[index] = attempt(index, feeder.finished, theirs[index])
                    mine[index] = attempt(index, feeder.finished, mine[index])
                    mine[index] = attempt(index, feeder.combiner.merge_accumulators, [mine[index], theirs[index]])
        return result

    def outputs(self, attempt: Attempt) -> Sliced:
        found: Sliced = {}
        for key, accumulators in self._slices.items():
            metrics = found.setdefault(key, {})
            for index, feeder in enumerate(self._feeders):
                finished = attempt(index, feeder.finished, accumulators[index])
                metrics.update(attempt(index, feeder.combiner.extract_output, finished) or {})
        return found


class Resampling:
    """Without confidence intervals: every row once."""

    def __init__(self, feeders: Sequence[RowWise], without_interval: Any) -> None:
        self._without_interval = without_interval
        self._full = _Sample(feeders)

    @staticmethod
    def of(eval_config: Any, feeders: Sequence[RowWise], without_interval: Any) -> Resampling:
        """The method that the EvalConfig's options ask for. `without_interval`: metric keys that get none."""
        from tensorflow_model_analysis.proto import config_pb2

        if not eval_config.options.compute_confidence_intervals.value:
            return Resampling(feeders, without_interval)
        method = eval_config.options.confidence_intervals.method
        is_bootstrap = method == config_pb2.ConfidenceIntervalOptions.POISSON_BOOTSTRAP
        return (_Bootstrap if is_bootstrap else _Jackknife)(feeders, without_interval)

    def add(self, block: Any, slices: Sequence[Sequence[SliceKey]], attempt: Attempt) -> None:
        """Rows in their slices. `slices`: the keys of each row."""
        self._full.add(block, _by_slice(slices), attempt)

    def finish(self, attempt: Attempt, complete: Callable[[Sliced], Sliced]) -> Sliced:
        """Slice -> metrics, with intervals where asked. `complete` adds what derives from the combiners' outputs."""
        return complete(self._full.outputs(attempt))

    def _with_intervals(self, full: Sliced, samples: Iterator[Sliced], estimate: Any) -> Sliced:
        from tensorflow_model_analysis.evaluators import confidence_intervals_util

        collected = {key: estimate.create_accumulator() for key in full}
        for key, metrics in full.items():
            whole = confidence_intervals_util.SampleMetrics(metrics=metrics, sample_id=_FULL)
            collected[key] = estimate.add_input(collected[key], whole)
        for number, sample in enumerate(samples):
            for key, metrics in sample.items():
                one = confidence_intervals_util.SampleMetrics(metrics=metrics, sample_id=number)
                collected[key] = estimate.add_input(collected[key], one)
        return {key: estimate.extract_output(accumulator) for key, accumulator in collected.items()}


def _by_slice(slices: Sequence[Sequence[SliceKey]], counts: np.ndarray | None = None) -> dict[SliceKey, np.ndarray]:
    """Slice -> numbers of its rows, in order. `counts`: how often each (row, slice) pair counts, in the order of the rows."""
    found: dict[SliceKey, list[int]] = {}
    place = 0
    for row, keys in enumerate(slices):
        for key in keys:
            times = 1 if counts is None else int(counts[place])
            place += 1
            if times:
                found.setdefault(key, []).extend([row] * times)
    return {key: np.array(rows, dtype=np.intp) for key, rows in found.items()}


class _Jackknife(Resampling):
    def __init__(self, feeders: Sequence[RowWise], without_interval: Any) -> None:
        super().__init__(feeders, without_interval)
        self._buckets = [_Sample(feeders) for _ in range(SAMPLES)]
        self._random = np.random.RandomState(_SEED)

    def add(self, block: Any, slices: Sequence[Sequence[SliceKey]], attempt: Attempt) -> None:
        super().add(block, slices, attempt)
        drawn = np.array([self._random.randint(SAMPLES) for keys in slices for _ in keys])
        for number, bucket in enumerate(self._buckets):
            bucket.add(block, _by_slice(slices, drawn == number), attempt)

    def finish(self, attempt: Attempt, complete: Callable[[Sliced], Sliced]) -> Sliced:
        from tensorflow_model_analysis.evaluators import jackknife

        def samples() -> Iterator[Sliced]:
            for left_out in range(SAMPLES):
                kept = [bucket for number, bucket in enumerate(self._buckets) if number != left_out]
                yield complete(self._full.merged(kept, attempt).outputs(attempt))

        full = super().finish(attempt, complete)
        estimate = jackknife._JackknifeSampleCombineFn(SAMPLES, self._without_interval)
        return self._with_intervals(full, samples(), estimate)


class _Bootstrap(Resampling):
    def __init__(self, feeders: Sequence[RowWise], without_interval: Any) -> None:
        super().__init__(feeders, without_interval)
        self._samples = [_Sample(feeders) for _ in range(SAMPLES)]
        self._randoms = [np.random.RandomState(_SEED + number) for number in range(SAMPLES)]

    def add(self, block: Any, slices: Sequence[Sequence[SliceKey]], attempt: Attempt) -> None:
        super().add(block, slices, attempt)
        total = sum(len(keys) for keys in slices)
        for sample, random in zip(self._samples, self._randoms, strict=True):
            drawn = np.array([random.poisson(1) for _ in range(total)])
            sample.add(block, _by_slice(slices, drawn), attempt)

    def finish(self, attempt: Attempt, complete: Callable[[Sliced], Sliced]) -> Sliced:
        from tensorflow_model_analysis.evaluators import poisson_bootstrap

        full = super().finish(attempt, complete)
        estimate = poisson_bootstrap._BootstrapSampleCombineFn(SAMPLES, self._without_interval)
        return self._with_intervals(full, (complete(sample.outputs(attempt)) for sample in self._samples), estimate)
