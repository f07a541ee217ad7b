"""Latency of variants: bounded, plausible, of the right file; and what it must never do, which is to change a fact."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry.evaluation import latency
from liteferry.evaluation.messages import CandidateMeasured, CostMeasured
from liteferry.evaluation.results import results_of
from liteferry.tflite import flatbuffer
from tests.support import Run

HEALTHY = ("mlp", "cnn", "gru_over_rows")
NUMBERS = {f"{name}{suffix}" for name in ("p50", "p99", "rows_per_s") for suffix in ("", "_all_threads")}


def content_of(demo: Run, model_id: str, variant: str = "float32") -> bytes:
    return (demo.out / "models" / model_id / "tflite" / f"{variant}.tflite").read_bytes()


def rows_for(content: bytes, rows: int) -> dict[str, np.ndarray]:
    return {
        tensor.name: np.zeros((rows, *(size or 1 for size in tensor.shape[1:])), tensor.dtype)
        for tensor in flatbuffer.read_contract(content).inputs
    }


@pytest.mark.parametrize("model_id", HEALTHY)
def test_every_variant_of_a_run_is_timed(demo: Run, model_id: str) -> None:
    report = demo.report(model_id)
    for name, variant in report["variants"].items():
        measured = variant["latency_ms"]
        assert measured.keys() == NUMBERS | {"threads", "runs", "load", "measured_on"}, name
        assert measured["measured_on"] == model_id, name  # no two of the demo's models are siblings with the same options
        assert 0 < measured["p50"] <= measured["p99"] and 0 < measured["p50_all_threads"] <= measured["p99_all_threads"]
        assert measured["rows_per_s"] > 0 and 3 <= measured["runs"] <= 100
        assert variant["activation_bytes"] > 0
    assert report["environment"]["cpu"]


def test_the_time_is_bounded(demo: Run) -> None:
    content = content_of(demo, "mlp")
    started = time.process_time()
    assert latency.measure(content, rows_for(content, 64))
    assert time.process_time() - started < 1


def test_more_rows_at_once_are_faster_by_the_row(demo: Run) -> None:
    content = content_of(demo, "mlp")
    measured = latency.measure(content, rows_for(content, 64))
    assert measured["rows_per_s"] > 2 * 1000 / measured["p50"]


def test_a_fixed_batch_is_timed_as_it_is(demo: Run) -> None:
    content = content_of(demo, "gru_over_rows")
    measured = latency.measure(content, rows_for(content, 64))
    assert measured["rows_per_s"] == pytest.approx(1000 / measured["p50"])


def test_too_slow_a_file_is_left_out(demo: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "_TOO_SLOW_S", 0.0)
    content = content_of(demo, "mlp")
    assert latency.measure(content, rows_for(content, 64)) == {}


def test_the_least_arena_is_what_is_alive_at_one_operator(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 100), tf.float32)])
    def function(x: tf.Tensor) -> tf.Tensor:
        wide = tf.tile(x, (1, 10))  # (1, 1000): alive with x, then with its sine, then with the sum of both
        return tf.reduce_sum(tf.sin(wide) + tf.cos(wide), axis=1)

    content = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()]).convert()
    assert latency.least_arena_bytes(content) == 3 * 4000  # wide, its sine, its cosine


def test_results_stand_without_costs_and_costs_never_stand_alone() -> None:
    common: Any = {"model_id": "m", "candidate": "float32", "seconds": 0.0}
    answer = CandidateMeasured(**common, stats={}, slices=[], reason=None, worst_rows=[], rows_per_s=None)
    cost = CostMeasured(**common, latency_ms={"p50": 1.0}, activation_bytes=8)
    assert results_of((answer,))["float32"].latency_ms == {}
    assert results_of((answer, cost))["float32"].latency_ms == {"p50": 1.0}
    assert results_of((cost,)) == {}
