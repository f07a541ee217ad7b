"""Rows as people have them: each format, written by its usual writer, comes back as it was; each mistake is told with its fix."""

from __future__ import annotations

import gzip
import io
import json
import wave
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from liteferry.config.job import SamplesSpec
from liteferry.samples.binding import bind
from liteferry.samples.headers import describe_contained
from liteferry.samples.opening import open_samples
from tests.samples.test_samples import EMPTY, MISMATCH, MISSING, failure, read_all, read_column, sample_set_of, signature

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 3)).astype(np.float32)
LABELS = np.arange(10) % 2
FRAME = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "label": LABELS, "name": [f"row {i}" for i in range(10)]})


def rows_of(path: Path, **spec: Any) -> np.ndarray:
    """The three columns stacked into the one input."""
    batches = read_all(SamplesSpec(path=str(path), inputs={"x": ("a", "b", "c")}, **spec), signature(x=((3,), "float32")))
    return np.concatenate([batch.inputs["x"] for batch in batches])


def write_csv(path: Path) -> None:
    FRAME.to_csv(path, index=False)


def write_gzipped_csv(path: Path) -> None:
    FRAME.to_csv(path, index=False, compression="gzip")


def write_semicolons(path: Path) -> None:
    FRAME.to_csv(path, index=False, sep=";")


def write_tsv(path: Path) -> None:
    FRAME.to_csv(path, index=False, sep="\t", encoding="utf-8-sig")


def write_json_lines(path: Path) -> None:
    FRAME.to_json(path, orient="records", lines=True, double_precision=15)


def write_pandas_parquet(path: Path) -> None:
    FRAME[FRAME.a > -9].to_parquet(path, index=True)


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name in ("a", "b", "c"):
            file[name] = FRAME[name].to_numpy()
        file["name"] = FRAME["name"].to_list()


def write_structured(path: Path) -> None:
    np.save(path, FRAME[["a", "b", "c"]].to_records(index=False))


TABLES = {
    "rows.csv": write_csv,
    "rows.csv.gz": write_gzipped_csv,
    "semicolons.csv": write_semicolons,
    "rows.tsv": write_tsv,
    "rows.jsonl": write_json_lines,
    "rows.parquet": write_pandas_parquet,
    "rows.h5": write_hdf5,
    "rows.npy": write_structured,
}


@pytest.mark.parametrize("name", TABLES)
def test_columns_of_a_table_are_stacked_into_a_vector(tmp_path: Path, name: str) -> None:
    TABLES[name](tmp_path / name)
    np.testing.assert_allclose(rows_of(tmp_path / name), X, rtol=1e-6)
    assert len(rows_of(tmp_path / name, take=4)) == 4


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.h5"])
def test_text_comes_back(tmp_path: Path, name: str) -> None:
    TABLES[name](tmp_path / name)
    assert read_column(tmp_path / name, "name", (), "string").tolist() == [f"row {i}".encode() for i in range(10)]


def test_pandas_row_numbers_are_no_column(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"x": [1.0], "__index_level_0__": [7]}), tmp_path / "x.parquet")
    assert list(open_samples(SamplesSpec(path=str(tmp_path / "x.parquet"))).columns) == ["x"]


def test_one_array_needs_no_name(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "x.npz", X)
    for name in ("x.npy", "x.npz"):
        batches = read_all(SamplesSpec(path=str(tmp_path / name)), signature(input_layer_1=((3,), "float32")))
        np.testing.assert_array_equal(np.concatenate([batch.inputs["input_layer_1"] for batch in batches]), X)


def test_a_fraction_at_the_end_of_a_long_csv_is_no_error(tmp_path: Path) -> None:
    """pyarrow decides types by the first block, 4 MB here."""
    (tmp_path / "rows.csv").write_text("x,y\n" + "1,1234567890\n" * 400_000 + "1.5,2\n")
    columns = open_samples(SamplesSpec(path=str(tmp_path / "rows.csv"))).columns
    assert (columns["x"].dtype, columns["y"].dtype) == ("float64", "int64")


