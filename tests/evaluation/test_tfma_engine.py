"""The engine computes what TFMA's own evaluator computes on a Beam pipeline, and the same numbers however rows are cut."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SLICED = 'slicing_specs {} slicing_specs {feature_keys: "country"}'

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
    from tests.evaluation import beside_tfma as beside

    kind, text = CASES[case]
    config, examples = beside.eval_config(text), beside.rows(kind)
    metrics, plots, _ = beside.by_beam(config, examples, tmp_path)
    our_metrics, our_plots = beside.by_engine(config, examples)
    assert beside.assert_same(our_metrics, metrics) >= (0 if case == "small slices" else 5)
    assert our_plots == plots
    assert any(message.plot_keys_and_values for message in plots.values()) == (case == "plots")


@pytest.mark.nightly
@pytest.mark.parametrize("method", ["JACKKNIFE", "POISSON_BOOTSTRAP"])
def test_confidence_intervals_are_tfmas_with_the_same_draws(method: str, tmp_path: Path) -> None:
    from tests.evaluation import beside_tfma as beside

    options = f"options {{compute_confidence_intervals {{value: true}} confidence_intervals {{method: {method}}}}}"
    config = beside.eval_config(
        options + ' metrics_specs {metrics {class_name: "BinaryAccuracy"} metrics {class_name: "MeanLabel"}}'
    )
    examples = beside.rows("score", sliced=False)
    metrics, _, _ = beside.by_beam(config, examples, tmp_path)
    ours, _ = beside.by_engine(config, examples)
    assert beside.assert_same(ours, metrics) > 20
    assert all(entry.HasField("confidence_interval") for entry in beside.entries(next(iter(ours.values()))).values())


def test_confidence_intervals_change_no_value_and_are_the_same_every_time() -> None:
    from tests.evaluation import beside_tfma as beside

    text = 'metrics_specs {metrics {class_name: "BinaryAccuracy"} metrics {class_name: "MeanLabel"}}'
    plain, _ = beside.by_engine(beside.eval_config(text), beside.rows("score"))
    with_intervals = beside.eval_config("options {compute_confidence_intervals {value: true}}" + text)
    first, _ = beside.by_engine(with_intervals, beside.rows("score"))
    assert first == beside.by_engine(with_intervals, beside.rows("score"))[0]
    for key, message in plain.items():
        for name, entry in beside.entries(message).items():
            assert beside.entries(first[key])[name].value == entry.value


def test_a_metric_that_fails_costs_itself_alone() -> None:
    """TFMA computes both in one Keras update; mean IoU of two classes cannot take ten."""
    from tests.evaluation import beside_tfma as beside

    text = 'metrics {class_name: "MeanIoU" config: "\\"num_classes\\": 2"} metrics {class_name: "SparseCategoricalAccuracy"}'
    results = beside.engine.evaluate(
        beside.eval_config(f"metrics_specs {{{text}}}"), lambda: beside.blocks(beside.rows("classes"))
    )
    assert {key.name for key in results.sliced[()]} == {"sparse_categorical_accuracy"}
    assert [problem.partition(":")[0] for problem in results.problems] == [f"mean_io_u of {model}" for model in beside.MODELS]


def test_one_models_broken_row_costs_that_model_alone() -> None:
    from tests.evaluation import beside_tfma as beside

    examples = beside.rows("score")
    examples[7][beside.constants.PREDICTIONS_KEY]["int8"] = np.array([np.nan], np.float32)
    results = beside.engine.evaluate(
        beside.eval_config('metrics_specs {metrics {class_name: "AUC"}}'), lambda: beside.blocks(examples)
    )
    assert {key.model_name for key in results.sliced[()]} == {"reference", "float32"}
    assert all("int8" in problem for problem in results.problems) and results.problems


def test_rows_are_read_again_only_when_something_failed() -> None:
    from tests.evaluation import beside_tfma as beside

    passes: list[int] = []

    def read() -> Iterator[Any]:
        passes.append(len(passes))
        return beside.blocks(beside.rows("score", count=20))

    text = 'metrics_specs {metrics {class_name: "AUC"} metrics {class_name: "SparseCategoricalAccuracy"}}'
    beside.engine.evaluate(beside.eval_config(text), read)
    assert passes == [0]


@pytest.mark.parametrize(
    "case", ["classes", *(pytest.param(case, marks=pytest.mark.nightly) for case in ("weights", "score", "two outputs"))]
)
def test_blocks_give_the_same_bits_as_rows(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.evaluation import beside_tfma as beside

    kind, text = CASES[case]
    config, examples = beside.eval_config(text), beside.rows(kind, count=2_300)
    by_blocks = beside.engine.evaluate(config, lambda: beside.blocks(examples, size=700))
    monkeypatch.setattr(beside.Block, "standard_arrays", lambda *_: None)  # what is not plain arrays goes row by row
    by_rows = beside.engine.evaluate(config, lambda: beside.blocks(examples, size=700))
    assert by_blocks.problems == by_rows.problems == ()
    assert by_blocks.sliced.keys() == by_rows.sliced.keys()
    for key, metrics in by_rows.sliced.items():
        assert metrics.keys() == by_blocks.sliced[key].keys()
        for name, expected in metrics.items():
            np.testing.assert_array_equal(by_blocks.sliced[key][name], expected, err_msg=str(name))


def test_most_metrics_go_in_blocks() -> None:
    from tensorflow_model_analysis.metrics import metric_specs

    from liteferry.evaluation.tfma.blocks import RowWise, feeders
    from tests.evaluation import beside_tfma as beside

    names = ("SparseCategoricalAccuracy", "AUC", "BinaryAccuracy", "MeanAbsoluteError", "MeanLabel", "ExampleCount")
    config = beside.eval_config("metrics_specs {" + "".join(f'metrics {{class_name: "{name}"}}' for name in names) + "}")
    made = metric_specs.to_computations(list(config.metrics_specs), eval_config=config)
    computations = beside.evaluator._filter_and_separate_computations(made).non_derived_computations
    kinds = collections.Counter(type(feeder).__name__ for feeder in feeders(computations, config, is_query=False))
    assert kinds["KerasUpdates"] == len(beside.MODELS)
    assert kinds["Flattening"] == 4 * len(beside.MODELS)
    assert kinds["RowWise"] >= 1
    assert {type(feeder) for feeder in feeders(computations, config, is_query=True)} == {RowWise}
