"""The ladder: what does not convert, or converts into something else, falls to the next rung, and never to a false blessing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import Run
from tests.support.kitchen_sink.lowering import MODELS
from tests.support.pipelines import run_pipeline
from tests.support.programs import run_program

ALLOWING_JOB = """
models:
  - {{checkpoints: "{folder}/needs_flex.keras", samples: matrices}}
  - {{checkpoints: "{folder}/gru.keras", samples: short}}
  - {{checkpoints: "{folder}/saved_lstm", samples: short}}
modules: ["{folder}/inverse_layer.py"]
samples: {{matrices: {{path: "{folder}/matrices.npz"}}, short: {{path: "{folder}/short.npz"}}}}
variants: [float32, float16, int8]
conversion: {{allow_select_tf_ops: true, fixed_batch: 4}}
"""


@pytest.fixture(scope="module")
def reports(kitchen_sink: Run) -> dict[str, dict[str, Any]]:
    return {Path(name).stem: kitchen_sink.report(Path(name).stem) for name in MODELS}


@pytest.fixture(scope="module")
def allowed(kitchen_sink: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = kitchen_sink.out.parent / "lowering"
    out = tmp_path_factory.mktemp("allowed")
    (out / "job.yaml").write_text(ALLOWING_JOB.format(folder=folder))
    run_pipeline(out / "job.yaml", out / "out")
    return out / "out" / "models"


def report_of(models: Path, model_id: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((models / model_id / "report.json").read_text())
    return report


def test_an_lstm_whose_cell_state_passes_ten_is_blessed_only_with_answers_that_match(reports: dict[str, dict[str, Any]]) -> None:
    """LiteRT's fused operator clips the state at 10 and keeps it between invocations; it must not be what the file holds."""
    float32 = reports["lstm_past_ten"]["variants"]["float32"]
    assert float32["status"] == "blessed", float32["reason"]
    assert float32["parity"]["scores"]["max_rel"] < 1e-5
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in float32["ops"]


def test_an_operator_litert_does_not_have_is_named(reports: dict[str, dict[str, Any]]) -> None:
    report = reports["needs_flex"]
    float32 = report["variants"]["float32"]
    assert (float32["status"], float32["reason"]["code"]) == ("failed", "NEEDS_FLEX")
    assert "tf.MatrixInverse in layer 'inverse' (Inverse)" in float32["reason"]["message"]
    assert [attempt["status"] for attempt in float32["attempts"]] == ["NEEDS_FLEX", "NEEDS_FLEX"], "every rung is listed"
    assert report["status"] == "not_blessed"
    assert report["saved_model"]["status"] == "blessed", "the SavedModel is right all the same"


@pytest.mark.parametrize("model_id", ["gru", "lstm_past_ten"])
def test_what_the_quantizer_refuses_tensorflow_makes_and_the_report_says_so(reports: dict[str, Any], model_id: str) -> None:
    """Calibrating a recurrent loop: the AI Edge quantizer raises, TensorFlow's calibrator can do it once the loop is unrolled."""
    int8 = reports[model_id]["variants"]["int8"]
    assert int8["path"] is not None, int8["reason"]
    assert int8["quantizer"] == "TensorFlow's converter"
    assert "WHILE" not in int8["ops"]
    assert int8["quantized_share"] == 1, int8["weights"]
    first, second = int8["attempts"][-2:]
    assert (first["lowering"], first["status"]) == ("int8 by the AI Edge quantizer", "CONVERT_FAILED")
    assert second["lowering"] == "int8 by TensorFlow's converter"
    assert second["status"] in ("converted", "PARITY_OUT_OF_TOLERANCE"), "made, and on a few rows within its gates or not"
    others = {name: variant["quantizer"] for name, variant in reports[model_id]["variants"].items() if name != "int8"}
    assert others == {"float32": None, "float16": "the AI Edge quantizer", "dynamic_int8": "the AI Edge quantizer"}


def test_a_gru_in_int8_is_close_to_the_checkpoint(reports: dict[str, dict[str, Any]]) -> None:
    int8 = reports["gru"]["variants"]["int8"]
    assert int8["parity"]["scores"]["sqnr_db"] > 25, int8["parity"]


