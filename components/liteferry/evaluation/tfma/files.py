"""Writes the files that TFMA's own tools open: an evaluation, and TFMA's verdict on its thresholds."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from liteferry.evaluation.tfma.engine import Results

EVALUATION = "evaluation"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """The sources of an evaluation, as TFMA's tools show them: the samples' path, and each model's path by its name."""

    samples_path: str
    model_paths: Mapping[str, str]


def write(directory: str, eval_config: Any, results: Results, *, validation: Any, sources: Sources) -> None:
    """Writes the files that `tfma.load_eval_result(directory, model_name=...)` and `tfma.load_validation_result(directory)`
    read.

    Serialised by TFMA; only the pipeline around TFMA's writers is left out. Slices are in the order in which rows show them.

    Args:
      directory: created here; must not exist.
    """
    from tensorflow_model_analysis import constants
    from tensorflow_model_analysis.metrics import metric_types
    from tensorflow_model_analysis.writers import eval_config_writer
    from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

    os.makedirs(directory)
    metrics, plots, attributions = [], [], []
    for key, values in results.sliced.items():
        shown = {name: value for name, value in values.items() if type(name) in (metric_types.MetricKey, str)}
        metrics.append(writer.convert_slice_metrics_to_proto((key, shown), None))
        drawn = {name: value for name, value in values.items() if type(name) is metric_types.PlotKey}
        plots.append(writer.convert_slice_plots_to_proto((key, drawn), None))
        traced = {name: value for name, value in values.items() if type(name) is metric_types.AttributionsKey}
        attributions.append(writer.convert_slice_attributions_to_proto((key, traced)))
    for kind, messages in ((constants.METRICS_KEY, metrics), (constants.PLOTS_KEY, plots)):
        _write_records(os.path.join(directory, f"{kind}-00000-of-00001.tfrecord"), messages)
    _write_records(os.path.join(directory, f"{constants.ATTRIBUTIONS_KEY}-00000-of-00001.tfrecord"), attributions)
    _write_records(os.path.join(directory, f"{constants.VALIDATIONS_KEY}.tfrecord"), [validation])
    text = eval_config_writer._serialize_eval_run(eval_config, sources.samples_path, "", dict(sources.model_paths))
    with open(os.path.join(directory, "eval_config.json"), "w", encoding="utf-8") as file:
        file.write(text)


def validate(eval_config: Any, results: Results, *, not_computable: Sequence[tuple[str, str]]) -> Any:
    """TFMA's ValidationResult.

    Args:
      not_computable: (metric, why) of metrics with thresholds that were taken out of `eval_config` because TFMA cannot make
        them; each is a failure.
    """
    from tensorflow_model_analysis.evaluators import metrics_validator
    from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

    combine = writer.CombineValidations(eval_config)
    accumulator = combine.create_accumulator()
    for key, metrics in results.sliced.items():
        accumulator = combine.add_input(accumulator, metrics_validator.validate_metrics((key, metrics), eval_config))
    result = combine.extract_output(accumulator)
    for name, why in not_computable:
        result.validation_ok = False
        failure = result.metric_validations_per_slice.add().failures.add()
        failure.metric_key.name = name
        failure.message = why
    return result


def _write_records(path: str, messages: Iterable[Any]) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(path) as file:
        for message in messages:
            file.write(message.SerializeToString(deterministic=True))
