"""The engine computes what TFMA's own evaluator computes on a Beam pipeline, and the same numbers however rows are cut."""

from __future__ import annotations

import collections
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
from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

from liteferry.evaluation.tfma import engine
from liteferry.evaluation.tfma.blocks import Block, RowWise, feeders

MODELS = ("reference", "float32", "int8")
ROWS = 120
SLICED = 'slicing_specs {} slicing_specs {feature_keys: "country"}'


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


def _entries(message: Any) -> dict[str, Any]:
    return {str(entry.key): entry for entry in message.metric_keys_and_values}


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> int:
    """Every number of every slice, to float32's last bit or two: Beam adds in another order. Returns how many."""
    assert ours.keys() == theirs.keys()
    count = 0
    for key, message in theirs.items():
        mine, yours = _entries(ours[key]), _entries(message)
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


CASES = {
    "classes": ("classes", SLICED + 'metrics_specs {metrics {class_name: "SparseCategoricalAccuracy"} '
                'metrics {class_name: "SparseCategoricalCrossentropy"} metrics {class_name: "ExampleCount"}}'),
    "weights": ("classes", SLICED + 'metrics_specs {example_weights {weighted: true} '
                'metrics {class_name: "SparseCategoricalAccuracy"}} metrics_specs {metrics {class_name: "ExampleCount"}}'),
    "score": ("score", SLICED + 'metrics_specs {metrics {class_name: "AUC"} metrics {class_name: "BinaryAccuracy"} '
              'metrics {class_name: "Precision"} metrics {class_name: "MeanLabel"} metrics {class_name: "BinaryCrossentropy"}}'),
    "top k": ("classes", SLICED + 'metrics_specs {binarize {top_k_list {values: [1, 3]}} metrics {class_name: "Precision"}}'),
    "macro average": ("classes", SLICED + 'metrics_specs {aggregate {macro_average: true class_weights {key: 0 value: 1} '
                      'class_weights {key: 1 value: 1}} metrics {class_name: "AUC"}}'),
    "two outputs": ("outputs", SLICED + 'metrics_specs {output_names: "digit" metrics {class_name: "SparseCategoricalAccuracy"}} '
                    'metrics_specs {output_names: "size" metrics {class_name: "MeanSquaredError"}}'),
    "queries": ("score", SLICED + 'metrics_specs {query_key: "query" binarize {top_k_list {values: [1, 3]}} '
                'metrics {class_name: "NDCG" config: "\\"gain_key\\": \\"gain\\""}}'),
    "flips": ("score", SLICED + 'metrics_specs {metrics {class_name: "SymmetricFlipRate"} '
              'metrics {class_name: "SymmetricPredictionDifference"}}'),
    "slices compared": ("score", SLICED + 'cross_slicing_specs {baseline_spec {} slicing_specs {feature_keys: "country"}} '
                        'metrics_specs {metrics {class_name: "BinaryAccuracy"}}'),
    "small slices": ("score", SLICED + 'options {min_slice_size {value: 100}} metrics_specs {metrics {class_name: "AUC"}}'),
    "plots": ("score", SLICED + 'metrics_specs {metrics {class_name: "CalibrationPlot"} metrics {class_name: "AUC"}}'),
}  # fmt: skip


_BY_DAY = ("classes", "queries")  # Keras metrics and TFMA's own: the two ways that metrics go


@pytest.mark.parametrize("case", [pytest.param(case, marks=() if case in _BY_DAY else pytest.mark.nightly) for case in CASES])
def test_the_numbers_are_those_of_tfmas_evaluator(case: str, tmp_path: Path) -> None:
    kind, text = CASES[case]
    config, examples = eval_config(text), rows(kind)
    metrics, plots, _ = by_beam(config, examples, tmp_path)
    our_metrics, our_plots = by_engine(config, examples)
    assert assert_same(our_metrics, metrics) >= (0 if case == "small slices" else 5)
    assert our_plots == plots
    assert any(message.plot_keys_and_values for message in plots.values()) == (case == "plots")


@pytest.mark.nightly
@pytest.mark.parametrize("method", ["JACKKNIFE", "POISSON_BOOTSTRAP"])
def test_confidence_intervals_are_tfmas_with_the_same_draws(method: str, tmp_path: Path) -> None:
    options = f"options {{compute_confidence_intervals {{value: true}} confidence_intervals {{method: {method}}}}}"
    config = eval_config(options + ' metrics_specs {metrics {class_name: "BinaryAccuracy"} metrics {class_name: "MeanLabel"}}')
    examples = rows("score", sliced=False)
    metrics, _, _ = by_beam(config, examples, tmp_path)
    ours, _ = by_engine(config, examples)
    assert assert_same(ours, metrics) > 20
    assert all(entry.HasField("confidence_interval") for entry in _entries(next(iter(ours.values()))).values())


