"""Sample files -> batches: every layout comes back as it was written; what does not fit is an error that says what and where."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liteferry.config.job import SamplesSpec
from liteferry.errors import ReasonCode, SamplesError
from liteferry.samples import sample_set
from liteferry.samples.batches import read_batches
from liteferry.samples.binding import Binding, BoundInput, bind
from liteferry.samples.formats.registry import FORMATS
from liteferry.samples.formats.rows import ColumnSpec
from liteferry.samples.opening import open_samples
from liteferry.samples.sample_set import Batch, SampleSet
from liteferry.types import Signature, TensorSpec

MISSING, MISMATCH, EMPTY = ReasonCode.SAMPLES_MISSING, ReasonCode.SAMPLES_MISMATCH, ReasonCode.SAMPLES_EMPTY
Shape = tuple[int | None, ...]


def signature(**inputs: tuple[Shape, str]) -> Signature:
    """Input name -> (shape of one row, dtype)."""
    specs = (TensorSpec(name=name, shape=(None, *shape), dtype=dtype) for name, (shape, dtype) in inputs.items())
    return Signature(inputs=tuple(specs), outputs=())


def write_npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def write_parquet(path: Path, row_group_size: int | None = None, /, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return path


def read_all(spec: SamplesSpec, model: Signature, *, batch_size: int = 4) -> list[Batch]:
    sample_set = open_samples(spec)
    binding = bind(sample_set, spec, model, samples_name="rows")
    return [batch for shard in sample_set.shards for batch in read_batches(shard, binding, batch_size)]


def read_column(path: Path, column: str, shape: Shape, dtype: str) -> np.ndarray:
    """All rows of a column whose rows share a shape, by way of a model with one input."""
    batches = read_all(SamplesSpec(path=str(path), inputs={"x": column}), signature(x=(shape, dtype)))
    return np.concatenate([batch.inputs["x"] for batch in batches])


def failure(code: ReasonCode, call: Any, *arguments: Any, **keywords: Any) -> str:
    with pytest.raises(SamplesError) as caught:
        call(*arguments, **keywords)
    assert caught.value.reason.code is code
    return caught.value.reason.message


def tensors(count: int = 10, *shape: int, dtype: str = "float32") -> np.ndarray:
    return np.arange(count * int(np.prod(shape)), dtype=dtype).reshape(count, *shape)


CUBES = tensors(10, 2, 3, 4)


def nested(array: np.ndarray, *sizes: int | None, leaf: pa.DataType | None = None) -> pa.Array:
    """Rows as lists of lists: a size makes that level a fixed-size list, None a plain one."""
    arrow_type = leaf or pa.float32()
    for size in reversed(sizes):
        arrow_type = pa.list_(arrow_type) if size is None else pa.list_(arrow_type, size)
    return pa.array(array.tolist(), arrow_type)


def permuted_tensors(array: np.ndarray) -> pa.Array:
    """(rows, 2, 3, 4) stored with its axes in the order 3, 2, 4."""
    stored = np.ascontiguousarray(array.transpose(0, 2, 1, 3))
    arrow_type = pa.fixed_shape_tensor(pa.float32(), [3, 2, 4], permutation=[1, 0, 2])
    return pa.ExtensionArray.from_storage(arrow_type, pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), 24))


class TestParquetLayouts:
    @pytest.mark.parametrize(
        ("column", "shape"),
        [
            pytest.param(pa.FixedShapeTensorArray.from_numpy_ndarray(CUBES), (2, 3, 4), id="tensor extension"),
            pytest.param(permuted_tensors(CUBES), (2, 3, 4), id="tensor extension, axes permuted"),
            pytest.param(nested(CUBES, 2, 3, 4), (2, 3, 4), id="fixed-size lists"),
            pytest.param(nested(CUBES, None, None, None), (None, None, None), id="lists"),
            pytest.param(nested(CUBES, None, 3, None), (None, 3, None), id="lists of both kinds"),
            pytest.param(
                nested(CUBES, 2, 3, 4).cast(pa.large_list(pa.list_(pa.list_(pa.float32(), 4), 3))), (None, 3, 4), id="large"
            ),
        ],
    )
    @pytest.mark.parametrize("row_group_size", [None, 3])
    def test_tensors_come_back_as_written(
        self, tmp_path: Path, column: pa.Array, shape: Shape, row_group_size: int | None
    ) -> None:
        path = write_parquet(tmp_path / "x.parquet", row_group_size, image=column, other=pa.array(range(10)))
        assert open_samples(SamplesSpec(path=str(path))).columns["image"] == ColumnSpec(dtype="float32", shape=shape)
        np.testing.assert_array_equal(read_column(path, "image", (2, 3, 4), "float32"), CUBES)

    @pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64", "uint64", "float16", "float32", "float64"])
    def test_scalars(self, tmp_path: Path, dtype: str) -> None:
        values = np.array([0, 1, 1, 0, 1], dtype)
        path = write_parquet(tmp_path / "x.parquet", x=values)
        rows = read_column(path, "x", (), dtype)
        assert rows.dtype == dtype
        np.testing.assert_array_equal(rows, values)

    @pytest.mark.parametrize(
        "column",
        [
            pa.array(["a", "ü", ""]),
            pa.array(["a", "ü", ""], pa.large_string()),
            pa.array([b"a", "ü".encode(), b""]),
            pa.array(["a", "ü", ""]).dictionary_encode(),
        ],
        ids=["string", "large string", "binary", "dictionary"],
    )
    def test_text_and_bytes_are_object_arrays_of_bytes(self, tmp_path: Path, column: pa.Array) -> None:
        rows = read_column(write_parquet(tmp_path / "x.parquet", x=column), "x", (), "string")
        assert rows.dtype == object
        assert rows.tolist() == [b"a", "ü".encode(), b""]

    def test_lists_of_text(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "x.parquet", x=pa.array([["a", "b"], ["c", "d"]]))
        assert read_column(path, "x", (2,), "string").tolist() == [[b"a", b"b"], [b"c", b"d"]]

    def test_booleans_keep_their_place_in_slices(self, tmp_path: Path) -> None:
        values = np.arange(30) % 3 == 0
        path = write_parquet(tmp_path / "x.parquet", 7, x=values)
        np.testing.assert_array_equal(read_column(path, "x", (), "bool"), values)

    def test_columns_that_no_model_takes_do_no_harm(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "x.parquet", x=[1.0], s=pa.array([{"a": 1}]), t=pa.array([1], pa.timestamp("us")))
        assert read_column(path, "x", (), "float64").tolist() == [1.0]


class TestNpzLayouts:
    @pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", ">f4"])
    @pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
    def test_arrays_come_back_as_written(self, tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
        values = (np.arange(10 * int(np.prod(shape))) % 2).reshape(10, *shape).astype(dtype)
        rows = read_column(write_npz(tmp_path / "x.npz", x=values), "x", shape, np.dtype(dtype).name)
        assert rows.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(rows, values)

    @pytest.mark.parametrize("values", [np.array(["a", "ü", ""]), np.array([b"a", "ü".encode(), b""])], ids=["U", "S"])
    def test_text_and_bytes(self, tmp_path: Path, values: np.ndarray) -> None:
        assert read_column(write_npz(tmp_path / "x.npz", x=values), "x", (), "string").tolist() == [b"a", "ü".encode(), b""]

    def test_fortran_order_and_compression(self, tmp_path: Path) -> None:
        np.savez_compressed(tmp_path / "x.npz", x=np.asfortranarray(CUBES))
        (batch, *_) = read_all(SamplesSpec(path=str(tmp_path / "x.npz")), signature(x=((2, 3, 4), "float32")))
        assert batch.inputs["x"].flags.c_contiguous
        np.testing.assert_array_equal(batch.inputs["x"], CUBES[:4])


class TestOpening:
    def test_a_glob_is_shards_sorted_by_path_with_rows_counted_through(self, tmp_path: Path) -> None:
        for name, count in (("b", 2), ("a", 3), ("c", 0), ("d", 1)):
            write_npz(tmp_path / f"{name}.npz", x=np.zeros((count, 2)))
        sample_set = open_samples(SamplesSpec(path=str(tmp_path / "*.npz")))
        assert [(Path(shard.path).stem, shard.first_row, shard.row_count) for shard in sample_set.shards] == [
            ("a", 0, 3),
            ("b", 3, 2),
            ("d", 5, 1),
        ]
        assert sample_set.row_count == 6

    def test_formats_mix_when_their_columns_agree(self, tmp_path: Path) -> None:
        write_npz(tmp_path / "a.npz", x=np.array([1.0]))
        write_parquet(tmp_path / "b.parquet", x=[2.0])
        assert read_column(tmp_path / "*", "x", (), "float64").tolist() == [1.0, 2.0]

    @pytest.mark.parametrize(
        ("rows", "row_group_size", "sizes"),
        [
            (65_536, 10_000, [65_536]),
            (65_537, 10_000, [60_000, 5_537]),
            (150_000, 30_000, [60_000, 60_000, 30_000]),
            (140_000, 70_000, [70_000, 70_000]),
        ],
    )
    def test_big_parquet_files_are_cut_at_row_groups(
        self, tmp_path: Path, rows: int, row_group_size: int, sizes: list[int]
    ) -> None:
        path = write_parquet(tmp_path / "x.parquet", row_group_size, x=np.arange(rows))
        sample_set = open_samples(SamplesSpec(path=str(path)))
        assert [shard.row_count for shard in sample_set.shards] == sizes
        binding = bind(sample_set, SamplesSpec(path=str(path)), signature(x=((), "int64")), samples_name="rows")
        for shard in sample_set.shards:
            read = np.concatenate([batch.inputs["x"] for batch in read_batches(shard, binding, 4096)])
            np.testing.assert_array_equal(read, np.arange(shard.first_row, shard.first_row + shard.row_count))

    def test_a_name_with_glob_characters_is_found(self, tmp_path: Path) -> None:
        path = write_npz(tmp_path / "rows[1].npz", x=np.zeros(2))
        assert open_samples(SamplesSpec(path=str(path))).row_count == 2

    def test_a_file_uri_is_local(self, tmp_path: Path) -> None:
        path = write_npz(tmp_path / "x.npz", x=np.zeros(2))
        assert open_samples(SamplesSpec(path=f"file://{path}")).row_count == 2

    def test_records_are_frozen_and_picklable(self, tmp_path: Path) -> None:
        path = write_npz(tmp_path / "x.npz", x=np.zeros(2))
        sample_set = open_samples(SamplesSpec(path=str(path)))
        binding = bind(sample_set, SamplesSpec(path=str(path)), signature(x=((), "float64")), samples_name="rows")
        assert pickle.loads(pickle.dumps((sample_set, binding))) == (sample_set, binding)
        with pytest.raises(AttributeError):
            sample_set.row_count = 3  # type: ignore[misc]


class TestDigest:
    def test_it_is_sha256_over_contents_and_names(self, tmp_path: Path) -> None:
        path = write_npz(tmp_path / "x.npz", x=np.zeros(2))
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        expected = hashlib.sha256(f"sha256:{content} x.npz\n".encode()).hexdigest()
        assert open_samples(SamplesSpec(path=str(path))).digest == f"sha256:{expected}"

    def test_the_folder_does_not_matter(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        path = write_npz(tmp_path / "x.npz", x=np.zeros(2))
        copy = shutil.copy(path, tmp_path / "sub" / "x.npz")
        assert open_samples(SamplesSpec(path=str(path))).digest == open_samples(SamplesSpec(path=str(copy))).digest

    @pytest.mark.parametrize("change", ["name", "bytes"])
    def test_names_and_bytes_matter(self, tmp_path: Path, change: str) -> None:
        path = write_npz(tmp_path / "x.npz", x=np.zeros(2))
        other = write_npz(tmp_path / ("y.npz" if change == "name" else "z.npz"), x=np.zeros(2) + (change == "bytes"))
        before = open_samples(SamplesSpec(path=str(path))).digest
        if change == "bytes":
            other = other.rename(path)
        assert open_samples(SamplesSpec(path=str(other))).digest != before


class TestUnusableFiles:
    @pytest.mark.parametrize(
        ("path", "message"),
        [
            (
                "none.npz",
                "{}/none.npz: no such file; give a {formats} file, or a glob of them",
            ),
            (
                "*.parquet",
                "{}/*.parquet: no such file; give a {formats} file, or a glob of them",
            ),
            ("", "{}/: is a folder without samples; it has no files. Give {formats}, or a folder of images or .wav files"),
        ],
    )
    def test_missing(self, tmp_path: Path, path: str, message: str) -> None:
        assert failure(MISSING, open_samples, SamplesSpec(path=f"{tmp_path}/{path}")).replace("//", "/") == message.format(
            tmp_path, tmp_path, formats=FORMATS
        )

    @pytest.mark.parametrize("name", ["x.npz", "x.parquet"])
    @pytest.mark.parametrize("content", [b"", b"PAR1 no", b"PK\x03\x04 no", "half"], ids=["empty", "par1", "zip", "half"])
    def test_corrupt(self, tmp_path: Path, name: str, content: bytes | str) -> None:
        path = tmp_path / name
        whole = write_npz(path, x=np.zeros(99)) if name == "x.npz" else write_parquet(path, x=np.zeros(99))
        path.write_bytes(whole.read_bytes()[: path.stat().st_size // 2] if isinstance(content, str) else content)
        message = failure(MISMATCH, open_samples, SamplesSpec(path=str(path)))
        assert message.startswith(f"{path}: cannot be read as .{name[2:]}: ")

    @pytest.mark.parametrize("name", ["x.npz", "x.parquet"])
    def test_damage_that_only_reading_finds(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        if name == "x.npz":
            np.savez_compressed(path, x=np.random.default_rng(0).normal(size=1000))
        else:
            pq.write_table(pa.table({"x": np.random.default_rng(0).normal(size=1000)}), path, write_page_checksum=True)
        content = bytearray(path.read_bytes())
        content[1000:1200] = bytes(200)
        path.write_bytes(content)
        assert failure(MISMATCH, read_column, path, "x", (), "float64").startswith(f"{path}: cannot be read as")

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            (
                {"x": np.zeros((3, 2)), "y": np.zeros(4)},
                (
                    "array 'x' has 3 rows and array 'y' has 4; the first axis is the rows, and every array needs the same "
                    "number. Keep those that belong together: f = np.load(PATH); np.savez('rows.npz', x=f['x'])"
                ),
            ),
            (
                {"x": np.array([{}, None], object)},
                "array 'x' holds Python objects, which are never unpickled; save numbers or text",
            ),
            ({"x": np.float32(3)}, "array 'x' is a single value; its first axis must be the rows"),
            ({}, "holds no arrays; save one for each model input"),
        ],
        ids=["lengths", "objects", "no axis", "nothing"],
    )
    def test_npz(self, tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
        path = write_npz(tmp_path / "x.npz", **arrays)
        assert failure(MISMATCH, open_samples, SamplesSpec(path=str(path))) == f"{path}: {message}"

    def test_repeated_parquet_column(self, tmp_path: Path) -> None:
        path = tmp_path / "x.parquet"
        pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["x", "x"]), path)
        message = failure(MISMATCH, open_samples, SamplesSpec(path=str(path)))
        assert message == f"{path}: has several columns named 'x'; give every column its own name"

    def test_unknown_format(self, tmp_path: Path) -> None:
        (tmp_path / "x.rows").write_text("a,b")
        message = failure(MISMATCH, open_samples, SamplesSpec(path=str(tmp_path / "x.rows")))
        assert message == f"{tmp_path}/x.rows: .rows is not a sample format; use {FORMATS}"

    @pytest.mark.parametrize(
        ("second", "message"),
        [
            ({"x": np.zeros((1, 3))}, "column 'x' is float64 (3,) here and float64 (2,) in {}"),
            ({"x": np.zeros((1, 2), "float32")}, "column 'x' is float32 (2,) here and float64 (2,) in {}"),
            ({"y": np.zeros((1, 2))}, "column 'x' is absent here and float64 (2,) in {}"),
            ({"x": np.zeros((1, 2)), "y": np.zeros(1)}, "column 'y' is float64 () here and absent in {}"),
        ],
        ids=["shape", "dtype", "missing", "extra"],
    )
    def test_shards_that_differ(self, tmp_path: Path, second: dict[str, Any], message: str) -> None:
        first = write_npz(tmp_path / "a.npz", x=np.zeros((1, 2)))
        write_npz(tmp_path / "b.npz", **second)
        assert failure(MISMATCH, open_samples, SamplesSpec(path=f"{tmp_path}/*.npz")) == (
            f"{tmp_path}/b.npz: {message.format(first)}; files of one set need the same columns"
        )

    def test_no_rows_at_all(self, tmp_path: Path) -> None:
        for name in "ab":
            write_npz(tmp_path / f"{name}.npz", x=np.zeros((0, 2)))
        message = failure(EMPTY, open_samples, SamplesSpec(path=f"{tmp_path}/*.npz"))
        assert message == f"{tmp_path}/*.npz: has no rows in 2 file(s), so nothing can be proven"

    @pytest.mark.parametrize("suffix", ["npz", "parquet"])
    @pytest.mark.parametrize("column", ["x", "y"])
    def test_a_file_that_changes_during_the_run(self, tmp_path: Path, suffix: str, column: str) -> None:
        path = tmp_path / f"x.{suffix}"
        write = write_npz if suffix == "npz" else write_parquet
        write(path, x=np.zeros(9))
        spec = SamplesSpec(path=str(path))
        sample_set = open_samples(spec)
        binding = bind(sample_set, spec, signature(x=((), "float64")), samples_name="rows")
        changed: dict[str, Any] = {column: np.zeros(9 if column == "y" else 8)}
        write(path, **changed)
        message = failure(MISMATCH, list, read_batches(sample_set.shards[0], binding, 4))
        assert message.startswith(f"{path}: has changed since it was opened: ")

    def test_pickles_that_arrive_during_the_run_are_not_loaded(self, tmp_path: Path) -> None:
        path = write_npz(tmp_path / "x.npz", x=np.zeros(2))
        spec = SamplesSpec(path=str(path))
        sample_set = open_samples(spec)
        binding = bind(sample_set, spec, signature(x=((), "float64")), samples_name="rows")
        write_npz(path, x=np.array([1.0, {}], object))
        assert "allow_pickle=False" in failure(MISMATCH, list, read_batches(sample_set.shards[0], binding, 4))

    def test_a_file_that_goes_away_during_the_run(self, tmp_path: Path) -> None:
        path = write_npz(tmp_path / "x.npz", x=np.zeros(9))
        spec = SamplesSpec(path=str(path))
        sample_set = open_samples(spec)
        binding = bind(sample_set, spec, signature(x=((), "float64")), samples_name="rows")
        path.unlink()
        assert "no longer there" in failure(MISSING, list, read_batches(sample_set.shards[0], binding, 4))


def sample_set_of(**columns: tuple[Shape, str]) -> SampleSet:
    specs = {name: ColumnSpec(dtype=dtype, shape=shape) for name, (shape, dtype) in columns.items()}
    return SampleSet(path="rows.npz", shards=(), columns=specs, row_count=1, digest="")


def bound_columns(sample_set: SampleSet, model: Signature, **spec: Any) -> dict[str, str]:
    binding = bind(sample_set, SamplesSpec(path="rows.npz", **spec), model, samples_name="rows")
    return {bound.input.name: bound.column for bound in binding.inputs}


def bind_message(sample_set: SampleSet, model: Signature, **spec: Any) -> str:
    return failure(MISMATCH, bind, sample_set, SamplesSpec(path="rows.npz", **spec), model, samples_name="rows")


F4: tuple[Shape, str] = ((4,), "float32")


class TestBinding:
    @pytest.mark.parametrize(
        ("columns", "inputs", "spec", "bound"),
        [
            ({"a": F4, "b": F4}, {"a": F4, "b": F4}, {}, {"a": "a", "b": "b"}),
            ({"a": F4, "b": F4}, {"a": F4, "b": F4}, {"inputs": {"a": "b", "b": "a"}}, {"a": "b", "b": "a"}),
            ({"a": F4, "b": F4}, {"a": F4, "c": F4}, {"inputs": {"c": "b"}}, {"a": "a", "c": "b"}),
            ({"a": F4}, {"x": F4}, {}, {"x": "a"}),
            ({"a": F4, "y": F4, "n": ((), "int64")}, {"x": F4}, {"label": "y", "id": "n"}, {"x": "a"}),
            ({"a": F4}, {"x": F4, "y": F4}, {"inputs": {"x": "a", "y": "a"}}, {"x": "a", "y": "a"}),
        ],
        ids=[
            "same names",
            "explicit before same name",
            "explicit and same name",
            "the only one",
            "besides label and id",
            "one for two",
        ],
    )
    def test_which_column_feeds_an_input(self, columns: Any, inputs: Any, spec: Any, bound: dict[str, str]) -> None:
        assert bound_columns(sample_set_of(**columns), signature(**inputs), **spec) == bound

    def test_inputs_keep_the_signatures_order(self) -> None:
        binding = bind(
            sample_set_of(a=F4, b=F4), SamplesSpec(path="rows.npz", id=None), signature(b=F4, a=F4), samples_name="rows"
        )
        assert [bound.input.name for bound in binding.inputs] == ["b", "a"]

    @pytest.mark.parametrize(
        ("column", "wanted", "fits"),
        [
            ((4,), (4,), True),
            ((4,), (None,), True),
            ((None,), (4,), True),
            ((2, None), (2, 3), True),
            ((), (1,), True),
            ((4,), (5,), False),
            ((2, 3), (3, 2), False),
            ((28, 28), (28, 28, 1), False),
            ((4, 1), (4,), False),
            ((1,), (), False),
            ((), (None,), False),
            ((), (1, 1), False),
        ],
    )
    def test_shapes(self, column: Shape, wanted: Shape, fits: bool) -> None:
        sample_set, model = sample_set_of(x=(column, "float32")), signature(x=(wanted, "float32"))
        if fits:
            assert bound_columns(sample_set, model) == {"x": "x"}
        else:
            assert "input 'x' takes (batch" in bind_message(sample_set, model)

    @pytest.mark.parametrize(
        ("column", "wanted", "fits"),
        [
            *[
                (dtype, wanted, True)
                for dtype in ("bool", "int8", "uint64", "int64")
                for wanted in ("float16", "float32", "float64")
            ],
            *[
                (dtype, wanted, True)
                for dtype in ("float16", "float32", "float64")
                for wanted in ("float16", "float32", "float64")
            ],
            *[(dtype, wanted, True) for dtype in ("int8", "uint8", "int64") for wanted in ("int8", "uint8", "int32", "int64")],
            ("bool", "int32", True),
            ("string", "string", True),
            ("float32", "int32", False),
            ("float32", "bool", False),
            ("int8", "bool", False),
            ("string", "float32", False),
            ("string", "int64", False),
            ("int64", "string", False),
            ("float32", "complex64", True),
            ("complex64", "float32", False),
            ("timestamp[us]", "int64", False),
            ("datetime64[us]", "int64", False),
        ],
    )
    def test_dtypes(self, column: str, wanted: str, fits: bool) -> None:
        sample_set, model = sample_set_of(x=((), column)), signature(x=((), wanted))
        if fits:
            assert bound_columns(sample_set, model) == {"x": "x"}
        else:
            assert f"{column} is never turned into {wanted}" in bind_message(sample_set, model)

    @pytest.mark.parametrize(
        ("inputs", "spec", "message"),
        [
            (
                {"image": ((28, 28, 1), "float32")},
                {"inputs": {"image": "pixels"}},
                (
                    "rows.npz: input 'image' takes (batch, 28, 28, 1) float32, column 'pixels' holds (batch, 28, 28) float64; "
                    "store x[..., None], which has the last axis, or map another column under samples.rows.inputs. "
                    "Columns: label (batch) int64, pixels (batch, 28, 28) float64"
                ),
            ),
            (
                {"a": ((28, 28), "int32"), "label": ((), "int64")},
                {"inputs": {"a": "pixels"}},
                (
                    "rows.npz: input 'a' takes (batch, 28, 28) int32, column 'pixels' holds (batch, 28, 28) float64, and "
                    "float64 is never turned into int32; store it as int32, or map another column under samples.rows.inputs. "
                    "Columns: label (batch) int64, pixels (batch, 28, 28) float64"
                ),
            ),
            (
                {"pixel": F4},
                {},
                (
                    "rows.npz: no column 'pixel' for input 'pixel', which takes (batch, 4) float32 (did you mean pixels?); map "
                    "it under samples.rows.inputs. Columns: label (batch) int64, pixels (batch, 28, 28) float64"
                ),
            ),
            (
                {"pixels": ((28, None), "float32")},
                {"inputs": {"pixles": "pixels"}},
                (
                    "rows.npz: samples.rows.inputs.pixles: the model has no such input (did you mean pixels?); its inputs: "
                    "pixels. Columns: label (batch) int64, pixels (batch, 28, 28) float64"
                ),
            ),
            (
                {"pixels": ((28, 28), "float32")},
                {"label": "labels", "id": "pixels"},
                (
                    "rows.npz: (1) samples.rows.label: no column 'labels' (did you mean label?); name one that is there or "
                    "remove the key; (2) samples.rows.id: column 'pixels' is (batch, 28, 28) float64; a row's name is "
                    "one text or whole number. "
                    "Columns: label (batch) int64, pixels (batch, 28, 28) float64"
                ),
            ),
        ],
        ids=["shape", "dtype", "no column", "no input", "label and id"],
    )
    def test_messages_name_both_sides_and_the_key_to_change(self, inputs: Any, spec: Any, message: str) -> None:
        sample_set = sample_set_of(pixels=((28, 28), "float64"), label=((), "int64"))
        assert bind_message(sample_set, signature(**inputs), **spec) == message

    def test_every_problem_in_one_message(self) -> None:
        sample_set = sample_set_of(a=((2,), "string"), b=F4)
        message = bind_message(sample_set, signature(a=F4, b=((5,), "float32"), c=F4), inputs={"d": "a"}, id="n")
        assert [f"({number})" in message for number in range(1, 8)] == [True] * 6 + [False]

    def test_wide_tables_are_not_listed_in_full(self) -> None:
        message = bind_message(sample_set_of(**{f"c{index:03}": F4 for index in range(100)}), signature(x=F4))
        assert message.endswith("c029 (batch, 4) float32, and 70 more")

    def test_an_input_without_a_batch_axis(self) -> None:
        model = Signature(inputs=(TensorSpec(name="x", shape=(), dtype="float32"),), outputs=())
        assert "input 'x' has no batch axis" in bind_message(sample_set_of(x=((), "float32")), model)

    def test_an_input_dtype_that_files_do_not_have(self) -> None:
        assert "takes resource, which no sample file can hold" in bind_message(
            sample_set_of(x=F4), signature(x=((4,), "resource"))
        )


class TestCasts:
    @pytest.mark.parametrize(
        ("values", "wanted", "expected"),
        [
            (np.array([True, False]), "float32", [1.0, 0.0]),
            (np.array([0, 255], "uint8"), "float32", [0.0, 255.0]),
            (np.array([0.1, np.nan, np.inf, -np.inf]), "float32", [np.float32(0.1), np.nan, np.inf, -np.inf]),
            (np.array([0.1, 1e-30]), "float16", [np.float16(0.1), 0.0]),
            (np.array([-128, 127]), "int8", [-128, 127]),
            (np.array([0, 2**63 - 1], "uint64"), "int64", [0, 2**63 - 1]),
        ],
    )
    def test_values_that_fit(self, tmp_path: Path, values: np.ndarray, wanted: str, expected: list[Any]) -> None:
        rows = read_column(write_npz(tmp_path / "x.npz", x=values), "x", (), wanted)
        assert rows.dtype == wanted
        np.testing.assert_array_equal(rows, np.array(expected, wanted))

    @pytest.mark.parametrize(
        ("bad", "dtype", "wanted"),
        [
            (128, "int64", "int8"),
            (-1, "int64", "uint64"),
            (2**63, "uint64", "int64"),
            (-1, "int8", "uint8"),
            (1e39, "float64", "float32"),
            (70_000, "int32", "float16"),
            (-65_536.0, "float32", "float16"),
        ],
    )
    @pytest.mark.parametrize("suffix", ["npz", "parquet"])
    def test_values_that_do_not_fit_name_column_and_row(
        self, tmp_path: Path, bad: float, dtype: str, wanted: str, suffix: str
    ) -> None:
        values = np.zeros(10, dtype)
        values[7] = bad
        write = write_npz if suffix == "npz" else write_parquet
        path = write(tmp_path / f"x.{suffix}", x=values)
        message = failure(MISMATCH, read_column, path, "x", (), wanted)
        assert message == (
            f"{path}: column 'x', row 7: {values[7]} does not fit into {wanted}, which input 'x' takes; "
            "correct or drop the row, or map another column under samples.rows.inputs"
        )

    def test_rows_are_numbered_over_all_files(self, tmp_path: Path) -> None:
        write_npz(tmp_path / "a.npz", x=np.zeros(3, "int64"))
        write_npz(tmp_path / "b.npz", x=np.array([0, 300]))
        assert "b.npz: column 'x', row 4: 300 does not fit into uint8" in failure(
            MISMATCH, read_column, tmp_path / "*.npz", "x", (), "uint8"
        )

    @pytest.mark.parametrize("suffix", ["npz", "parquet"])
    def test_a_scalar_column_feeds_batch_by_one(self, tmp_path: Path, suffix: str) -> None:
        write = write_npz if suffix == "npz" else write_parquet
        path = write(tmp_path / f"x.{suffix}", x=np.arange(3))
        assert read_column(path, "x", (1,), "float32").tolist() == [[0.0], [1.0], [2.0]]


class TestNulls:
    @pytest.mark.parametrize(
        "column",
        [
            pa.array([1.0, 1.0, 1.0, 1.0, 1.0, None]),
            pa.array(["a", "a", "a", "a", "a", None]),
            pa.array(["a", "a", "a", "a", "a", None]).dictionary_encode(),
            pa.array([[1.0]] * 5 + [None], pa.list_(pa.float64())),
            pa.array([[1.0, 2.0]] * 5 + [[3.0, None]], pa.list_(pa.float64())),
            pa.array([[1.0, 2.0]] * 5 + [[3.0, None]], pa.list_(pa.float64(), 2)),
            pa.array([[[1.0]], [[1.0], [1.0]], [], [[1.0]], [[1.0]], [[1.0], None]], pa.list_(pa.list_(pa.float64()))),
            pa.ExtensionArray.from_storage(
                pa.fixed_shape_tensor(pa.float64(), [2]), pa.array([[1.0, 2.0]] * 5 + [[3.0, None]], pa.list_(pa.float64(), 2))
            ),
        ],
        ids=["number", "text", "dictionary", "list", "in list", "in fixed-size list", "inner list", "in tensor"],
    )
    @pytest.mark.parametrize("role", ["input", "label"])
    def test_a_null_is_an_error_that_names_column_and_row(self, tmp_path: Path, column: pa.Array, role: str) -> None:
        path = write_parquet(tmp_path / "x.parquet", 2, c=column, other=np.zeros(6))
        shape = open_samples(SamplesSpec(path=str(path))).columns["c"]
        model = signature(x=(shape.shape, shape.dtype)) if role == "input" else signature(x=((), "float64"))
        spec = SamplesSpec(
            path=str(path), inputs={"x": "c" if role == "input" else "other"}, label="c" if role == "label" else None
        )
        message = failure(MISMATCH, read_all, spec, model)
        assert message.startswith(f"{path}: column 'c', row 5: is null or holds a null; LiteFerry fills nothing in")

    def test_the_row_is_right_where_a_block_is_pieced_together(self, tmp_path: Path) -> None:
        # pyarrow cuts its batches at row groups for dictionaries, so rows 0 to 3 arrive in two parts
        column = pa.array(["a", "b", "a", None]).dictionary_encode()
        path = write_parquet(tmp_path / "x.parquet", 2, x=column)
        assert "column 'x', row 3: is null" in failure(MISMATCH, read_column, path, "x", (), "string")

    def test_nulls_elsewhere_do_no_harm(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "x.parquet", x=[1.0, 2.0], other=pa.array([None, 1]))
        assert read_column(path, "x", (), "float64").tolist() == [1.0, 2.0]


class TestBatches:
    @pytest.mark.parametrize("suffix", ["npz", "parquet"])
    def test_inputs_labels_and_ids_stay_together(self, tmp_path: Path, suffix: str) -> None:
        write = write_npz if suffix == "npz" else write_parquet
        names = np.array([f"r{index}" for index in range(10)])
        path = write(tmp_path / f"x.{suffix}", x=np.arange(10.0), y=np.arange(10) * 2, name=names)
        batches = read_all(SamplesSpec(path=str(path), label="y", id="name"), signature(x=((), "float32")))
        assert [batch.first_row for batch in batches] == [0, 4, 8]
        for batch in batches:
            assert batch.label is not None
            rows = batch.inputs["x"].astype(int)
            assert batch.label.tolist() == (rows * 2).tolist()
            assert batch.ids == tuple(f"r{row}" for row in rows)

    def test_without_an_id_column_rows_are_numbered_over_all_files(self, tmp_path: Path) -> None:
        for name in "ab":
            write_npz(tmp_path / f"{name}.npz", x=np.zeros(3))
        batches = read_all(SamplesSpec(path=f"{tmp_path}/*.npz"), signature(x=((), "float64")), batch_size=2)
        assert [batch.ids for batch in batches] == [("0", "1"), ("2",), ("3", "4"), ("5",)]
        assert [batch.label for batch in batches] == [None] * 4

    def test_labels_keep_their_dtype_and_shape(self, tmp_path: Path) -> None:
        path = write_npz(tmp_path / "x.npz", x=np.zeros(2), y=np.eye(2, dtype="uint8"))
        (batch,) = read_all(SamplesSpec(path=str(path), label="y"), signature(x=((), "float64")))
        assert batch.label is not None
        assert batch.label.dtype == "uint8"
        np.testing.assert_array_equal(batch.label, np.eye(2))

    @pytest.mark.parametrize(("ids", "texts"), [(np.array([7, 8]), ("7", "8")), (np.array([b"\xff", b"b"]), ("\\xff", "b"))])
    def test_ids_are_text(self, tmp_path: Path, ids: np.ndarray, texts: tuple[str, ...]) -> None:
        path = write_npz(tmp_path / "x.npz", x=np.zeros(2), n=ids)
        (batch,) = read_all(SamplesSpec(path=str(path), id="n"), signature(x=((), "float64")))
        assert batch.ids == texts

    def test_arrays_are_contiguous(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "x.parquet", x=permuted_tensors(CUBES))
        batches = read_all(SamplesSpec(path=str(path)), signature(x=((2, 3, 4), "float64")))
        assert all(batch.inputs["x"].flags.c_contiguous for batch in batches)

    @pytest.mark.parametrize("row_group_size", [1, 3, 7, 100])
    @pytest.mark.parametrize("text", [False, True])
    def test_boundaries_do_not_follow_row_groups_or_dictionaries(self, tmp_path: Path, row_group_size: int, text: bool) -> None:
        column = pa.array([str(index % 5) for index in range(30)]).dictionary_encode() if text else pa.array(np.arange(30))
        path = write_parquet(tmp_path / "x.parquet", row_group_size, x=column)
        batches = read_all(SamplesSpec(path=str(path)), signature(x=((), "string" if text else "int64")), batch_size=8)
        assert [len(batch.ids) for batch in batches] == [8, 8, 8, 6]

    def test_a_batch_size_of_nothing_is_refused(self) -> None:
        shard = sample_set.Shard(path="x.npz", first_row=0, row_count=1)
        with pytest.raises(ValueError, match="batch_size is 0"):
            next(read_batches(shard, Binding(samples_name="rows", inputs=()), 0))


class TestRaggedRows:
    def test_consecutive_rows_of_one_shape_are_a_batch(self, tmp_path: Path) -> None:
        lengths = [2, 2, 3, 3, 3, 3, 2, 0, 0]
        rows = [[float(index)] * length for index, length in enumerate(lengths)]
        path = write_parquet(tmp_path / "x.parquet", x=rows)
        batches = read_all(SamplesSpec(path=str(path)), signature(x=((None,), "float32")), batch_size=5)
        assert [batch.inputs["x"].shape for batch in batches] == [(2, 2), (3, 3), (1, 3), (1, 2), (2, 0)]
        assert [batch.first_row for batch in batches] == [0, 2, 5, 6, 7]
        assert [row for batch in batches for row in batch.inputs["x"].tolist()] == rows

    def test_every_bound_column_has_a_say(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "x.parquet", x=[[1.0], [1.0], [1.0]], y=[[1], [1], [1, 2]], z=[[1], [1, 2], [1]])
        model = signature(x=((None,), "float32"), y=((None,), "int64"))
        assert [len(batch.ids) for batch in read_all(SamplesSpec(path=str(path)), model)] == [2, 1]
        assert [len(batch.ids) for batch in read_all(SamplesSpec(path=str(path), label="z"), model)] == [1, 1, 1]

    def test_images_of_different_sizes(self, tmp_path: Path) -> None:
        images = [tensors(height, 3, 2) for height in (2, 2, 4)]
        column = pa.array([image.tolist() for image in images], pa.list_(pa.list_(pa.list_(pa.float32(), 2))))
        path = write_parquet(tmp_path / "x.parquet", x=column)
        batches = read_all(SamplesSpec(path=str(path)), signature(x=((None, None, 2), "float32")))
        read = [row for batch in batches for row in batch.inputs["x"]]
        assert all(np.array_equal(image, row) for image, row in zip(images, read, strict=True))

    def test_a_row_of_another_shape_than_the_input_names_row_and_shapes(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "x.parquet", x=[[1.0, 2.0]] * 5 + [[1.0]])
        assert failure(MISMATCH, read_column, path, "x", (2,), "float32") == (
            f"{path}: column 'x', row 5: has shape (1,), input 'x' takes (batch, 2) float32; "
            "drop the row, or map another column under samples.rows.inputs"
        )

    def test_a_row_that_is_no_tensor(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "x.parquet", x=[[[1.0], [2.0]], [], [[1.0], [2.0, 3.0]]])
        message = failure(MISMATCH, read_column, path, "x", (None, None), "float64")
        assert message.startswith(f"{path}: column 'x', row 2: its inner lists differ in length")

    @settings(max_examples=40, deadline=None)
    @given(
        shapes=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=12),
        batch_size=st.integers(1, 5),
        row_group_size=st.integers(1, 5),
    )
    def test_any_rows_come_back_in_order(
        self, tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[int, int]], batch_size: int, row_group_size: int
    ) -> None:
        rows = [np.full(shape, index, "float32").tolist() for index, shape in enumerate(shapes)]
        path = tmp_path_factory.mktemp("any") / "x.parquet"
        write_parquet(path, row_group_size, x=pa.array(rows, pa.list_(pa.list_(pa.float32()))))
        batches = read_all(SamplesSpec(path=str(path)), signature(x=((None, None), "float32")), batch_size=batch_size)
        assert [row for batch in batches for row in batch.inputs["x"].tolist()] == rows
        assert all(len(batch.ids) <= batch_size for batch in batches)
        assert [name for batch in batches for name in batch.ids] == [str(index) for index in range(len(rows))]


def test_parquet_memory_follows_the_batch_and_not_the_row_group(tmp_path: Path) -> None:
    row_bytes, rows = 4 * 1024, 20_000
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.random.default_rng(0).random(rows * 1024, np.float32)), 1024)
    path = write_parquet(tmp_path / "x.parquet", x=column, unused=column)
    del column
    spec = SamplesSpec(path=str(path))
    shard, *others = open_samples(spec).shards
    assert not others
    assert pq.ParquetFile(path).num_row_groups == 1
    model = TensorSpec(name="x", shape=(None, 1024), dtype="float32")
    binding = Binding(samples_name="rows", inputs=(BoundInput(input=model, column="x"),))
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() for _ in read_batches(shard, binding, 64)) - before
    assert most < rows * row_bytes / 10


def test_importing_samples_is_light() -> None:
    code = (
        "import sys, liteferry.samples.batches; print([m for m in ('tensorflow', 'apache_beam', 'pyarrow') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