def test_what_neither_can_do_names_both(reports: dict[str, dict[str, Any]]) -> None:
    """A GRU over any number of steps cannot be unrolled, and TensorFlow's calibrator aborts on its loop."""
    int8 = reports["open_end"]["variants"]["int8"]
    assert (int8["status"], int8["reason"]["code"], int8["path"]) == ("failed", "CONVERT_FAILED", None)
    assert "the AI Edge quantizer refused" in int8["reason"]["message"]
    assert "TensorFlow's converter cannot calibrate loops" in int8["reason"]["message"]
    assert reports["open_end"]["variants"]["float32"]["status"] == "blessed", reports["open_end"]["variants"]["float32"]["reason"]


def test_select_tf_ops_if_the_job_allows_are_converted_and_never_blessed(allowed: Path) -> None:
    report = report_of(allowed, "needs_flex")
    for name in ("float32", "float16"):
        variant = report["variants"][name]
        assert (variant["status"], variant["reason"]["code"]) == ("unverifiable", "NEEDS_FLEX"), name
        assert "tf.MatrixInverse in layer 'inverse' (Inverse)" in variant["reason"]["message"]
        assert variant["ops"]["FlexMatrixInverse"] == 1
        assert (allowed / "needs_flex" / variant["path"]).stat().st_size == variant["bytes"]
        assert [attempt["lowering"] for attempt in variant["attempts"]] == ["dynamic batch", "batch fixed at 4", "Select TF ops"]
    assert report["variants"]["int8"]["status"] == "failed", "calibration would have to run it"
    assert report["status"] == "not_blessed"
    assert report["recommended_variant"] is None


def test_the_job_says_at_what_the_batch_is_fixed(allowed: Path) -> None:
    """48 rows are twelve groups of four, and the answers are the checkpoint's."""
    for model_id in ("gru", "saved_lstm"):
        float32 = report_of(allowed, model_id)["variants"]["float32"]
        assert (float32["status"], float32["batch"]) == ("blessed", 4), float32["reason"]
        assert float32["contract"]["inputs"][0]["shape"] == [4, 12, 4]


@pytest.mark.parametrize("model_id", ["exported_gru", "saved_lstm"])
def test_recurrent_layers_in_a_saved_model_convert_with_the_batch_fixed(reports: dict[str, Any], model_id: str) -> None:
    """The graph was traced by others with a free batch, which stands in its tensor lists."""
    float32 = reports[model_id]["variants"]["float32"]
    assert (float32["status"], float32["batch"]) == ("blessed", 1), float32["reason"]
    statuses = [(attempt["lowering"], attempt["status"]) for attempt in float32["attempts"]]
    assert statuses == [("dynamic batch", "NEEDS_FLEX"), ("batch fixed at 1", "converted")]
    assert float32["parity"]["scores" if model_id == "saved_lstm" else "output_0"]["max_rel"] < 1e-5


CAPTURES = """
import sys, numpy as np, tensorflow as tf
from liteferry import checkpoints
from liteferry.loading import LoadSpec, loaders, tracing
from liteferry.tflite import frozen_graph, runners

class Basis(tf.Module):
    '''Holds a plain tensor, as layers that compute a basis in Python do: captured, neither variable nor input.'''
    def __init__(self):
        self.basis = tf.constant(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
        self.scale = tf.Variable(2.0)
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def serve(self, x):
        return {"beta": tf.matmul(x, self.basis) * self.scale, "alpha": tf.reduce_sum(x, axis=1, keepdims=True)}

module = Basis()
tf.saved_model.save(module, sys.argv[1], signatures={"serving_default": module.serve})
loaded = loaders.load(sys.argv[1], checkpoints.examine(sys.argv[1]), LoadSpec(), sample_columns=())
traced = tracing.trace(loaded)
assert traced.signature.output_names() == ("alpha", "beta"), traced.signature.output_names()
rows = {"x": np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)}
expected, observed = traced.run(rows), runners.LiteRTRunner(frozen_graph.convert(traced)).run(rows)
for name in expected:
    np.testing.assert_allclose(observed[name], expected[name], atol=1e-5, rtol=0, err_msg=name)
"""


def test_a_tensor_that_the_graph_captured_is_a_constant_not_an_input(tmp_path: Path) -> None:
    run_program(CAPTURES, tmp_path / "basis", folder=tmp_path)
