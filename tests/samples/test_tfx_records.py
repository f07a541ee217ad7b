"""What TFX writes besides flat tf.Examples: SequenceExamples, sparse tensors by the schema, and the folders of its Transform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from liteferry.config.job import SamplesSpec
from liteferry.errors import SamplesError
from liteferry.samples.opening import open_samples
from tests.samples.test_sample_formats import example, rows_of, write_tfrecord
from tests.samples.test_samples import MISMATCH, failure, read_all, signature

STEPS = """
feature { name: "user" type: INT shape {} }
feature {
  name: "##SEQUENCE##" type: STRUCT
  struct_domain {
    feature { name: "clicks" type: INT value_count { min: 1 max: 1 } }
    feature { name: "place" type: FLOAT shape { dim { size: 2 } } }
    feature { name: "words" type: BYTES value_count { min: 0 max: 9 } }
  }
}
"""
SPARSE = """
feature { name: "at" type: INT int_domain { min: 0 max: 4 } }
feature { name: "value" type: FLOAT }
feature { name: "row" type: INT } feature { name: "column" type: INT } feature { name: "count" type: INT }
sparse_feature { name: "vector" index_feature { name: "at" } value_feature { name: "value" } }
tensor_representation_group {
  key: ""
  value { tensor_representation { key: "table" value { sparse_tensor {
    dense_shape { dim { size: 2 } dim { size: 3 } }
    index_column_names: "row" index_column_names: "column" value_column_name: "count"
  } } } }
}
"""


def feature(*values: Any) -> Any:
    if values and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def sequence(user: int, **steps: list[Any]) -> bytes:
    lists = {name: tf.train.FeatureList(feature=features) for name, features in steps.items()}
    context = tf.train.Features(feature={"user": feature(user)})
    found: bytes = tf.train.SequenceExample(
        context=context, feature_lists=tf.train.FeatureLists(feature_list=lists)
    ).SerializeToString()
    return found


def opened(folder: Path, schema: str, records: list[bytes], name: str = "x.tfrecord") -> SamplesSpec:
    (folder / "schema.pbtxt").write_text(schema)
    return SamplesSpec(path=str(write_tfrecord(folder / name, records)), schema_file=str(folder / "schema.pbtxt"))


@pytest.mark.parametrize("name", ["x.tfrecord", "x.tfrecord.gz"])
def test_steps_of_sequence_examples_are_what_tensorflow_parses(tmp_path: Path, name: str) -> None:
    steps = [[(1, 0.5, 1.5), (2, 2.5, 3.5), (3, 4.5, 5.5)], [(4, 6.5, 7.5), (5, 8.5, 9.5), (6, 0.25, 0.75)]]
    records = [
        sequence(user, clicks=[feature(step[0]) for step in row], place=[feature(*step[1:]) for step in row])
        for user, row in enumerate(steps)
    ]
    spec = opened(tmp_path, STEPS, records, name)
    columns = open_samples(spec).columns
    assert {name: (column.dtype, column.shape) for name, column in columns.items()} == {
        "user": ("int64", ()),
        "clicks": ("int64", (None,)),
        "place": ("float32", (None, 2)),
        "words": ("string", (None, None)),
    }
    batches = read_all(spec, signature(clicks=((None,), "int64"), place=((None, 2), "float32"), user=((), "int64")))
    assert rows_of(batches, "user") == [0, 1]
    for number, record in enumerate(records):
        _, parsed = tf.io.parse_single_sequence_example(
            record,
            sequence_features={
                "clicks": tf.io.FixedLenSequenceFeature((), tf.int64),
                "place": tf.io.FixedLenSequenceFeature((2,), tf.float32),
            },
        )
        for column in ("clicks", "place"):
            np.testing.assert_array_equal(rows_of(batches, column)[number], parsed[column].numpy())


def test_steps_that_are_not_there_or_have_another_size_are_told(tmp_path: Path) -> None:
    whole = sequence(0, clicks=[feature(1)], place=[feature(0.5, 1.5)])
    spec = opened(tmp_path, STEPS, [whole, sequence(1, clicks=[feature(1)])])
    read = lambda: read_all(spec, signature(place=((None, 2), "float32")))  # noqa: E731
    assert "column 'place', row 1: this tf.SequenceExample has no such feature list" in failure(MISMATCH, read)
    spec = opened(tmp_path, STEPS, [whole, sequence(1, clicks=[feature(1)], place=[feature(0.5, 1.5, 2.5)])])
    assert "column 'place', row 1: a step has 3 values where 2 are expected" in failure(MISMATCH, read)


def test_sparse_tensors_are_dense_columns_with_zeros_as_tensorflow_makes_them(tmp_path: Path) -> None:
    rows = [
        example(at=[1, 3], value=[0.5, 1.5], row=[0, 1], column=[2, 0], count=[7, 8]),
        example(row=[1], column=[1], count=[9]),
    ]
    spec = opened(tmp_path, SPARSE, rows)
    batches = read_all(spec, signature(vector=((5,), "float32"), table=((2, 3), "int64")))
    parsed = tf.io.parse_example(
        rows,
        {
            "vector": tf.io.SparseFeature("at", "value", tf.float32, 5),
            "table": tf.io.SparseFeature(["row", "column"], "count", tf.int64, [2, 3]),
        },
    )
    for name in ("vector", "table"):
        np.testing.assert_array_equal(rows_of(batches, name), tf.sparse.to_dense(parsed[name]).numpy())


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (example(at=[1, 5], value=[0.5, 1.5]), "row 0: index 5 of a sparse tensor of shape (5,)"),
        (example(at=[1], value=[0.5, 1.5]), "row 0: a sparse tensor with 2 values and 1 indices"),
    ],
    ids=["an index beyond the shape", "more values than indices"],
)
def test_a_sparse_tensor_that_is_none_is_told(tmp_path: Path, row: bytes, told: str) -> None:
    spec = opened(tmp_path, SPARSE, [row])
    assert told in failure(MISMATCH, lambda: read_all(spec, signature(vector=((5,), "float32"))))


def transform(folder: Path) -> Path:
    """What a Transform of TFX leaves: examples by split, and a graph with the schema of what it made."""
    for split in ("train", "eval"):
        place = folder / "Transform" / "transformed_examples" / "5" / f"Split-{split}"
        place.mkdir(parents=True)
        write_tfrecord(place / "transformed_examples-00000-of-00001.gz", [example(image=[0.0, 1, 2, 3, 4, 5])])
    metadata = folder / "Transform" / "transform_graph" / "5" / "transformed_metadata"
    metadata.mkdir(parents=True)
    shape = "shape { dim { size: 2 } dim { size: 3 } }"
    (metadata / "schema.pbtxt").write_text(f'feature {{ name: "image" type: FLOAT {shape} }}')
    return folder / "Transform"


@pytest.mark.parametrize("named", ["transformed_examples/5", "transformed_examples/5/Split-train"])
def test_the_examples_of_a_transform_have_the_schema_of_its_graph(tmp_path: Path, named: str) -> None:
    found = open_samples(SamplesSpec(path=str(transform(tmp_path) / named)))
    assert found.columns["image"].shape == (2, 3)
    assert found.row_count == 1


@pytest.mark.parametrize("named", ["transform_graph/5", "transform_graph/5/transformed_metadata"])
def test_the_folder_of_a_schema_may_be_named(tmp_path: Path, named: str) -> None:
    folder = transform(tmp_path)
    rows = folder / "transformed_examples" / "5" / "Split-eval" / "*.gz"
    assert open_samples(SamplesSpec(path=str(rows), schema_file=str(folder / named))).columns["image"].shape == (2, 3)
    with pytest.raises(SamplesError, match="cannot be read"):
        open_samples(SamplesSpec(path=str(rows), schema_file=str(folder)))
