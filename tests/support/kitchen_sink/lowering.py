"""Models that convert badly, or not at all: recurrent layers of both libraries, an operator that LiteRT does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support import Run
from tests.support.kitchen_sink.part import Part

WRITER = """
import numpy as np, tf_keras, keras, tensorflow as tf
random = np.random.default_rng(0)

def keras_2_lstm():
    layers = [tf_keras.Input((40, 4), name="steps"), tf_keras.layers.LSTM(8), tf_keras.layers.Dense(3, name="scores")]
    model = tf_keras.Sequential(layers)
    kernel, recurrent, bias = model.layers[0].get_weights()
    bias[:] = 4.0                     # gates open: the cell state climbs by almost 1 a step, far past 10
    model.layers[0].set_weights([np.abs(kernel) * 2, recurrent * 0.1, bias])
    return model

from inverse_layer import Inverse

gru = keras.Sequential([keras.Input((12, 4), name="short"), keras.layers.GRU(8), keras.layers.Dense(3, name="scores")])
gru.save("gru.keras")
gru.export("exported_gru", verbose=False)
memory = [tf_keras.layers.LSTM(8, name="memory"), tf_keras.layers.Dense(3, name="scores")]
saved = tf_keras.Sequential([tf_keras.Input((12, 4), name="short"), *memory])
saved.save("saved_lstm")
open_end = keras.Sequential([keras.Input((None, 4), name="short"), keras.layers.GRU(8), keras.layers.Dense(3, name="scores")])
open_end.save("open_end.keras")
keras_2_lstm().save("lstm_past_ten.h5")
keras.Sequential([keras.Input((4, 4), name="matrix"), Inverse(name="inverse")]).save("needs_flex.keras")
np.savez("steps.npz", steps=random.random((48, 40, 4), dtype=np.float32))
np.savez("short.npz", short=random.random((48, 12, 4), dtype=np.float32))
np.savez("matrices.npz", matrix=random.random((48, 4, 4), dtype=np.float32))
"""

INVERSE_LAYER = """
import keras

@keras.saving.register_keras_serializable(package="tests")
class Inverse(keras.layers.Layer):
    def call(self, inputs):
        import tensorflow as tf
        return tf.linalg.inv(inputs + tf.eye(4) * 8.0)
"""

MODELS = {
    "lstm_past_ten.h5": "steps",
    "needs_flex.keras": "matrices",
    "gru.keras": "short",
    "open_end.keras": "short",
    "exported_gru": "short",
    "saved_lstm": "short",
}


def _job(folder: Path, demo: Run) -> dict[str, Any]:
    (folder / "inverse_layer.py").write_text(INVERSE_LAYER)
    return {
        "models": [{"checkpoints": str(folder / name), "samples": samples} for name, samples in MODELS.items()],
        "samples": {name: {"path": str(folder / f"{name}.npz")} for name in ("steps", "short", "matrices")},
        "modules": [str(folder / "inverse_layer.py")],
    }


PART = Part(name="lowering", writer=WRITER, job=_job)
