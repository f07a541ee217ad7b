"""The ladder: what does not convert, or converts into something else, falls to the next rung, and never to a false blessing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import liteferry

WRITER = """
import sys, numpy as np, tf_keras, keras, tensorflow as tf
folder, random = sys.argv[1], np.random.default_rng(0)

def keras_2_lstm():
    layers = [tf_keras.Input((40, 4), name="steps"), tf_keras.layers.LSTM(8), tf_keras.layers.Dense(3, name="scores")]
    model = tf_keras.Sequential(layers)
    kernel, recurrent, bias = model.layers[0].get_weights()
    bias[:] = 4.0                     # gates open: the cell state climbs by almost 1 a step, far past 10
    model.layers[0].set_weights([np.abs(kernel) * 2, recurrent * 0.1, bias])
    return model

@keras.saving.register_keras_serializable(package="tests")
class Inverse(keras.layers.Layer):
    def call(self, inputs):
        import tensorflow as tf
        return tf.linalg.inv(inputs + tf.eye(4) * 8.0)

keras_2_lstm().save(f"{folder}/lstm_past_ten.h5")
keras.Sequential([keras.Input((4, 4), name="matrix"), Inverse(name="inverse")]).save(f"{folder}/needs_flex.keras")
np.savez(f"{folder}/steps.npz", steps=random.random((48, 40, 4), dtype=np.float32))
np.savez(f"{folder}/matrices.npz", matrix=random.random((48, 4, 4), dtype=np.float32))
open(f"{folder}/inverse_layer.py", "w").write('''
import keras
@keras.saving.register_keras_serializable(package="tests")
class Inverse(keras.layers.Layer):
    def call(self, inputs):
        import tensorflow as tf
        return tf.linalg.inv(inputs + tf.eye(4) * 8.0)
''')
"""

JOB = """
models:
  - {checkpoints: lstm_past_ten.h5, samples: steps}
  - {checkpoints: needs_flex.keras, samples: matrices}
modules: [inverse_layer.py]
samples: {steps: {path: steps.npz}, matrices: {path: matrices.npz}}
variants: [float32, dynamic_int8]
"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("ladder")
    subprocess.run([sys.executable, "-c", WRITER, str(folder)], check=True, capture_output=True)
    (folder / "job.yaml").write_text(JOB)
    done = liteferry("run", "--config", folder / "job.yaml", "--output", folder / "out")
    found = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("out/models/*/report.json")}
    assert len(found) == 2, done.stdout + done.stderr
    return found


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
    assert "MatrixInverse" in float32["reason"]["message"]
    assert report["status"] == "not_blessed"
    assert report["saved_model"]["status"] == "blessed", "the SavedModel is right all the same"
