"""Sample formats through the whole command: images, chosen rows, and a damaged shard that costs only who needs it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.samples.test_sample_formats import encoded, example, write_tfrecord
from tests.support import Run, liteferry

WRITER = """
import sys, keras
keras.utils.set_random_seed(0)
def save(name, shape):
    keras.Sequential([keras.Input(shape, name="x"), keras.layers.Flatten(), keras.layers.Dense(3, name="y")]).save(
        f"{sys.argv[1]}/{name}.keras")
save("images", (4, 4, 3))
save("damaged", (8,))
save("whole", (8,))
"""
JOB = """
models:
  - {checkpoints: images.keras, samples: images}
  - {checkpoints: damaged.keras, samples: damaged}
  - {checkpoints: whole.keras, samples: whole}
samples:
  images: {path: "images.tfrecord-*", decode: image, size: [4, 4], scale: 0.0078125, offset: -1, id: name, take: 40, seed: 7}
  damaged: {path: "damaged-*.parquet"}
  whole: {path: "damaged-[02].parquet"}
variants: [float16]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("formats")
    subprocess.run([sys.executable, "-c", WRITER, str(folder)], check=True, capture_output=True)
    random = np.random.default_rng(0)
    for number in range(3):
        images = random.integers(0, 256, (50, 6, 5, 3), np.uint8)
        names = [f"image {row:03}" for row in range(50 * number, 50 * number + 50)]
        rows = [example(x=[encoded(image)], name=[name.encode()]) for image, name in zip(images, names, strict=True)]
        write_tfrecord(folder / f"images.tfrecord-{number}", rows)
        column = pa.FixedSizeListArray.from_arrays(pa.array(random.normal(size=8 * 50).astype(np.float32)), 8)
        pq.write_table(pa.table({"x": column}), folder / f"damaged-{number}.parquet", write_page_checksum=True)
    shard = folder / "damaged-1.parquet"
    content = bytearray(shard.read_bytes())
    content[400:600] = bytes(200)
    shard.write_bytes(content)
    (folder / "job.yaml").write_text(JOB)
    return Run(folder / "out", liteferry("run", "--config", folder / "job.yaml", "--output", folder / "out"))


def test_images_prove_a_model_on_the_rows_that_were_taken(run: Run) -> None:
    report = run.report("images")
    assert report["status"] == "blessed", report["reason"]
    assert report["samples"]["row_count"] == 40
    assert report["variants"]["float16"]["parity"]["y"]["example_count"] == 40
    worst = report["variants"]["float16"]["worst_examples"]
    assert worst and all(example["id"] == f"image {example['row']:03}" for example in worst), worst


def test_a_damaged_shard_fails_the_models_that_need_it_with_its_path(run: Run) -> None:
    reason = run.report("damaged")["reason"]
    assert (reason["code"], reason["stage"]) == ("SAMPLES_MISMATCH", "samples")
    assert f"{run.out.parent}/damaged-1.parquet: cannot be read as .parquet" in reason["message"]
    assert run.report("damaged")["variants"]["float16"]["status"] != "blessed"


def test_and_nobody_else(run: Run) -> None:
    assert run.report("whole")["status"] == "blessed", run.report("whole")["reason"]
    assert run.said.returncode == 1, run.said.stderr
