"""How often a row counts in which sample: once for the metrics themselves, and resampled for their confidence intervals.

TFMA's two methods with TFMA's own final steps: jackknife deletes one of 20 buckets of rows at a time, Poisson bootstrap draws
every row a random number of times for each of 20 samples. TFMA draws afresh in every run; here the draws have a fixed seed and
follow the order of the rows, so a report can be computed again. The metrics themselves never depend on the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

SAMPLES = 20  # TFMA's number of jackknife buckets and of bootstrap samples
_SEED = 0
_FULL = -1  # TFMA's sample id of what was computed from all rows

SliceKey = tuple[Any, ...]
Sliced = dict[SliceKey, dict[Any, Any]]
Attempt = Callable[..., Any]  # (index of a computation, function, *arguments) -> its result, or None when it failed


class _Sample:
    """One accumulator for each slice and combiner."""

    def __init__(self, combiners: Sequence[Any]) -> None:
        self._combiners = combiners
        self.slices: dict[SliceKey, list[Any]] = {}

    def of_slice(self, key: SliceKey) -> list[Any]:
        found = self.slices.get(key)
        if found is None:
            found = self.slices[key] = [combiner.create_accumulator() for combiner in self._combiners]
        return found

    def add(self, key: SliceKey, inputs: Sequence[Any], failed: set[int], attempt: Attempt) -> None:
        accumulators = self.of_slice(key)
        for index, combiner in enumerate(self._combiners):
            if inputs[index] is not None and index not in failed:
                accumulators[index] = attempt(index, combiner.add_inputs, accumulators[index], inputs[index])

    def merge(self, others: Sequence[_Sample], attempt: Attempt) -> None:
        """Adds other samples to this one, in order, as TFMA's jackknife does."""
        for other in others:
            for key, theirs in other.slices.items():
                mine = self.of_slice(key)
                for index, combiner in enumerate(self._combiners):
                    mine[index] = attempt(index, combiner.merge_accumulators, [mine[index], theirs[index]])

    def outputs(self, failed: set[int], attempt: Attempt) -> Sliced:
        found: Sliced = {}
        for key, accumulators in self.slices.items():
            metrics = found.setdefault(key, {})
            for index, combiner in enumerate(self._combiners):
                if index not in failed:
                    result = attempt(index, combiner.extract_output, accumulators[index])
                    metrics.update(result or {})
        return found


class Resampling:
    """Without confidence intervals: every row once."""

    def __init__(self, combiners: Sequence[Any], without_interval: Any) -> None:
        for combiner in combiners:
            combiner.setup()
        self._combiners = combiners
        self._without_interval = without_interval
        self._full = _Sample(combiners)

    @staticmethod
    def of(eval_config: Any, combiners: Sequence[Any], without_interval: Any) -> Resampling:
        """The method that the EvalConfig's options ask for. `without_interval`: metric keys that get none."""
        from tensorflow_model_analysis.proto import config_pb2

        if not eval_config.options.compute_confidence_intervals.value:
            return Resampling(combiners, without_interval)
        method = eval_config.options.confidence_intervals.method
        is_bootstrap = method == config_pb2.ConfidenceIntervalOptions.POISSON_BOOTSTRAP
        return (_Bootstrap if is_bootstrap else _Jackknife)(combiners, without_interval)

    def add(self, keys: Sequence[SliceKey], inputs: Sequence[Any], failed: set[int], attempt: Attempt) -> None:
        """One example in its slices. `inputs`: what each combiner takes; None for one that gets nothing."""
        for key in keys:
            self._full.add(key, inputs, failed, attempt)

    def finish(self, failed: set[int], attempt: Attempt, complete: Callable[[Sliced], Sliced]) -> Sliced:
        """Slice -> metrics, with intervals where asked. `complete` adds what derives from the combiners' outputs."""
        return complete(self._full.outputs(failed, attempt))

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


class _Jackknife(Resampling):
    def __init__(self, combiners: Sequence[Any], without_interval: Any) -> None:
        super().__init__(combiners, without_interval)
        self._buckets = [_Sample(combiners) for _ in range(SAMPLES)]
        self._random = np.random.RandomState(_SEED)

    def add(self, keys: Sequence[SliceKey], inputs: Sequence[Any], failed: set[int], attempt: Attempt) -> None:
        super().add(keys, inputs, failed, attempt)
        for key in keys:
            self._buckets[self._random.randint(SAMPLES)].add(key, inputs, failed, attempt)

    def finish(self, failed: set[int], attempt: Attempt, complete: Callable[[Sliced], Sliced]) -> Sliced:
        from tensorflow_model_analysis.evaluators import jackknife

        def samples() -> Iterator[Sliced]:
            for left_out in range(SAMPLES):
                merged = _Sample(self._combiners)
                merged.merge([bucket for number, bucket in enumerate(self._buckets) if number != left_out], attempt)
                yield complete(merged.outputs(failed, attempt))

        full = super().finish(failed, attempt, complete)
        estimate = jackknife._JackknifeSampleCombineFn(SAMPLES, self._without_interval)
        return self._with_intervals(full, samples(), estimate)


class _Bootstrap(Resampling):
    def __init__(self, combiners: Sequence[Any], without_interval: Any) -> None:
        super().__init__(combiners, without_interval)
        self._samples = [_Sample(combiners) for _ in range(SAMPLES)]
        self._randoms = [np.random.RandomState(_SEED + number) for number in range(SAMPLES)]

    def add(self, keys: Sequence[SliceKey], inputs: Sequence[Any], failed: set[int], attempt: Attempt) -> None:
        super().add(keys, inputs, failed, attempt)
        for key in keys:
            for sample, random in zip(self._samples, self._randoms, strict=True):
                for _ in range(random.poisson(1)):
                    sample.add(key, inputs, failed, attempt)

    def finish(self, failed: set[int], attempt: Attempt, complete: Callable[[Sliced], Sliced]) -> Sliced:
        from tensorflow_model_analysis.evaluators import poisson_bootstrap

        full = super().finish(failed, attempt, complete)
        estimate = poisson_bootstrap._BootstrapSampleCombineFn(SAMPLES, self._without_interval)
        return self._with_intervals(full, (complete(sample.outputs(failed, attempt)) for sample in self._samples), estimate)
