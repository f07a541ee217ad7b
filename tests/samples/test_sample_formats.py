"""Arrow IPC, TFRecord, encoded images, and samples of the rows: what was written comes back, in every process the same."""

from __future__ import annotations

import gzip
import io
import itertools
import pickle
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from liteferry.config.job import Decoding, SamplesSpec
from liteferry.plan import bound_rows
from liteferry.samples.batches import read_batches
from liteferry.samples.binding import bind, columns_as_inputs
from liteferry.samples.opening import open_samples
from liteferry.samples.sample_set import Batch
from liteferry.types import SampleColumn
from tests.samples.test_samples import (
    CUBES,
    EMPTY,
    MISMATCH,
    MISSING,
    failure,
    nested,
    read_all,
    read_column,
    signature,
    write_parquet,
)

Features = Mapping[str, Sequence[Any]]


def rows_of(batches: Sequence[Batch], name: str = "x") -> list[Any]:
    return [row for batch in batches for row in batch.inputs[name].tolist()]


def ids_of(batches: Sequence[Batch]) -> list[str]:
    return [name for batch in batches for name in batch.ids]


class TestArrowIpc:
    @staticmethod
    def write(path: Path, batch_rows: int | None = None, /, compression: str | None = None, **columns: Any) -> Path:
        table = pa.table(columns)
        create = pa.ipc.new_stream if "stream" in path.name else pa.ipc.new_file
        with create(path, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(table, max_chunksize=batch_rows)
        return path

    @pytest.mark.parametrize("name", ["file.arrow", "stream.arrow", "stream.arrows", "file.feather", "file.ipc"])
    @pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
    def test_columns_come_back_as_written(self, tmp_path: Path, name: str, compression: str | None) -> None:
        cubes = nested(CUBES, 2, 3, 4)
        path = self.write(tmp_path / name, 3, compression=compression, image=cubes, other=pa.array(range(10)))
        np.testing.assert_array_equal(read_column(path, "image", (2, 3, 4), "float32"), CUBES)
        assert read_column(path, "other", (), "int64").tolist() == list(range(10))

    def test_text_and_dictionaries(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "file.arrow", 2, x=pa.array(["a", "ü", "", "a"]).dictionary_encode())
        assert read_column(path, "x", (), "string").tolist() == [b"a", "ü".encode(), b"", b"a"]

    @pytest.mark.parametrize("name", ["file.arrow", "stream.arrow"])
    def test_big_files_are_cut_at_record_batches(self, tmp_path: Path, name: str) -> None:
        path = self.write(tmp_path / name, 30_000, x=np.arange(150_000))
        sample_set = open_samples(SamplesSpec(path=str(path)))
        assert [shard.row_count for shard in sample_set.shards] == [60_000, 60_000, 30_000]
        binding = bind(sample_set, SamplesSpec(path=str(path)), signature(x=((), "int64")), samples_name="rows")
        for shard in sample_set.shards:
            read = np.concatenate([batch.inputs["x"] for batch in read_batches(shard, binding, 4096)])
            np.testing.assert_array_equal(read, np.arange(shard.first_row, shard.first_row + shard.row_count))

    def test_a_null_is_named_by_file_column_and_row(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "file.arrow", 2, x=pa.array([1.0, 2.0, None]))
        assert failure(MISMATCH, read_column, path, "x", (), "float64").startswith(f"{path}: column 'x', row 2: is null")

    @pytest.mark.parametrize("name", ["file.arrow", "stream.arrow"])
    @pytest.mark.parametrize("damage", ["empty", "half", "text"])
    def test_damage_is_named_by_file(self, tmp_path: Path, name: str, damage: str) -> None:
        content = self.write(tmp_path / name, 100, x=np.arange(1000)).read_bytes()
        (tmp_path / name).write_bytes({"empty": b"", "half": content[: len(content) // 2], "text": b"no Arrow at all"}[damage])
        message = failure(MISMATCH, read_column, tmp_path / name, "x", (), "int64")
        assert message.startswith(f"{tmp_path / name}: cannot be read as .arrow: ")


def example(**features: Sequence[Any] | None) -> bytes:
    """A serialized tf.Example; None is a feature without a kind."""
    import tensorflow as tf

    made = {}
    for name, values in features.items():
        kind = None if values is None else np.asarray(values).dtype.kind if len(values) else "f"
        if kind is None:
            made[name] = tf.train.Feature()
        elif kind == "i":
            made[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        elif kind == "f":
            made[name] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
        else:
            made[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    return bytes(tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString())


def write_tfrecord(path: Path, records: Sequence[bytes]) -> Path:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path), "GZIP" if path.name.endswith(".gz") else "") as writer:
        for record in records:
            writer.write(record)
    return path


SCHEMA = """
feature { name: "image" type: FLOAT shape { dim { size: 2 } dim { size: 3 } } }
feature { name: "count" type: INT shape {} }
feature { name: "words" type: BYTES }
"""


class TestTfRecord:
    @pytest.mark.parametrize(
        "name", ["x.tfrecord", "x.tfrecord.gz", "data_tfrecord-00000-of-00001.gz", "x.tfrecord-00000-of-00001"]
    )
    def test_features_come_back_as_written(self, tmp_path: Path, name: str) -> None:
        examples = [example(x=[row, row + 0.5], n=[row], s=[b"row %d" % row]) for row in range(10)]
        path = write_tfrecord(tmp_path / name, examples)
        columns = open_samples(SamplesSpec(path=str(path))).columns
        assert {column: (spec.dtype, spec.shape) for column, spec in columns.items()} == {
            "n": ("int64", ()),
            "s": ("string", ()),
            "x": ("float32", (2,)),
        }
        np.testing.assert_array_equal(
            read_column(path, "x", (2,), "float32"), np.arange(10)[:, None] + np.array([0, 0.5], np.float32)
        )
        assert read_column(path, "n", (), "int32").tolist() == list(range(10))
        assert read_column(path, "s", (), "string").tolist() == [b"row %d" % row for row in range(10)]

    def test_the_rows_are_those_of_tfxio(self, tmp_path: Path) -> None:
        """In a process of its own: tfxio imports Beam."""
        random = np.random.default_rng(0)
        path = write_tfrecord(
            tmp_path / "x.tfrecord.gz",
            [example(x=random.normal(size=6).tolist(), n=[int(random.integers(9))]) for _ in range(50)],
        )
        (tmp_path / "schema.pbtxt").write_text(
            'feature { name: "x" type: FLOAT shape { dim { size: 2 } dim { size: 3 } } presence { min_fraction: 1 } }'
            'feature { name: "n" type: INT shape {} presence { min_fraction: 1 } }'
        )
        code = f"""
import numpy as np
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.tfxio.dataset_options import RecordBatchesOptions
from tfx_bsl.tfxio.tf_example_record import TFExampleRecord
schema = text_format.Parse(open({str(tmp_path / "schema.pbtxt")!r}).read(), schema_pb2.Schema())
tfxio = TFExampleRecord(file_pattern={str(path)!r}, schema=schema, telemetry_descriptors=["test"])
options = RecordBatchesOptions(batch_size=7, drop_final_batch=False, num_epochs=1, shuffle=False)
batches = [tfxio.TensorAdapter().ToBatchTensors(batch) for batch in tfxio.RecordBatches(options)]
np.savez({str(tmp_path / "tfxio.npz")!r}, **{{name: np.concatenate([batch[name] for batch in batches]) for name in ("x", "n")}})
"""
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        spec = SamplesSpec(path=str(path), schema_file=str(tmp_path / "schema.pbtxt"))
        batches = read_all(spec, signature(x=((2, 3), "float32"), n=((), "int64")))
        with np.load(tmp_path / "tfxio.npz") as expected:
            for name in ("x", "n"):
                np.testing.assert_array_equal(np.concatenate([batch.inputs[name] for batch in batches]), expected[name].squeeze())

    def test_a_schema_says_shapes(self, tmp_path: Path) -> None:
        (tmp_path / "schema.pbtxt").write_text(SCHEMA)
        path = write_tfrecord(tmp_path / "x.tfrecord", [example(image=[0.0, 1, 2, 3, 4, 5], count=[7], words=[b"a", b"b"])])
        spec = SamplesSpec(path=str(path), schema_file=str(tmp_path / "schema.pbtxt"))
        columns = open_samples(spec).columns
        assert {name: column.shape for name, column in columns.items()} == {"image": (2, 3), "count": (), "words": (None,)}
        (batch,) = read_all(spec, signature(image=((2, 3), "float32"), count=((1,), "int64"), words=((None,), "string")))
        assert batch.inputs["image"].tolist() == [[[0, 1, 2], [3, 4, 5]]]
        assert batch.inputs["count"].tolist() == [[7]]
        assert batch.inputs["words"].tolist() == [[b"a", b"b"]]

    def test_without_a_schema_the_input_gives_lists_their_shape(self, tmp_path: Path) -> None:
        path = write_tfrecord(tmp_path / "x.tfrecord", [example(x=row.ravel().tolist()) for row in CUBES])
        np.testing.assert_array_equal(read_column(path, "x", (2, 3, 4), "float32"), CUBES)
        assert "takes (batch, 2, 3, 5) float32, column 'x' holds (batch, 24) float32" in failure(
            MISMATCH, read_column, path, "x", (2, 3, 5), "float32"
        )

    @pytest.mark.parametrize(
        ("examples", "shape", "complaint"),
        [
            ([{"x": [1.0, 2]}, {"y": [1.0]}], (2,), "column 'x', row 1: this tf.Example has no such feature"),
            ([{"x": [1.0, 2]}, {"x": None}], (2,), "column 'x', row 1: this tf.Example has no such feature"),
            (
                [{"x": [1.0, 2]}, {"x": [1.0, 2, 3]}],
                (2,),
                "column 'x', row 1: has shape (3,), input 'x' takes (batch, 2)",
            ),
            ([{"x": [1.0, 2]}, {"x": []}], (2,), "column 'x', row 1: has shape (0,), input 'x' takes (batch, 2)"),
            ([{"x": [1.0] * 24}, {"x": [1.0] * 23}], (2, 3, 4), "column 'x', row 1: has shape (23,)"),
        ],
        ids=["missing", "without a kind", "ragged", "without a value", "ragged, flat"],
    )
    def test_ragged_and_missing_features_are_named(
        self, tmp_path: Path, examples: Sequence[dict[str, Any]], shape: tuple[int, ...], complaint: str
    ) -> None:
        path = write_tfrecord(tmp_path / "x.tfrecord", [example(**features) for features in examples])
        message = failure(MISMATCH, read_column, path, "x", shape, "float32")
        assert message.startswith(f"{path}: {complaint}"), message

    def test_a_schema_is_held_to(self, tmp_path: Path) -> None:
        (tmp_path / "schema.pbtxt").write_text(SCHEMA)
        path = write_tfrecord(tmp_path / "x.tfrecord", [example(image=[0.0] * 6, count=[7]), example(image=[0.0] * 5, count=[7])])
        spec = SamplesSpec(path=str(path), schema_file=str(tmp_path / "schema.pbtxt"))
        message = failure(MISMATCH, read_all, spec, signature(image=((2, 3), "float32")))
        assert message.startswith(f"{path}: column 'image', row 1: has 5 values where 6 are expected")

    def test_a_feature_of_two_types_is_an_error(self, tmp_path: Path) -> None:
        path = write_tfrecord(tmp_path / "x.tfrecord", [example(x=[1.0]), example(x=[1])])
        assert "Feature had wrong type" in failure(MISMATCH, open_samples, SamplesSpec(path=str(path)))

    def test_rows_of_any_length_where_the_model_takes_them(self, tmp_path: Path) -> None:
        rows = [[1.0], [1.0, 2], [3.0, 4], [5.0]]
        path = write_tfrecord(tmp_path / "x.tfrecord", [example(x=row) for row in rows])
        assert rows_of(read_all(SamplesSpec(path=str(path)), signature(x=((None,), "float32")))) == rows

    @pytest.mark.parametrize("suffix", ["", ".gz"])
    @pytest.mark.parametrize("damage", ["half", "length", "content", "text"])
    def test_damage_is_named_by_file(self, tmp_path: Path, suffix: str, damage: str) -> None:
        path = tmp_path / f"x.tfrecord{suffix}"
        content = write_tfrecord(tmp_path / "x.tfrecord", [example(x=[float(row)]) for row in range(99)]).read_bytes()
        damaged = {
            "half": content[:1000],
            "length": b"\xff" + content[1:],
            "content": content[:-6] + b"\xff" + content[-5:],
            "text": b"no record, but some text",
        }[damage]
        path.write_bytes(gzip.compress(damaged) if suffix else damaged)
        message = failure(MISMATCH, read_column, path, "x", (), "float32")
        assert message.startswith(f"{path}: cannot be read as .tfrecord: record ")

    def test_a_gzip_file_cut_short(self, tmp_path: Path) -> None:
        path = write_tfrecord(tmp_path / "x.tfrecord.gz", [example(x=np.random.default_rng(0).normal(size=999).tolist())])
        path.write_bytes(path.read_bytes()[:1000])
        assert failure(MISMATCH, open_samples, SamplesSpec(path=str(path))).startswith(f"{path}: cannot be read as .tfrecord: ")

    def test_files_without_records(self, tmp_path: Path) -> None:
        path = write_tfrecord(tmp_path / "x.tfrecord", [])
        assert "no tf.Example in it has a feature" in failure(MISMATCH, open_samples, SamplesSpec(path=str(path)))
        (tmp_path / "schema.pbtxt").write_text(SCHEMA)
        failure(EMPTY, open_samples, SamplesSpec(path=str(path), schema_file=str(tmp_path / "schema.pbtxt")))

    def test_big_files_are_cut(self, tmp_path: Path) -> None:
        path = write_tfrecord(tmp_path / "x.tfrecord", [example(x=[row]) for row in range(70_000)])
        sample_set = open_samples(SamplesSpec(path=str(path)))
        assert [shard.row_count for shard in sample_set.shards] == [65_536, 4_464]
        assert read_column(path, "x", (), "int64").tolist() == list(range(70_000))

    def test_shards_may_hold_lists_of_different_lengths(self, tmp_path: Path) -> None:
        for number, length in enumerate((2, 3)):
            write_tfrecord(tmp_path / f"x-{number}.tfrecord", [example(x=[1.0] * length)])
        batches = read_all(SamplesSpec(path=str(tmp_path / "*.tfrecord")), signature(x=((None,), "float32")))
        assert [len(row) for row in rows_of(batches)] == [2, 3]

    @pytest.mark.parametrize(
        ("schema", "code", "complaint"),
        [(None, MISSING, "cannot be read"), ("feature { nme: }", MISMATCH, "is not a TensorFlow Metadata schema")],
        ids=["missing", "no schema"],
    )
    def test_schemas_that_cannot_be_used(self, tmp_path: Path, schema: str | None, code: Any, complaint: str) -> None:
        path = write_tfrecord(tmp_path / "x.tfrecord", [example(x=[1.0])])
        if schema is not None:
            (tmp_path / "schema.pbtxt").write_text(schema)
        spec = SamplesSpec(path=str(path), schema_file=str(tmp_path / "schema.pbtxt"))
        assert failure(code, open_samples, spec).startswith(f"{tmp_path}/schema.pbtxt: {complaint}")

    def test_a_schema_is_part_of_what_the_samples_are(self, tmp_path: Path) -> None:
        path = write_tfrecord(tmp_path / "x.tfrecord", [example(image=[1.0])])
        (tmp_path / "schema.pbtxt").write_text(SCHEMA)
        spec = SamplesSpec(path=str(path), schema_file=str(tmp_path / "schema.pbtxt"))
        before = open_samples(spec).digest
        (tmp_path / "schema.pbtxt").write_text(SCHEMA.replace("2", "3"))
        assert open_samples(spec).digest != before

    def test_a_schema_for_other_files_is_refused(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "x.parquet", x=[1.0])
        assert "schema_file is for TFRecord files" in failure(
            MISMATCH, open_samples, SamplesSpec(path=str(path), schema_file="schema.pbtxt")
        )


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3), np.uint8)


class TestImages:
    @pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.tfrecord"])
    def test_png_in_every_format(self, tmp_path: Path, name: str) -> None:
        content = [encoded(image) for image in PIXELS]
        if name == "x.parquet":
            path = write_parquet(tmp_path / name, x=pa.array(content))
        elif name == "x.arrow":
            path = TestArrowIpc.write(tmp_path / name, x=pa.array(content))
        else:
            path = write_tfrecord(tmp_path / name, [example(x=[image]) for image in content])
        batches = read_all(SamplesSpec(path=str(path), decode=Decoding.IMAGE), signature(x=((6, 8, 3), "float32")))
        np.testing.assert_array_equal(np.concatenate([batch.inputs["x"] for batch in batches]), PIXELS.astype(np.float32))

    def read(self, tmp_path: Path, images: Sequence[bytes], model: Any, **keys: Any) -> list[Batch]:
        path = write_parquet(tmp_path / "x.parquet", x=pa.array(images, pa.binary()))
        return read_all(SamplesSpec(path=str(path), decode=Decoding.IMAGE, **keys), model)

    @pytest.mark.parametrize(
        ("shape", "mode"), [((6, 8, 3), "RGB"), ((6, 8, 1), "L"), ((6, 8), "L"), ((6, 8, 4), "RGBA"), ((6, 8, None), "RGB")]
    )
    def test_channels_are_the_inputs(self, tmp_path: Path, shape: tuple[int | None, ...], mode: str) -> None:
        (batch,) = self.read(tmp_path, [encoded(PIXELS[0])], signature(x=(shape, "uint8")))
        expected = np.asarray(Image.fromarray(PIXELS[0]).convert(mode))
        np.testing.assert_array_equal(batch.inputs["x"].squeeze(), expected)

    def test_resizing_is_pillows_bilinear(self, tmp_path: Path) -> None:
        (batch,) = self.read(tmp_path, [encoded(PIXELS[0])], signature(x=((3, 5, 3), "float32")), size=(3, 5))
        expected = np.asarray(Image.fromarray(PIXELS[0]).resize((5, 3), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(batch.inputs["x"][0], expected)

    def test_an_image_of_the_size_is_not_touched(self, tmp_path: Path) -> None:
        (batch,) = self.read(tmp_path, [encoded(PIXELS[0])], signature(x=((6, 8, 3), "uint8")), size=(6, 8))
        np.testing.assert_array_equal(batch.inputs["x"][0], PIXELS[0])

    def test_jpeg_is_what_tensorflow_decodes(self, tmp_path: Path) -> None:
        import tensorflow as tf

        smooth = np.asarray(Image.fromarray(PIXELS[0]).resize((64, 48), Image.Resampling.BICUBIC))
        content = encoded(smooth, "JPEG")
        (batch,) = self.read(tmp_path, [content], signature(x=((48, 64, 3), "uint8")))
        expected = tf.io.decode_jpeg(content, dct_method="INTEGER_ACCURATE").numpy()
        assert np.abs(batch.inputs["x"][0].astype(int) - expected).max() <= 1

    def test_scale_and_offset(self, tmp_path: Path) -> None:
        (batch,) = self.read(tmp_path, [encoded(PIXELS[0])], signature(x=((6, 8, 3), "float32")), scale=1 / 127.5, offset=-1)
        np.testing.assert_array_equal(batch.inputs["x"][0], PIXELS[0] * np.float32(1 / 127.5) - np.float32(1))
        assert "never turned into uint8" in failure(
            MISMATCH, self.read, tmp_path, [encoded(PIXELS[0])], signature(x=((6, 8, 3), "uint8")), scale=2.0
        )

    def test_without_a_size_each_image_keeps_its_own(self, tmp_path: Path) -> None:
        images = [PIXELS[0], PIXELS[1], PIXELS[2, :4], PIXELS[3]]
        batches = self.read(tmp_path, [encoded(image) for image in images], signature(x=((None, None, 3), "uint8")))
        assert [batch.inputs["x"].shape for batch in batches] == [(2, 6, 8, 3), (1, 4, 8, 3), (1, 6, 8, 3)]
        assert ids_of(batches) == ["0", "1", "2", "3"]
        message = failure(MISMATCH, self.read, tmp_path, [encoded(image) for image in images], signature(x=((6, 8, 3), "uint8")))
        assert "column 'x', row 2: has shape (4, 8, 3), input 'x' takes (batch, 6, 8, 3) uint8" in message

    def test_text_inputs_and_labels_are_not_decoded(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "x.parquet", x=pa.array([encoded(PIXELS[0])]), y=pa.array([b"text"]), label=["cat"])
        spec = SamplesSpec(path=str(path), decode=Decoding.IMAGE, label="label")
        (batch,) = read_all(spec, signature(x=((6, 8, 3), "uint8"), y=((), "string")))
        assert batch.inputs["y"].tolist() == [b"text"]
        assert batch.label is not None and batch.label.tolist() == [b"cat"]

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (b"no image", "cannot identify image file"),
            (encoded(PIXELS[0])[:100], ""),
            (encoded(PIXELS[0, ..., 0].astype(np.uint16) * 200), "more than 8 bits a channel"),
            (b"", "cannot identify image file"),
        ],
        ids=["text", "half", "16 bits", "empty"],
    )
    def test_what_is_no_image_is_named_by_file_column_and_row(self, tmp_path: Path, content: bytes, complaint: str) -> None:
        images = [encoded(PIXELS[0]), content]
        message = failure(MISMATCH, self.read, tmp_path, images, signature(x=((6, 8, 3), "uint8")))
        assert message.startswith(f"{tmp_path}/x.parquet: column 'x', row 1: cannot be decoded as an image: ")
        assert complaint in message

    def test_inputs_that_images_cannot_feed(self, tmp_path: Path) -> None:
        both = failure(MISMATCH, self.read, tmp_path, [encoded(PIXELS[0])], signature(x=((6,), "float32")))
        assert "images are decoded from one value a row for inputs (batch, height, width, channels)" in both
        shape = failure(MISMATCH, self.read, tmp_path, [encoded(PIXELS[0])], signature(x=((6, 8, 3), "float32")), size=(5, 8))
        assert "takes (batch, 6, 8, 3) float32, column 'x' holds (batch, 5, 8, 3) uint8" in shape

    def test_a_model_without_a_signature_gets_images_of_the_size(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "x.parquet", x=pa.array([encoded(PIXELS[0])]), y=[1], w=[2.0])
        spec = SamplesSpec(path=str(path), decode=Decoding.IMAGE, size=(6, 8), labels={"scores": "y"}, example_weight="w")
        column = SampleColumn(name="x", shape=(None, 6, 8, 3), dtype="float32", is_mapped=False)
        assert columns_as_inputs(open_samples(spec), spec) == (column,)

    def test_without_decode_the_way_out_is_named(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "x.parquet", x=pa.array([encoded(PIXELS[0])]))
        message = failure(MISMATCH, read_all, SamplesSpec(path=str(path)), signature(x=((6, 8, 3), "uint8")))
        assert "or say samples.rows.decode: image if it holds encoded images" in message


class TestTake:
    @staticmethod
    def write(folder: Path, rows: int, files: int, row_group_size: int = 100) -> str:
        for number, part in enumerate(np.array_split(np.arange(rows), files)):
            pq.write_table(pa.table({"x": part}), folder / f"{number:02}.parquet", row_group_size=row_group_size)
        return str(folder / "*.parquet")

    def taken(self, path: str, batch_size: int = 64, **keys: Any) -> list[Batch]:
        return read_all(SamplesSpec(path=path, **keys), signature(x=((), "int64")), batch_size=batch_size)

    @pytest.mark.parametrize(
        ("keys", "count"),
        [
            ({"take": 1}, 1),
            ({"take": 77}, 77),
            ({"take": 1000}, 1000),
            ({"take": 5000}, 1000),
            ({"fraction": 0.1}, 100),
            ({"fraction": 0.0001}, 1),
            ({"fraction": 1.0}, 1000),
        ],
    )
    def test_so_many_rows_named_and_numbered_as_in_the_whole_set(self, tmp_path: Path, keys: dict[str, Any], count: int) -> None:
        path = self.write(tmp_path, 1000, 3)
        batches = self.taken(path, **keys)
        rows = rows_of(batches)
        assert len(rows) == len(set(rows)) == count == open_samples(SamplesSpec(path=path, **keys)).row_count
        assert rows == sorted(rows)
        assert ids_of(batches) == [str(row) for row in rows]
        numbers = [
            number
            for batch in batches
            for number in (
                range(batch.first_row, batch.first_row + len(batch.ids)) if batch.rows is None else batch.rows.tolist()
            )
        ]
        assert numbers == rows

    @given(
        cuts=st.integers(1, 7),
        row_group_size=st.integers(5, 60),
        batch_size=st.integers(1, 40),
        take=st.integers(1, 200),
        seed=st.integers(0, 5),
    )
    def test_no_cut_changes_which_rows(
        self, tmp_path_factory: pytest.TempPathFactory, cuts: int, row_group_size: int, batch_size: int, take: int, seed: int
    ) -> None:
        folder = tmp_path_factory.mktemp("take")
        whole = self.write(folder, 200, 1)
        (folder / "cut").mkdir()
        parts = self.write(folder / "cut", 200, cuts, row_group_size)
        batches = self.taken(parts, batch_size=batch_size, take=take, seed=seed)
        assert rows_of(batches) == rows_of(self.taken(whole, take=take, seed=seed))
        assert all(len(batch.ids) <= batch_size for batch in batches)

    def test_the_rows_are_these_for_ever(self, tmp_path: Path) -> None:
        """Reports of other versions and other machines are on the same rows."""
        assert rows_of(self.taken(self.write(tmp_path, 1000, 2), take=8)) == EIGHT_OF_A_THOUSAND

    def test_seeds_choose_other_rows(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, 1000, 1)
        chosen = [rows_of(self.taken(path, take=50, seed=seed)) for seed in range(3)]
        assert all(one != other for one, other in itertools.combinations(chosen, 2))

    def test_rows_are_spread_evenly(self, tmp_path: Path) -> None:
        rows = np.array(rows_of(self.taken(self.write(tmp_path, 10_000, 1), take=2000)))
        counts = np.histogram(rows, bins=10, range=(0, 10_000))[0]
        assert counts.min() > 150 and counts.max() < 250

    def test_a_few_rows_of_many_files_are_one_shard(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, 1000, 20)
        (shard,) = open_samples(SamplesSpec(path=path, take=30)).shards
        assert shard.taken() == 30
        assert pickle.loads(pickle.dumps(shard)) == shard

    def test_only_chosen_images_are_decoded(self, tmp_path: Path) -> None:
        images = [b"no image"] * 50
        (row,) = rows_of(self.taken(self.write(tmp_path, 50, 1), take=1))
        images[row] = encoded(PIXELS[0])
        path = write_parquet(tmp_path / "images", x=pa.array(images)).rename(tmp_path / "images.parquet")
        (batch,) = read_all(SamplesSpec(path=str(path), decode=Decoding.IMAGE, take=1), signature(x=((6, 8, 3), "uint8")))
        assert batch.ids == (str(row),)

    def test_rows_of_any_shape(self, tmp_path: Path) -> None:
        rows = [[float(row)] * (row % 4) for row in range(60)]
        path = write_parquet(tmp_path / "x.parquet", x=pa.array(rows, pa.list_(pa.float32())))
        batches = read_all(SamplesSpec(path=str(path), take=20), signature(x=((None,), "float32")), batch_size=7)
        assert rows_of(batches) == [rows[int(name)] for name in ids_of(batches)]


EIGHT_OF_A_THOUSAND = [11, 196, 269, 403, 600, 850, 855, 921]


def test_reading_needs_no_tensorflow_beam_or_keras(tmp_path: Path) -> None:
    path = write_tfrecord(tmp_path / "x.tfrecord", [example(x=[encoded(PIXELS[0])])])
    code = f"""
import sys
from liteferry.config.job import SamplesSpec
from liteferry.samples.binding import bind
from liteferry.samples.batches import read_batches
from liteferry.samples.opening import open_samples
from liteferry.types import Signature, TensorSpec
spec = SamplesSpec(path={str(path)!r}, decode="image")
found = open_samples(spec)
model = Signature(inputs=(TensorSpec(name="x", shape=(None, 6, 8, 3), dtype="float32"),), outputs=())
print([batch.inputs["x"].shape for batch in read_batches(found.shards[0], bind(found, spec, model, samples_name="rows"), 4)])
print([name for name in ("tensorflow", "apache_beam", "keras", "tf_keras") if name in sys.modules])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["[(1, 6, 8, 3)]", "[]"]


def test_a_small_shard_is_read_once_by_a_process_for_all_models(tmp_path: Path) -> None:
    """The file is gone when the second model asks, and damaged for a third with other rows."""
    content = [encoded(image) for image in PIXELS]
    path = write_parquet(tmp_path / "x.parquet", x=pa.array(content))
    spec = SamplesSpec(path=str(path), decode=Decoding.IMAGE)
    plan = plan_of(spec)
    binding = bind(plan.samples.sample_set, spec, signature(x=((6, 8, 3), "uint8")), samples_name="rows")
    next(bound_rows.batches(plan, binding, shard_index=0))  # not to the end: nothing to remember yet
    first = list(bound_rows.batches(plan, binding, shard_index=0))
    path.unlink()
    again = list(bound_rows.batches(plan_of(spec, plan), binding, shard_index=0))
    assert [batch.ids for batch in again] == [batch.ids for batch in first]
    np.testing.assert_array_equal(again[0].inputs["x"], first[0].inputs["x"])
    grey = bind(plan.samples.sample_set, spec, signature(x=((6, 8, 1), "uint8")), samples_name="rows")
    failure(MISSING, list, bound_rows.batches(plan, grey, shard_index=0))


def plan_of(spec: SamplesSpec, other: Any = None) -> Any:
    """As much of a plan as reading needs; a new one with equal samples for `other`."""
    found = open_samples(spec) if other is None else pickle.loads(pickle.dumps(other.samples.sample_set))
    return types.SimpleNamespace(samples=types.SimpleNamespace(sample_set=found, spec=spec, name="rows"), batch_size=4)
