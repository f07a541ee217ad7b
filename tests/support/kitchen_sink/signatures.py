"""`signatures:` and `serve_examples`: models whose signatures can be served, and every way in which they cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support import Run
from tests.support.kitchen_sink.part import Part

WRITER = """
import keras, numpy as np, tensorflow as tf
import model_code

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
np.savez("rows.npz", image=rng.uniform(0, 1, (12, 6, 6, 3)).astype("float32"))
layers = [keras.Input((6, 6, 3), name="image"), keras.layers.Flatten(), keras.layers.Dense(3, name="scores")]
plain = keras.Sequential(layers)
plain.save("plain.keras")
plain.set_weights([-w for w in plain.get_weights()])
plain.save("retrained.keras")
model = model_code.Encoder()
model(np.zeros((1, 6, 6, 3), "float32"))
model.save("encoder.keras")
np.savez("mixed_rows.npz", x=rng.uniform(0, 1, (8, 2)).astype("float32"), n=rng.integers(0, 9, (8, 3)).astype("int32"),
         s=np.array([["a"], ["b"]] * 4, dtype="S"))
x, n, s = keras.Input((2,), name="x"), keras.Input((3,), dtype="int32", name="n"), keras.Input((1,), dtype="string", name="s")
looked = keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(s)
joined = keras.layers.Concatenate()([x, keras.layers.Rescaling(1.0)(n), keras.layers.Rescaling(1.0)(looked)])
keras.Model([x, n, s], keras.layers.Dense(2, name="y")(joined)).save("mixed.keras")
layers = [keras.Input((None, 4), name="sequence"), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)]
keras.Sequential(layers).save("free_length.keras")
np.savez("sequence_rows.npz", sequence=rng.uniform(0, 1, (4, 5, 4)).astype("float32"))
learner = tf.Module()
learner.w = tf.Variable(rng.uniform(0, 1, (108, 3)).astype("float32"))
def scores(image):
    return {"scores": tf.reshape(image, [-1, 108]) @ learner.w}
def train(image):
    learner.w.assign_add(tf.random.uniform([108, 3]))
    return scores(image)
spec = [tf.TensorSpec([None, 6, 6, 3], name="image")]
served, trained = (tf.function(one, input_signature=spec) for one in (scores, train))
tf.saved_model.save(learner, "trains_beside", signatures={"serving_default": served, "train": trained})
"""

MODEL_CODE = """
import keras, tensorflow as tf

@keras.saving.register_keras_serializable("tests")
class Encoder(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.flip = keras.layers.RandomFlip()
        self.flatten = keras.layers.Flatten()
        self.dense = keras.layers.Dense(4)
        self.head = keras.layers.Dense(2)
    def embed(self, image):
        return {"embedding": self.dense(self.flatten(self.flip(image)))}
    def tail(self, values, training=True):
        return self.head(values) + (1.0 if training else 0.0)
    def jitter(self, image):
        return tf.random.uniform(tf.shape(image))
    def call(self, image):
        return self.head(self.embed(image)["embedding"])

def from_png(inference, png, scale):
    image = tf.map_fn(lambda p: tf.image.decode_png(p, channels=3), png, fn_output_signature=tf.uint8)
    image.set_shape([None, 6, 6, 3])
    return {"own": inference(tf.cast(image, tf.float32) / 255.0)["scores"] * scale[:, None]}

def labels(inference):
    table = tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(
        inference.assets["vocabulary"], tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE), "?")
    def serve(image):
        scores = inference(image=image)["scores"]
        return {"label": table.lookup(tf.argmax(scores, axis=-1)), "scores": scores}
    return serve

def reads_the_path(inference, image):
    return {"text": tf.io.read_file(inference.assets["vocabulary"]), "scores": inference(image)["scores"]}

def wrong_input(inference, image):
    return inference(picture=image)

def returns_nothing(inference, image):
    return None
"""

# Each model of the job is a checkpoint of its own.
_COPY = """
import os, shutil
os.mkdir("of")
for name, source in COPIES.items():
    if os.path.isdir(source):
        shutil.copytree(source, f"of/{name}")
    else:
        shutil.copy(f"{source}.keras", f"of/{name}.keras")
"""

_FOLDER = "trains_beside"
IMAGE = {"image": {"shape": [None, 6, 6, 3]}}


def function(name: str, **more: Any) -> dict[str, Any]:
    return {"function": f"model_code:{name}", "inputs": IMAGE, **more}


def _entries(vocabulary: str) -> dict[str, dict[str, Any]]:
    """Model -> its entry in the job; `of` is the checkpoint of which it is a copy."""
    assets = {"assets": {"vocabulary": vocabulary}}
    png = {"png": {"dtype": "string"}, "scale": {}}
    return {
        "plain": {
            "of": "plain",
            "serve_examples": True,
            "signatures": {"from_png": {**function("from_png"), "inputs": png}, "labels": function("labels", **assets)},
        },
        "encoder": {
            "of": "encoder",
            "signatures": {"embed": {"method": "embed"}, "tail": {"method": "tail", "inputs": {"values": {"shape": [None, 4]}}}},
        },
        "mixed": {"of": "mixed", "samples": "mixed_rows", "serve_examples": True},
        "reads_the_path": {"of": "plain", "signatures": {"text": function("reads_the_path", **assets)}},
        "wrong_input": {"of": "plain", "signatures": {"wrong": function("wrong_input")}},
        "returns_nothing": {"of": "plain", "signatures": {"nothing": function("returns_nothing")}},
        "no_function": {"of": "plain", "signatures": {"none": function("not_there")}},
        "no_method": {"of": "plain", "signatures": {"none": {"method": "not_there"}}},
        "random": {"of": "encoder", "signatures": {"jitter": {"method": "jitter"}}},
        "free_length": {"of": "free_length", "samples": "sequence_rows", "serve_examples": True},
        "trains_beside": {"of": _FOLDER, "serve_examples": True},
    }


def _job(folder: Path, demo: Run) -> dict[str, Any]:
    (folder / "model_code.py").write_text(MODEL_CODE)
    (folder / "vocabulary.txt").write_text("cat\ndog\nowl\n")
    models = []
    for name, entry in _entries(str(folder / "vocabulary.txt")).items():
        file = name if entry["of"] == _FOLDER else f"{name}.keras"
        models.append({"checkpoints": str(folder / "of" / file), "samples": "rows", **entry})
        del models[-1]["of"]
    samples = {name: {"path": str(folder / f"{name}.npz")} for name in ("rows", "mixed_rows", "sequence_rows")}
    return {"models": models, "samples": samples, "modules": [str(folder / "model_code.py")]}


COPIES = {name: entry["of"] for name, entry in _entries("").items()}
PART = Part(name="signatures", writer=f"{WRITER}\nCOPIES = {COPIES}\n{_COPY}", job=_job)
