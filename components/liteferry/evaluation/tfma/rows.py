"""Predictions on disk -> blocks of rows for TFMA's combiners, with the slices that each row belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.evaluation import predictions
from liteferry.evaluation.tfma.blocks import Block
from liteferry.evaluation.tfma.results import REFERENCE
from liteferry.plan.model_plan import ModelPlan


def blocks(plan: ModelPlan, eval_config: Any, artifacts: Sequence[str]) -> Iterator[Block]:
    """Every row of the samples, in order: labels, weights, the columns as features, predictions by model, slice keys."""
    assert plan.metrics is not None
    slicer = _Slicer(eval_config)
    for batch in predictions.read(plan, artifacts):
        yield Block(
            labels=_by_output(plan.metrics.labels, batch.columns),
            weights=_by_output(plan.metrics.example_weights, batch.columns),
            features=batch.columns,
            predictions={model: _bare(outputs) for model, outputs in batch.outputs.items()},
            slices=[slicer.slices_of(batch.columns, row) for row in range(len(batch))],
        )


def _bare(outputs: Mapping[str, np.ndarray]) -> np.ndarray | Mapping[str, np.ndarray]:
    """The bare array of a model with one output; by output for the others."""
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def _by_output(columns: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> Any:
    """Output -> array; the bare array where one column serves every output, None where there is no column."""
    if not columns:
        return None
    if len(columns) == 1 and "" in columns:
        return arrays[columns[""]]
    return {output: arrays[column] for output, column in columns.items()}


def find_nans(plan: ModelPlan, artifacts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Model -> output -> a sentence, for every output whose task metrics cannot be trusted: TFMA silently leaves rows with NaN
    out of some metrics. NaN in a label, a weight or the reference's answer affects every model; "" stands for all outputs.
    """
    assert plan.metrics is not None
    counts: dict[tuple[str, str], int] = {}
    for batch in predictions.read(plan, artifacts):
        for role in (plan.metrics.labels, plan.metrics.example_weights):
            for output, column in role.items():
                _count_nans(counts, (f"column {column!r}", output), batch.columns[column])
        for model, outputs in batch.outputs.items():
            for output, array in outputs.items():
                _count_nans(counts, (model, output), array)
    found: dict[str, dict[str, str]] = {model: {} for model in (REFERENCE, *artifacts)}
    for (source, output), count in counts.items():
        where = f" of output {output!r}" if output and source in found else ""
        sentence = f"{source}: {count:,} value{'s are' if count > 1 else ' is'} NaN{where}"
        for model in [source] if source in artifacts else found:
            found[model].setdefault(output, sentence)
    return found


def _count_nans(counts: dict[tuple[str, str], int], key: tuple[str, str], array: np.ndarray) -> None:
    count = int(np.count_nonzero(np.isnan(array))) if array.dtype.kind == "f" else 0
    if count:
        counts[key] = counts.get(key, 0) + count


class _Slicer:
    """TFMA's slices of a row; rows with the same values in the columns it looks at are looked up once."""

    def __init__(self, eval_config: Any) -> None:
        from tensorflow_model_analysis.slicer import slicer_lib

        compared = [one for cross in eval_config.cross_slicing_specs for one in (cross.baseline_spec, *cross.slicing_specs)]
        specs = [*eval_config.slicing_specs, *compared]
        self._specs = list(dict.fromkeys(slicer_lib.SingleSliceSpec(spec=spec) for spec in specs))
        self._columns = sorted({name for spec in specs for name in (*spec.feature_keys, *spec.feature_values)})
        self._known: dict[tuple[bytes, ...], np.ndarray] = {}

    def slices_of(self, columns: Mapping[str, np.ndarray], row: int) -> np.ndarray:
        from tensorflow_model_analysis.slicer import slicer_lib

        features = {name: columns[name][row : row + 1].reshape(-1) for name in self._columns}
        values = tuple(array.tobytes() for array in features.values())
        found = self._known.get(values)
        if found is None:
            readable = {name: _readable(array) for name, array in features.items()}
            keys = slicer_lib.get_slices_for_features_dicts([], readable, self._specs)
            found = self._known[values] = slicer_lib.slice_keys_to_numpy_array(list(dict.fromkeys(keys)))
        return found


def _readable(values: np.ndarray) -> np.ndarray:
    """Escapes bytes that are not UTF-8, since TFMA accepts only text as the name of a slice."""
    if values.dtype.kind != "S":
        return values
    return np.array([value.decode("utf-8", "backslashreplace").encode() for value in values.tolist()], dtype=np.bytes_)
