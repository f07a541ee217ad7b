"""Sample formats: encoded images in TFRecord shards, of which some rows are taken, and a Parquet shard with a damaged page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.support import Run
from tests.support.kitchen_sink.part import Part

WRITER = """
import keras, numpy as np, tensorflow as tf
keras.utils.set_random_seed(0)
def save(name, shape):
    layers = [keras.Input(shape, name="x"), keras.layers.Flatten(), keras.layers.Dense(3, name="y")]
    keras.Sequential(layers).save(f"{name}.keras")
save("images", (4, 4, 3))
save("damaged", (8,))
save("whole", (8,))

random = np.random.default_rng(0)
for number in range(3):
    with tf.io.TFRecordWriter(f"images.tfrecord-{number}") as writer:
        for row in range(50 * number, 50 * number + 50):
            png = tf.io.encode_png(random.integers(0, 256, (6, 5, 3), np.uint8)).numpy()
            bytes_of = lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
            features = {"x": bytes_of(png), "name": bytes_of(f"image {row:03}".encode())}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
"""


def _job(folder: Path, demo: Run) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(0)
    for number in range(3):
        column = pa.FixedSizeListArray.from_arrays(pa.array(random.normal(size=8 * 50).astype(np.float32)), 8)
        pq.write_table(pa.table({"x": column}), folder / f"damaged-{number}.parquet", write_page_checksum=True)
    shard = folder / "damaged-1.parquet"
    content = bytearray(shard.read_bytes())
    content[400:600] = bytes(200)
    shard.write_bytes(content)
    images_of = {"decode": "image", "size": [4, 4], "scale": 0.0078125, "offset": -1, "id": "name", "take": 40, "seed": 7}
    return {
        "models": [{"checkpoints": str(folder / f"{name}.keras"), "samples": name} for name in ("images", "damaged", "whole")],
        "samples": {
            "images": {"path": str(folder / "images.tfrecord-*"), **images_of},
            "damaged": {"path": str(folder / "damaged-*.parquet")},
            "whole": {"path": str(folder / "damaged-[02].parquet")},
        },
    }


PART = Part(name="formats", writer=WRITER, job=_job)
