"""Folders that `tf.data.Dataset.save` itself writes, read without TensorFlow: plain and compressed, batched or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from liteferry.config.job import SamplesSpec
from liteferry.samples.headers import describe_contained
from liteferry.samples.opening import open_samples
from tests.samples.test_samples import MISMATCH, failure, read_all, signature
from tests.support.programs import run_program

X = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
LABELS = np.arange(10) % 3
WRITER = """
import sys
import numpy as np
import tensorflow as tf

rows = np.load(sys.argv[1])
pairs = tf.data.Dataset.from_tensor_slices((rows["x"], rows["y"]))
named = tf.data.Dataset.from_tensor_slices(({"x": rows["x"], "name": ["", "grün", "a" * 200, *map(str, range(7))]}, rows["y"]))
pairs.save("pairs")
pairs.batch(4).save("batches")
pairs.save("gzip", compression="GZIP")
named.save("named")
named.batch(3).save("named_gzip", compression="GZIP")
pairs.batch(5, drop_remainder=True).save("whole_batches")
pairs.map(lambda x, y: tf.sparse.from_dense(x)).save("sparse")
pairs.save("twice")
pairs.take(4).save("twice")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("saved")
    np.savez(here / "rows.npz", x=X, y=LABELS)
    run_program(WRITER, here / "rows.npz", folder=here)
    return here


@pytest.mark.parametrize("name", ["pairs", "batches", "gzip", "named", "named_gzip"])
def test_the_rows_are_those_that_were_saved(folder: Path, name: str) -> None:
    batches = read_all(SamplesSpec(path=str(folder / name), label="y"), signature(x=((3,), "float32")))
    np.testing.assert_array_equal(np.concatenate([batch.inputs["x"] for batch in batches]), X)
    np.testing.assert_array_equal(np.concatenate([batch.label for batch in batches]), LABELS)


@pytest.mark.parametrize("name", ["named", "named_gzip"])
def test_texts_are_read(folder: Path, name: str) -> None:
    batches = read_all(SamplesSpec(path=str(folder / name)), signature(name=((), "string")))
    found = [text.decode() for batch in batches for text in batch.inputs["name"]]
    assert found == ["", "grün", "a" * 200, *map(str, range(7))]


def test_of_two_runs_in_a_folder_the_newest_counts(folder: Path) -> None:
    assert open_samples(SamplesSpec(path=str(folder / "twice")), describe=describe_contained).row_count == 4


def test_what_holds_no_dense_rows_is_told_with_the_line_that_saves_them(folder: Path) -> None:
    message = failure(MISMATCH, open_samples, SamplesSpec(path=str(folder / "sparse")))
    assert "ragged or sparse ones for example; save dense tensors" in message


def test_batches_of_one_size_are_told_to_be_batches(folder: Path) -> None:
    message = failure(MISMATCH, read_all, SamplesSpec(path=str(folder / "whole_batches")), signature(x=((3,), "float32")))
    assert "as dataset.unbatch() does" in message