def test_confidence_intervals_change_no_value_and_are_the_same_every_time() -> None:
    text = 'metrics_specs {metrics {class_name: "BinaryAccuracy"} metrics {class_name: "MeanLabel"}}'
    plain, _ = by_engine(eval_config(text), rows("score"))
    with_intervals = eval_config("options {compute_confidence_intervals {value: true}}" + text)
    first, _ = by_engine(with_intervals, rows("score"))
    assert first == by_engine(with_intervals, rows("score"))[0]
    for key, message in plain.items():
        for name, entry in _entries(message).items():
            assert _entries(first[key])[name].value == entry.value


def test_a_metric_that_fails_costs_itself_alone() -> None:
    """TFMA computes both in one Keras update; mean IoU of two classes cannot take ten."""
    text = 'metrics {class_name: "MeanIoU" config: "\\"num_classes\\": 2"} metrics {class_name: "SparseCategoricalAccuracy"}'
    results = engine.evaluate(eval_config(f"metrics_specs {{{text}}}"), lambda: blocks(rows("classes")))
    assert {key.name for key in results.sliced[()]} == {"sparse_categorical_accuracy"}
    assert [problem.partition(":")[0] for problem in results.problems] == [f"mean_io_u of {model}" for model in MODELS]


def test_one_models_broken_row_costs_that_model_alone() -> None:
    examples = rows("score")
    examples[7][constants.PREDICTIONS_KEY]["int8"] = np.array([np.nan], np.float32)
    results = engine.evaluate(eval_config('metrics_specs {metrics {class_name: "AUC"}}'), lambda: blocks(examples))
    assert {key.model_name for key in results.sliced[()]} == {"reference", "float32"}
    assert all("int8" in problem for problem in results.problems) and results.problems


def test_rows_are_read_again_only_when_something_failed() -> None:
    passes: list[int] = []

    def read() -> Iterator[Any]:
        passes.append(len(passes))
        return blocks(rows("score", count=20))

    text = 'metrics_specs {metrics {class_name: "AUC"} metrics {class_name: "SparseCategoricalAccuracy"}}'
    engine.evaluate(eval_config(text), read)
    assert passes == [0]


@pytest.mark.parametrize(
    "case", ["classes", *(pytest.param(case, marks=pytest.mark.nightly) for case in ("weights", "score", "two outputs"))]
)
def test_blocks_give_the_same_bits_as_rows(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, text = CASES[case]
    config, examples = eval_config(text), rows(kind, count=2_300)
    by_blocks = engine.evaluate(config, lambda: blocks(examples, size=700))
    monkeypatch.setattr(Block, "standard_arrays", lambda *_: None)  # what is not plain arrays goes row by row
    by_rows = engine.evaluate(config, lambda: blocks(examples, size=700))
    assert by_blocks.problems == by_rows.problems == ()
    assert by_blocks.sliced.keys() == by_rows.sliced.keys()
    for key, metrics in by_rows.sliced.items():
        assert metrics.keys() == by_blocks.sliced[key].keys()
        for name, expected in metrics.items():
            np.testing.assert_array_equal(by_blocks.sliced[key][name], expected, err_msg=str(name))


def test_most_metrics_go_in_blocks() -> None:
    names = ("SparseCategoricalAccuracy", "AUC", "BinaryAccuracy", "MeanAbsoluteError", "MeanLabel", "ExampleCount")
    config = eval_config("metrics_specs {" + "".join(f'metrics {{class_name: "{name}"}}' for name in names) + "}")
    made = metric_specs.to_computations(list(config.metrics_specs), eval_config=config)
    computations = evaluator._filter_and_separate_computations(made).non_derived_computations
    kinds = collections.Counter(type(feeder).__name__ for feeder in feeders(computations, config, is_query=False))
    assert kinds["KerasUpdates"] == len(MODELS)
    assert kinds["Flattening"] == 4 * len(MODELS)
    assert kinds["RowWise"] >= 1
    assert {type(feeder) for feeder in feeders(computations, config, is_query=True)} == {RowWise}
