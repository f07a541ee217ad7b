"""SavedModels whose signatures go into one .tflite file: a codec, and codecs with a signature that must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support import Run
from tests.support.kitchen_sink.part import Part

WRITER = """
import numpy as np, shutil, tensorflow as tf

class Codec(tf.Module):
    def __init__(self):
        random = np.random.default_rng(3)
        self.inward = tf.Variable(random.normal(size=(64, 32)).astype("float32") / 8, name="inward")
        self.outward = tf.Variable(random.normal(size=(32, 64)).astype("float32") / 5, name="outward")
        self.steps = tf.Variable(0.0, name="steps")

    @tf.function(input_signature=[tf.TensorSpec((None, 64), tf.float32, "x")])
    def encode(self, x):
        return {"code": tf.tanh(x @ self.inward)}

    @tf.function(input_signature=[tf.TensorSpec((None, 32), tf.float32, "x")])
    def decode(self, x):
        return {"y": x @ self.outward}

    @tf.function(input_signature=[tf.TensorSpec((None, 64), tf.float32, "x")])
    def serve(self, x):
        return {"y": self.decode(self.encode(x)["code"])["y"]}

    @tf.function(input_signature=[tf.TensorSpec((None, 64), tf.float32, "x")])
    def count(self, x):
        self.steps.assign_add(tf.reduce_sum(tf.ones_like(x)))
        return {"steps": self.steps + 0.0}

    @tf.function(input_signature=[tf.TensorSpec((None, 64), tf.float32, "x")])
    def scramble(self, x):
        return {"y": x + tf.random.uniform(tf.shape(x))}

codec = Codec()
names = {"serving_default": codec.serve, "encode": codec.encode, "decode": codec.decode}
tf.saved_model.save(codec, "codec", signatures=names)
tf.saved_model.save(codec, "codec_that_counts", signatures={**names, "count": codec.count})
tf.saved_model.save(codec, "codec_at_random", signatures={**names, "scramble": codec.scramble})
shutil.copytree("codec", "codec_without")
import keras
keras.config.set_dtype_policy("mixed_float16")
half = keras.Sequential([keras.Input((64,), name="x"), keras.layers.Dense(8, name="y")])
half.save("codec_in_half.keras")
keras.config.set_dtype_policy("float32")
random = np.random.default_rng(4)
rows = {"x": random.normal(size=(64, 64)).astype("float32"), "decode.x": random.normal(size=(64, 32)).astype("float32")}
np.savez("codec_rows.npz", **rows)
live = {"y": codec.serve(rows["x"])["y"], "encode.code": codec.encode(rows["x"])["code"]}
live["decode.y"] = codec.decode(rows["decode.x"])["y"]
np.savez("codec_answers.npz", **{name: value.numpy() for name, value in live.items()})
"""

ASKED: dict[str, Any] = {
    "codec": "all",
    "codec_that_counts": ["encode", "count"],
    "codec_at_random": ["scramble"],
    "codec_without": ["encode", "transcode"],
    "codec_in_half.keras": ["again"],
}
# Of a model that has no signatures of its own.
METHOD = {"signatures": {"again": {"method": "call", "inputs": {"inputs": {"shape": [None, 64]}}}}}


def _job(folder: Path, demo: Run) -> dict[str, Any]:
    return {
        "models": [
            {
                "checkpoints": str(folder / name),
                "samples": "codec_rows",
                "tflite_signatures": asked,
                **(METHOD if name.endswith(".keras") else {}),
            }
            for name, asked in ASKED.items()
        ],
        "samples": {"codec_rows": {"path": str(folder / "codec_rows.npz")}},
    }


PART = Part(name="several", writer=WRITER, job=_job)
