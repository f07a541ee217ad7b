"""Feeds many rows to one of TFMA's combiners at once, with the same results as row by row.

TFMA looks up labels, predictions and weights anew for every row, model and metric, which costs more than the metric. Two
families of combiners, which most metrics are made of, can take blocks: those of Keras metrics, whose updates TFMA batches
itself, and those that flatten an example into pairs, to which a block of rows with one score each is an example with many
scores. All other combiners get one row at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
SliceKey = tuple[Any, ...]

_UPDATE_ROWS = 1000  # TFMA's own batch for Keras metrics
_UPDATE_BYTES = 16 << 20
_FLATTENING = frozenset(
    (
        "_BinaryConfusionMatrixCombiner",
        "_CalibrationHistogramCombiner",
        "_MeanAbsoluteErrorCombiner",
        "_MeanAbsolutePercentageErrorCombiner",
        "_MeanSquaredErrorCombiner",
        "_MeanSquaredLogarithmicErrorCombiner",
        "_WeightedLabelsPredictionsExamplesCombiner",
    )
)


class Block:
    """Consecutive rows whose arrays share one shape. `slices`: the slice keys of each row.

    `labels`, `weights`: (rows, ...), or by output, or None. `predictions`: model -> (rows, ...), or by output.
    """

    def __init__(
        self,
        *,
        labels: np.ndarray | Arrays | None,
        weights: np.ndarray | Arrays | None,
        features: Arrays,
        predictions: Mapping[str, np.ndarray | Arrays],
        slices: Sequence[np.ndarray],
    ) -> None:
        self.labels = labels
        self.weights = weights
        self.features = features
        self.predictions = predictions
        self.slices = slices
        self.prepared: dict[tuple[int, int], Any] = {}

    def __len__(self) -> int:
        return len(self.slices)

    def extracts(self, row: int) -> dict[str, Any]:
        """One row as TFMA has it between its stages."""
        from tensorflow_model_analysis import constants

        return {
            constants.LABELS_KEY: _row_of(self.labels, row),
            constants.EXAMPLE_WEIGHTS_KEY: _row_of(self.weights, row),
            constants.FEATURES_KEY: _row_of(self.features, row),
            constants.PREDICTIONS_KEY: {model: _row_of(answers, row) for model, answers in self.predictions.items()},
            constants.SLICE_KEY_TYPES_KEY: self.slices[row],
        }

    def standard_arrays(self, model: str, output: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None] | None:
        """(labels, predictions, weights), or None where they are not three plain arrays of numbers."""
        answers = self.predictions.get(model)
        found = [_of_output(self.labels, output), _of_output(answers, output, is_named=isinstance(answers, Mapping))]
        weights = None if self.weights is None else _of_output(self.weights, output)
        if any(array is None or array.dtype.kind not in "biuf" for array in found) or (
            self.weights is not None and weights is None
        ):
            return None
        assert found[0] is not None and found[1] is not None
        return found[0], found[1], weights


def _row_of(arrays: np.ndarray | Arrays | None, row: int) -> Any:
    if isinstance(arrays, Mapping):
        return {name: _row_of(array, row) for name, array in arrays.items()}
    if arrays is None:
        return None
    return arrays[row : row + 1] if arrays.ndim == 1 else arrays[row]


def _of_output(arrays: np.ndarray | Arrays | None, output: str, *, is_named: bool = True) -> np.ndarray | None:
    """The array of an output as TFMA would find it: by name, or the bare one where there are no names."""
    if isinstance(arrays, Mapping):
        return arrays.get(output) if output else None
    return None if output and not is_named else arrays


class RowWise:
    """Feeds any computation as TFMA's own evaluator does."""

    def __init__(self, combiner: Any, preprocessor: Any, place: int) -> None:
        self.combiner = combiner
        self._preprocessor = preprocessor
        self._place = place

    def create(self) -> Any:
        return self.combiner.create_accumulator()

    def add(self, accumulator: Any, block: Any, rows: np.ndarray) -> Any:
        """Adds rows of a block by number; a number may occur more than once."""
        for row in rows.tolist():
            accumulator = self.combiner.add_inputs(accumulator, self._inputs(block, row))
        return accumulator

    def _inputs(self, block: Any, row: int) -> Any:
        from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as evaluator

        key = (id(self._preprocessor), row)
        prepared = block.prepared.get(key)
        if prepared is None:
            (prepared,) = self._preprocessor.process(block.extracts(row))
            block.prepared[key] = prepared
        own = prepared[evaluator._COMBINER_INPUTS_KEY][self._place]
        return prepared[evaluator._DEFAULT_COMBINER_INPUT_KEY] if own is None else own

    def finished(self, accumulator: Any) -> Any:
        """The accumulator as TFMA's combiner has it."""
        return accumulator


class Flattening(RowWise):
    """A combiner that takes an example apart into (label, prediction, weight) triples."""

    def add(self, accumulator: Any, block: Any, rows: np.ndarray) -> Any:
        from tensorflow_model_analysis import constants
        from tensorflow_model_analysis.metrics import metric_types

        key = getattr(self.combiner, "_key", None) or self.combiner._metric_key
        arrays = block.standard_arrays(key.model_name, key.output_name) if isinstance(block, Block) else None
        if arrays is None or any(array is not None and array.size != len(block) for array in arrays):
            return super().add(accumulator, block, rows)
        labels, predictions, weights = (None if array is None else array.reshape(-1)[rows] for array in arrays)
        answers = {key.output_name: predictions} if key.output_name else predictions
        example = metric_types.StandardMetricInputs(
            {
                constants.LABELS_KEY: labels,
                constants.PREDICTIONS_KEY: {key.model_name: answers} if key.model_name else answers,
                constants.EXAMPLE_WEIGHTS_KEY: weights,
            }
        )
        return self.combiner.add_inputs(accumulator, [example])


