"""A fleet small enough to be run again and again: `python write_fleet.py OUT`, in LiteFerry's environment.

OUT/good/{narrow,wide}.keras    two healthy models
OUT/mixed/…                     the same, and broken.keras, which is half a file
OUT/{good,mixed}.yaml           their job files
OUT/rows.npz                    sample rows
OUT/examples/Split-{train,eval} the same rows as tf.Examples, as an ExampleGen leaves them
OUT/records                     the same rows in one TFRecord file
OUT/trained/Format-Serving      the narrow model as a Trainer leaves it
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

JOB = """\
models: [{{checkpoints: "{folder}/*.keras", metadata: {{team: orchestration}}}}]
samples: {{rows: {{path: rows.npz}}}}
variants: [float32, dynamic_int8]
limits: {{seconds_per_model: 120}}
"""


def build(units: int) -> keras.Model:
    keras.utils.set_random_seed(units)
    layers = [keras.Input((4,), name="x"), keras.layers.Dense(units, "relu"), keras.layers.Dense(3, "softmax", name="y")]
    return keras.Sequential(layers)


def write(out: Path) -> None:
    models = {"narrow": build(4), "wide": build(16)}
    for folder in ("good", "mixed"):
        (out / folder).mkdir(parents=True)
        for name, model in models.items():
            model.save(out / folder / f"{name}.keras")
        (out / f"{folder}.yaml").write_text(JOB.format(folder=folder))
    whole = (out / "good" / "narrow.keras").read_bytes()
    (out / "mixed" / "broken.keras").write_bytes(whole[: len(whole) // 2])
    (out / "trained" / "Format-Serving").mkdir(parents=True)
    (out / "trained" / "Format-Serving" / "model.keras").write_bytes(whole)

    rows = np.random.default_rng(5).normal(size=(48, 4)).astype(np.float32)
    np.savez(out / "rows.npz", x=rows)
    for split, part in {"train": rows[:32], "eval": rows[32:]}.items():
        file = out / "examples" / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz"
        file.parent.mkdir(parents=True)
        file.write_bytes(gzip.compress(records(part, out)))
    (out / "records").mkdir()
    (out / "records" / "rows.tfrecord").write_bytes(records(rows, out))


def records(rows: np.ndarray, scratch: Path) -> bytes:
    path = scratch / "records.tmp"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            feature = {"x": tf.train.Feature(float_list=tf.train.FloatList(value=row))}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    written = path.read_bytes()
    path.unlink()
    return written


if __name__ == "__main__":
    write(Path(sys.argv[1]))