def test_json_lines_hold_lists_and_late_fractions(tmp_path: Path) -> None:
    lines = [{"x": [[1, 2], [3, 4]], "n": 1}, {"x": [[1.5, 2], [3, 4]], "n": 2}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    np.testing.assert_array_equal(
        read_column(tmp_path / "rows.jsonl", "x", (2, 2), "float32"), [[[1, 2], [3, 4]], [[1.5, 2], [3, 4]]]
    )


def write_images(folder: Path, *classes: str, side: int = 4) -> np.ndarray:
    pixels = RNG.integers(0, 255, size=(2 * len(classes), side, side, 3)).astype(np.uint8)
    for number, image in enumerate(pixels):
        place = folder / classes[number // 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
    return pixels


def test_a_folder_of_images_has_classes_by_their_subfolders(tmp_path: Path) -> None:
    pixels = write_images(tmp_path / "photos", "cat", "dog")
    (tmp_path / "photos" / ".DS_Store").write_bytes(b"x")
    spec = SamplesSpec(path=str(tmp_path / "photos"), label="label", id="file")
    batches = read_all(spec, signature(input_layer=((4, 4, 3), "float32")))
    np.testing.assert_array_equal(np.concatenate([batch.inputs["input_layer"] for batch in batches]), pixels)
    assert np.concatenate([batch.label for batch in batches if batch.label is not None]).tolist() == [0, 0, 1, 1]
    assert [name for batch in batches for name in batch.ids] == ["cat/0.png", "cat/1.png", "dog/2.png", "dog/3.png"]


def test_a_flat_folder_of_images_has_no_classes(tmp_path: Path) -> None:
    write_images(tmp_path, ".")
    assert list(open_samples(SamplesSpec(path=str(tmp_path))).columns) == ["image", "file"]


def test_a_folder_of_wav_files_is_its_samples(tmp_path: Path) -> None:
    sound = RNG.integers(-(2**15), 2**15 - 1, size=(4, 100)).astype("<i2")
    for number, samples in enumerate(sound):
        (tmp_path / "ab"[number // 2]).mkdir(exist_ok=True)
        with wave.open(str(tmp_path / "ab"[number // 2] / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 100, "NONE", ""))
            file.writeframes(samples.tobytes())
    found = read_column(tmp_path, "audio", (100,), "float32")
    np.testing.assert_array_equal(found, sound / np.float32(32768))


def write_hf(folder: Path, table: pa.Table) -> None:
    """As `datasets.Dataset.save_to_disk` lays it out."""
    folder.mkdir(parents=True)
    with pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    (folder / "state.json").write_text("{}")
    (folder / "dataset_info.json").write_text("{}")


def test_a_hugging_face_folder_is_its_arrow_files_and_its_images_are_decoded(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, size=(3, 4, 4, 3)).astype(np.uint8)
    encoded = []
    for image in pixels:
        content = io.BytesIO()
        Image.fromarray(image).save(content, format="PNG")
        encoded.append({"bytes": content.getvalue(), "path": None})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    write_hf(tmp_path / "set" / "test", pa.table({"image": pa.array(encoded, kind), "label": [0, 1, 0]}))
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["test"]}')
    np.testing.assert_array_equal(read_column(tmp_path / "set", "image", (4, 4, 3), "float32"), pixels)


def test_a_folder_of_shards_is_all_of_them(tmp_path: Path) -> None:
    for number in range(2):
        np.savez(tmp_path / f"part-{number}.npz", x=X[number * 5 : number * 5 + 5])
    (tmp_path / "README.md").write_text("rows")
    np.testing.assert_array_equal(read_column(tmp_path, "x", (3,), "float32"), X)


def test_of_several_splits_one_has_to_be_named(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_hf(tmp_path / split, pa.table({"x": [1.0]}))
    (tmp_path / "dataset_dict.json").write_text("{}")
    message = failure(MISSING, open_samples, SamplesSpec(path=str(tmp_path)))
    assert message == f"{tmp_path}: holds several splits (test, train); name the one you mean, for example {tmp_path}/test"


def test_headers_are_read_alike_in_a_process_that_may_die(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", "cat")
    for name, write in TABLES.items():
        write(tmp_path / name)
    for name in ("photos", *TABLES):
        spec = SamplesSpec(path=str(tmp_path / name))
        assert open_samples(spec, describe=describe_contained) == open_samples(spec)


CANNOT = {
    "rows.json": ('[{"x": 1}]', "pandas.read_json(PATH).to_json('rows.jsonl', orient='records', lines=True)"),
    "pretty.json": ('{\n"x": [1]\n}', "every line has to be one object: `pandas.read_json(PATH)"),
    "rows.pkl": ("x", "pandas.read_pickle(PATH).to_parquet('rows.parquet')"),
    "rows.xlsx": ("x", "pandas.read_excel(PATH).to_parquet('rows.parquet')"),
    "image.png": ("x", "name the folder that holds such files"),
    "numbers.csv": ("1,2\n3,4\n", "write a first line such as x1,x2"),
    "array.jsonl": ("[1, 2]\n", "not an object such as"),
    "mixed.jsonl": ('{"x": 1}\n{"x": "a"}\n', "write numbers, or texts"),
    "empty.csv": ("", "its first line has to name the columns"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_what_cannot_be_taken_has_its_way_out(tmp_path: Path, name: str) -> None:
    content, fix = CANNOT[name]
    (tmp_path / name).write_text(content)
    message = failure(MISMATCH, open_samples, SamplesSpec(path=str(tmp_path / name)))
    assert message.startswith(str(tmp_path / name))
    assert fix in message


def test_a_table_without_rows_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n")
    failure(EMPTY, open_samples, SamplesSpec(path=str(tmp_path / "rows.csv")))


def test_a_missing_value_is_an_error_until_a_default_stands_in(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2,3\n4,,6\n")
    message = failure(MISMATCH, rows_of, tmp_path / "rows.csv")
    assert "column 'b', row 1: is null" in message and "under defaults" in message
    assert rows_of(tmp_path / "rows.csv", defaults={"b": 9}).tolist() == [[1, 2, 3], [4, 9, 6]]


AUTO = signature(input_layer_1=((28, 28), "float32"))


class TestWhatAloneFits:
    def note(self, columns: dict[str, Any], model: Any, **spec: Any) -> tuple[str, ...]:
        return bind(sample_set_of(**columns), SamplesSpec(path="rows.npz", **spec), model, samples_name="samples").notes

    def test_feeds_an_input_with_an_automatic_name_and_is_told(self) -> None:
        (note,) = self.note({"image": ((28, 28), "uint8"), "label": ((), "int64"), "id": ((), "string")}, AUTO)
        assert note == (
            "rows: input 'input_layer_1' is fed by column 'image', the only one that fits in shape and dtype (the same as "
            "--inputs input_layer_1=image, or inputs: {input_layer_1: 'image'} of the samples entry)"
        )

    def test_a_name_written_otherwise_counts_before_shapes(self) -> None:
        (note,) = self.note({"Image": ((28, 28), "uint8"), "mask": ((28, 28), "uint8")}, signature(image=((28, 28), "float32")))
        assert "fed by column 'Image', which has its name" in note

    def test_the_label_beside_it_is_no_second_candidate(self) -> None:
        columns = {"x": ((4,), "float32"), "y": ((4,), "float32")}
        (note,) = self.note(columns, signature(input_layer=((4,), "float32")))
        assert "fed by column 'x', the only one that fits" in note

    @pytest.mark.parametrize(
        ("columns", "model"),
        [
            pytest.param({"image": ((28, 28), "uint8"), "mask": ((28, 28), "uint8")}, AUTO, id="two fit"),
            pytest.param(
                {"x": ((4,), "float32"), "label": ((), "float32")}, signature(i=((), "float32")), id="only a label fits"
            ),
            pytest.param(
                {"x": ((3,), "float32"), "n": ((), "int64")}, signature(a=((3,), "float32"), b=((3,), "float32")), id="two inputs"
            ),
        ],
    )
    def test_is_never_a_guess(self, columns: dict[str, Any], model: Any) -> None:
        message = failure(MISMATCH, bind, sample_set_of(**columns), SamplesSpec(path="rows.npz"), model, samples_name="samples")
        assert "--inputs" in message and "=COLUMN" in message


def test_columns_that_cannot_be_stacked_are_told() -> None:
    columns = sample_set_of(a=((), "float32"), b=((2, 2), "float32"), t=((), "string"))
    for names, told in (
        (("a", "b"), "only single values and vectors"),
        (("a", "t"), "never turned into float32"),
        (("a", "z"), "no column 'z'"),
    ):
        spec = SamplesSpec(path="rows.npz", inputs={"x": names})
        assert told in failure(MISMATCH, bind, columns, spec, signature(x=((2,), "float32")), samples_name="rows")


def test_a_gzipped_file_is_read_as_what_it_is(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as file:
        file.write('{"x": 1.5}\n')
    assert read_column(tmp_path / "rows.jsonl.gz", "x", (), "float32").tolist() == [1.5]