class _Pending:
    """A Keras accumulator of TFMA, and the rows that are collected until there are enough for an update."""

    def __init__(self, accumulator: Any) -> None:
        self.accumulator = accumulator
        self.pieces: list[list[tuple[np.ndarray, ...]]] = []
        self.count = 0


class KerasUpdates(RowWise):
    """Keras metrics: updated with TFMA's own batches of 1,000 rows, counted from the first row on, wherever blocks end."""

    def create(self) -> Any:
        return _Pending(self.combiner.create_accumulator())

    def add(self, accumulator: _Pending, block: Any, rows: np.ndarray) -> _Pending:
        arrays = self._arrays(block) if isinstance(block, Block) else None
        if arrays is None:
            self._update(accumulator, accumulator.count)
            accumulator.accumulator = super().add(accumulator.accumulator, block, rows)
            return accumulator
        accumulator.pieces.append([tuple(array[rows] for array in one) for one in arrays])
        accumulator.count += len(rows)
        row_bytes = sum(array[:1].nbytes for one in arrays for array in one)
        enough = min(_UPDATE_ROWS, math.ceil(_UPDATE_BYTES / max(row_bytes, 1)))
        while accumulator.count >= enough:
            self._update(accumulator, enough)
        return accumulator

    def _arrays(self, block: Block) -> list[tuple[np.ndarray, ...]] | None:
        """(labels, predictions, weights) of every output, shaped as TFMA shapes a row."""
        key = (id(self), -1)
        if key not in block.prepared:
            found = []
            for output in self.combiner._output_names:
                arrays = block.standard_arrays(self.combiner._model_name, output)
                if arrays is None:
                    block.prepared[key] = (None,)
                    break
                labels, predictions, weights = arrays
                if weights is None or not self.combiner._example_weighted:
                    weights = np.ones((len(block), 1), np.float32)
                found.append(tuple(_squeezed(array) for array in (labels, predictions, weights)))
            else:
                block.prepared[key] = (found,)
        return block.prepared[key][0]  # type: ignore[no-any-return]

    def _update(self, pending: _Pending, count: int) -> None:
        """Updates the metrics with the first `count` collected rows, as TFMA's combiner does with a batch."""
        if not count:
            return
        joined = [
            tuple(np.concatenate(parts) for parts in zip(*(piece[number] for piece in pending.pieces), strict=True))
            for number in range(len(self.combiner._output_names))
        ]
        for number, output in enumerate(self.combiner._output_names):
            batch = [array[:count] for array in joined[number]]
            for place, metric in enumerate(self.combiner._metrics[output]):
                metric.reset_states()
                metric.update_state(*batch)
                pending.accumulator.add_weights(number, place, metric.get_weights())
        pending.pieces = [[tuple(array[count:] for array in one) for one in joined]]
        pending.count -= count

    def finished(self, accumulator: Any) -> Any:
        if isinstance(accumulator, _Pending):
            self._update(accumulator, accumulator.count)
            return accumulator.accumulator
        return accumulator


def _squeezed(array: np.ndarray) -> np.ndarray:
    """Rows without axes of length one, but with at least one axis, as TFMA's `_squeeze` leaves them."""
    inner = tuple(size for size in array.shape[1:] if size != 1) or (1,)
    return array.reshape(len(array), *inner)


def feeders(computations: Sequence[Any], eval_config: Any, *, is_query: bool) -> Iterator[RowWise]:
    """The feeder of each computation's combiner, in order. Examples of queries are never split."""
    from tensorflow_model_analysis.metrics import tf_metric_wrapper

    for computation, (preprocessor, place) in zip(computations, _preprocessors(computations), strict=True):
        combiner = computation.combiner
        combiner.setup()
        kind: type[RowWise] = RowWise
        if not is_query and not computation.preprocessors and _is_plain(combiner, eval_config):
            if type(combiner) is tf_metric_wrapper._CompilableMetricsCombiner:
                kind = KerasUpdates
            elif type(combiner).__name__ in _FLATTENING:
                kind = Flattening
        yield kind(combiner, preprocessor, place)


def _is_plain(combiner: Any, eval_config: Any) -> bool:
    """Whether a combiner picks, averages or weights no classes, samples no examples and pads nothing."""
    key = getattr(combiner, "_key", None) or getattr(combiner, "_metric_key", None)
    own = [getattr(combiner, name, None) for name in ("_sub_key", "_aggregation_type", "_class_weights", "_example_id_key")]
    is_padded = any(spec.HasField("padding_options") for spec in eval_config.model_specs)
    return not any(own) and not (key is not None and key.sub_key) and not is_padded


def _preprocessors(computations: Sequence[Any]) -> list[tuple[Any, int]]:
    """(TFMA's preprocessor, place in it) for each computation: one for all that take standard inputs, one for each other, so
    that a preprocessor that raises costs only its own metric.
    """
    from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as evaluator
    from tensorflow_model_analysis.metrics import metric_types

    standard = [
        index
        for index, computation in enumerate(computations)
        if len(computation.preprocessors) < 2
        and all(type(step) is metric_types.StandardMetricInputsPreprocessor for step in computation.preprocessors)
    ]
    groups = [standard, *([index] for index in range(len(computations)) if index not in standard)]
    found: dict[int, tuple[Any, int]] = {}
    for members in groups:
        preprocessor = evaluator._PreprocessorDoFn([computations[index] for index in members])
        preprocessor.setup()
        preprocessor.start_bundle()
        found |= {index: (preprocessor, place) for place, index in enumerate(members)}
    return [found[index] for index in range(len(computations))]
