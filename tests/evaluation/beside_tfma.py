"""Examples for the engine and for TFMA's own evaluator on a Beam pipeline, and a comparison of both. TFMA takes seconds to
import, so each test imports this module itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from google.protobuf import text_format
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as evaluator
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

from liteferry.evaluation.tfma import engine
from liteferry.evaluation.tfma.blocks import Block

__all__ = [
    "MODELS",
    "Block",
    "assert_same",
    "blocks",
    "by_beam",
    "by_engine",
    "constants",
    "engine",
    "entries",
    "eval_config",
    "evaluator",
    "rows",
]

MODELS = ("reference", "float32", "int8")
ROWS = 120


def rows(kind: str, *, sliced: bool = True, count: int = ROWS) -> list[dict[str, Any]]:
    """Examples with ten classes, or a score, or two outputs; `int8` answers a little differently."""
    generator = np.random.default_rng(0)
    return [_row(kind, number, generator, sliced=sliced) for number in range(count)]


def _row(kind: str, number: int, generator: np.random.Generator, *, sliced: bool) -> dict[str, Any]:
    label = int(generator.integers(0, 10))
    scores = generator.random(10).astype(np.float32)
    scores[label] += 0.7
    scores /= scores.sum()
    others = (scores + generator.normal(0, 0.05, 10)).astype(np.float32)
    country = b"de" if number % 2 else b"fr"
    features = {"country": np.array([country]), "query": np.array([number // 10]), "gain": np.array([float(label % 3)])}
    labels: Any = np.array([label])
    answers: list[Any] = [scores, scores, others]
    if kind == "score":
        labels = np.array([int(label == 0)])
        answers = [scores[:1] * 2, scores[:1] * 2, np.clip(others[:1], 0, 1)]
    elif kind == "outputs":
        labels = {"digit": np.array([label]), "size": np.array([float(label)])}
        answers = [{"digit": answer, "size": answer[:1]} for answer in answers]
    keys = [(), *([(("country", country),)] if sliced else [])]
    return {
        constants.LABELS_KEY: labels,
        constants.PREDICTIONS_KEY: dict(zip(MODELS, answers, strict=True)),
        constants.EXAMPLE_WEIGHTS_KEY: np.array([1.0 + number % 3]),
        constants.FEATURES_KEY: features,
        constants.SLICE_KEY_TYPES_KEY: slicer_lib.slice_keys_to_numpy_array(keys),
    }


def eval_config(text: str) -> Any:
    config = text_format.Parse(text, config_pb2.EvalConfig())
    weight_key = "weight" if "weighted" in text else ""
    for model in MODELS:
        config.model_specs.add(name=model, is_baseline=model == "reference", label_key="label", example_weight_key=weight_key)
    for spec in config.metrics_specs:
        spec.model_names.extend(MODELS)
    return config


def by_beam(config: Any, examples: list[dict[str, Any]], folder: Path) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Metrics and plots by slice, and the validation, from TFMA's evaluator and writer."""
    paths = {kind: str(folder / kind) for kind in ("metrics", "plots", "attributions", "validations")}
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        evaluation = (
            pipeline
            | beam.Create(examples, reshuffle=False)
            | evaluator.MetricsPlotsAndValidationsEvaluator(config, random_seed_for_testing=0).ptransform
        )
        evaluation | writer.MetricsPlotsAndValidationsWriter(paths, config).ptransform
    metrics = {_key(message): message for message in writer.load_and_deserialize_metrics(str(folder))}
    plots = {_key(message): message for message in writer.load_and_deserialize_plots(str(folder))}
    return metrics, plots, tfma.load_validation_result(str(folder))


def blocks(examples: list[dict[str, Any]], size: int = 50) -> Iterator[Block]:
    """The examples as the engine takes them."""
    for start in range(0, len(examples), size):
        part = examples[start : start + size]
        yield Block(
            labels=_stacked([example[constants.LABELS_KEY] for example in part]),
            weights=_stacked([example[constants.EXAMPLE_WEIGHTS_KEY] for example in part]),
            features=_stacked([example[constants.FEATURES_KEY] for example in part]),
            predictions=_stacked([example[constants.PREDICTIONS_KEY] for example in part]),
            slices=[example[constants.SLICE_KEY_TYPES_KEY] for example in part],
        )


def _stacked(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {name: _stacked([value[name] for value in values]) for name in values[0]}
    return np.stack(values)


def by_engine(config: Any, examples: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    results = engine.evaluate(config, lambda: blocks(examples))
    assert results.problems == ()
    metrics, plots = {}, {}
    for key, values in results.sliced.items():
        single = {name: value for name, value in values.items() if type(name) in (metric_types.MetricKey, str)}
        drawn = {name: value for name, value in values.items() if type(name) is metric_types.PlotKey}
        message = writer.convert_slice_metrics_to_proto((key, single), None)
        metrics[_key(message)] = message
        plot = writer.convert_slice_plots_to_proto((key, drawn), None)
        plots[_key(plot)] = plot
    return metrics, plots


def _key(message: Any) -> str:
    return str(message.slice_key) + str(message.cross_slice_key)


def entries(message: Any) -> dict[str, Any]:
    return {str(entry.key): entry for entry in message.metric_keys_and_values}


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> int:
    """Every number of every slice, to float32's last bit or two: Beam adds in another order. Returns how many."""
    assert ours.keys() == theirs.keys()
    count = 0
    for key, message in theirs.items():
        mine, yours = entries(ours[key]), entries(message)
        assert mine.keys() == yours.keys()
        for name, entry in yours.items():
            for part in ("value", "confidence_interval"):
                expected, found = getattr(entry, part), getattr(mine[name], part)
                assert _numbers(found) == pytest.approx(_numbers(expected), rel=1e-6, abs=1e-9, nan_ok=True), name
                count += len(_numbers(expected))
    return count


def _numbers(message: Any) -> list[float]:
    """The numbers in a message, in the order of their fields."""
    found: list[float] = []
    for field, value in message.ListFields():
        for one in value if field.is_repeated else [value]:
            if field.message_type is not None:
                found += _numbers(one)
            elif isinstance(one, int | float):
                found.append(float(one))
    return found
