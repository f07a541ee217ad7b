"""The same formats as other writers write them: separators in quotes, names with spaces, other encodings, sounds of every width,
data sets in parts.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from liteferry.config.job import SamplesSpec
from liteferry.samples.opening import open_samples
from tests.samples.test_samples import MISMATCH, failure, read_all, read_column, signature

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3)).astype(np.float32)


def stacked(path: Path, *names: str) -> np.ndarray:
    batches = read_all(SamplesSpec(path=str(path), inputs={"x": names}), signature(x=((len(names),), "float32")))
    return np.concatenate([batch.inputs["x"] for batch in batches])


CSV = {
    "the separator in a quoted name": ('"width, cm";b\n1;2\n', ("width, cm", "b")),
    "spaces around names and numbers": ("a, b , c\n1, 2, 3\n", ("a", "b", "c")),
    "a byte order mark": ("\ufeffa,b\r\n1,2\r\n", ("a", "b")),
    "a byte order mark and spaces": ("\ufeff a, b\n1,2\n", ("a", "b")),
    "numbers in quotes": ('"a","b"\n"1","2"\n', ("a", "b")),
    "the counted columns of pandas": ("0,1,2\n1,2,3\n", ("0", "1", "2")),
    "the index of pandas": (",a,b\n0,1,2\n", ("a", "b")),
}


@pytest.mark.parametrize("name", CSV)
def test_tables_of_other_writers(tmp_path: Path, name: str) -> None:
    content, names = CSV[name]
    (tmp_path / "rows.csv").write_text(content, encoding="utf-8")
    np.testing.assert_array_equal(stacked(tmp_path / "rows.csv", *names), [np.arange(1, len(names) + 1)])


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_of_a_spreadsheet_are_numbers(tmp_path: Path, separator: str) -> None:
    frame = pd.DataFrame({"a": [0.5, -1.25e9, 3.0], "name": ["one", "two, three", "four"], "b": [1, 2, 3]})
    frame.to_csv(tmp_path / "rows.csv", sep=separator, decimal=",", index=False)
    np.testing.assert_array_equal(stacked(tmp_path / "rows.csv", "a", "b"), frame[["a", "b"]].to_numpy(np.float32))
    assert read_column(tmp_path / "rows.csv", "name", (), "string").tolist() == [b"one", b"two, three", b"four"]


def test_commas_between_other_numbers_with_points_stay_text(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("place;size\n48,137;0.5\n")
    columns = open_samples(SamplesSpec(path=str(tmp_path / "rows.csv"))).columns
    assert (columns["place"].dtype, columns["size"].dtype) == ("string", "float64")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_named_with_the_line_that_converts_it(tmp_path: Path, encoding: str) -> None:
    place = tmp_path / "rows.csv"
    place.write_text("größe;b\n1;grün\n", encoding=encoding)
    message = failure(MISMATCH, open_samples, SamplesSpec(path=str(place)))
    assert "is not in UTF-8" in message
    line = message.split("convert it: ")[1].replace("PATH", "place").replace("'rows.csv'", "place")
    exec(line, {"pandas": pd, "place": place})
    np.testing.assert_array_equal(stacked(place, "größe"), [[1]])


def test_json_lines_by_the_name_of_json(tmp_path: Path) -> None:
    pd.DataFrame(X, columns=["a", "b", "c"]).to_json(tmp_path / "rows.json", orient="records", lines=True, double_precision=15)
    np.testing.assert_allclose(stacked(tmp_path / "rows.json", "a", "b", "c"), X, rtol=1e-7)


def test_texts_of_arrow_as_views(tmp_path: Path) -> None:
    table = pa.table(
        {"text": pa.array(["a", "ü", ""], pa.string_view()), "bytes": pa.array([b"a", b"b", b"c"], pa.binary_view())}
    )
    with pa.OSFile(str(tmp_path / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    assert read_column(tmp_path / "rows.arrow", "text", (), "string").tolist() == [b"a", "ü".encode(), b""]
    assert read_column(tmp_path / "rows.arrow", "bytes", (), "string").tolist() == [b"a", b"b", b"c"]


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


@pytest.mark.parametrize("name", ["mnist.npz", "set.h5"])
def test_a_data_set_in_parts_has_the_line_that_keeps_one(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    write_arrays(place, {"x_train": np.zeros((6, 2)), "y_train": np.zeros(6), "x_test": X[:4], "y_test": np.arange(4)})
    message = failure(MISMATCH, open_samples, SamplesSpec(path=str(place)))
    line = message.split("Keep those that belong together: ")[1]
    assert line.endswith("x_test=f['x_test'], y_test=f['y_test'])"), "the smaller part, of two as large"
    kept = tmp_path / "rows.npz"
    code = line.replace("PATH", "place").replace("'rows.npz'", "kept")
    exec(code, {"np": np, "h5py": h5py, "place": place, "kept": kept})
    np.testing.assert_array_equal(read_column(kept, "x_test", (3,), "float32"), X[:4])


def write_wav(path: Path, content: bytes, *, code: int, bits: int, channels: int = 1, extensible: bool = False) -> None:
    """With a chunk of another kind, of an odd size, before the sound."""
    frame = channels * bits // 8
    told = 0xFFFE if extensible else code
    head = struct.pack("<HHIIHH", told, channels, 16000, 16000 * frame, frame, bits)
    if extensible:
        head += struct.pack("<HHIH", 22, bits, 0, code) + bytes(14)
    chunks = [(b"fmt ", head), (b"LIST", b"odd"), (b"data", content)]
    body = b"".join(name + struct.pack("<I", len(part)) + part + bytes(len(part) % 2) for name, part in chunks)
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)


WAVE = RNG.integers(-(2**31), 2**31 - 256, size=(50, 2))  # two channels, as 32 bits hold them
SOUNDS: dict[str, tuple[bytes, dict[str, Any], np.ndarray]] = {
    "8 bits": (((WAVE >> 24) + 128).astype(np.uint8).tobytes(), {"code": 1, "bits": 8}, (WAVE >> 24) / 2**7),
    "16 bits": ((WAVE >> 16).astype("<i2").tobytes(), {"code": 1, "bits": 16}, (WAVE >> 16) / 2**15),
    "24 bits": (
        (WAVE >> 8).astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes(),
        {"code": 1, "bits": 24, "extensible": True},
        (WAVE >> 8) / 2**23,
    ),
    "32 bits": (WAVE.astype("<i4").tobytes(), {"code": 1, "bits": 32}, WAVE / 2**31),
    "floats": ((WAVE / 2**31).astype("<f4").tobytes(), {"code": 3, "bits": 32}, WAVE / 2**31),
    "doubles": ((WAVE / 2**31).astype("<f8").tobytes(), {"code": 3, "bits": 64, "extensible": True}, WAVE / 2**31),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_of_every_width_are_from_minus_one_to_one(tmp_path: Path, name: str) -> None:
    content, header, expected = SOUNDS[name]
    write_wav(tmp_path / "a.wav", content, channels=2, **header)
    found = read_column(tmp_path, "audio", (50, 2), "float32")
    np.testing.assert_array_equal(found, expected.astype(np.float32)[None])


NO_SOUND: dict[str, tuple[dict[str, Any], str]] = {
    "compressed": ({"code": 2, "bits": 4, "channels": 2}, "holds ADPCM, 4 bits"),
    "of no known width": ({"code": 1, "bits": 12, "channels": 2}, "holds format 1, 12 bits"),
}


@pytest.mark.parametrize("name", NO_SOUND)
def test_a_sound_that_cannot_be_read_is_named_with_its_fix(tmp_path: Path, name: str) -> None:
    header, told = NO_SOUND[name]
    write_wav(tmp_path / "a.wav", bytes(24), **header)
    message = failure(MISMATCH, open_samples, SamplesSpec(path=str(tmp_path)))
    assert message.startswith(f"{tmp_path}/a.wav: {told}")
    assert "ffmpeg -i IN -c:a pcm_s16le OUT.wav" in message


def test_a_sound_that_is_cut_short_is_told(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", bytes(64), code=1, bits=16)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:-10])
    assert "announces 64 bytes of sound and has 54" in failure(MISMATCH, open_samples, SamplesSpec(path=str(tmp_path)))


def test_the_parts_of_a_data_set_are_no_classes(tmp_path: Path) -> None:
    for part in ("train", "validation"):
        (tmp_path / part / "cat").mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / part / "cat" / "0.png")
    message = failure(MISMATCH, open_samples, SamplesSpec(path=str(tmp_path)))
    assert (
        f"holds the parts of a data set (train, validation) and not classes; name the one you mean, for example {tmp_path}/train"
        in message
    )
    assert list(open_samples(SamplesSpec(path=str(tmp_path / "train"))).columns) == ["image", "label", "class", "file"]


@pytest.mark.parametrize("decode", [None, "image"])
def test_images_feed_an_input_of_any_name_also_beside_texts(tmp_path: Path, decode: Any) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (5, 6)).save(tmp_path / name / "0.png")
    spec = SamplesSpec(path=str(tmp_path), label="label", decode=decode, size=(4, 4))
    batches = read_all(spec, signature(input_layer_1=((4, 4, 3), "float32")))
    assert np.concatenate([batch.inputs["input_layer_1"] for batch in batches]).shape == (2, 4, 4, 3)


def test_what_macos_packs_beside_images_is_none(tmp_path: Path) -> None:
    for place in ("cat/0.png", "dog/1.png"):
        (tmp_path / place).parent.mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / place)
    for place in ("cat/._0.png", "__MACOSX/cat/._0.png", ".cache/2.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"Mac OS X")
    opened = open_samples(SamplesSpec(path=str(tmp_path)))
    assert opened.row_count == 2
    batches = read_all(SamplesSpec(path=str(tmp_path), label="label"), signature(image=((4, 4, 3), "float32")))
    assert np.concatenate([batch.label for batch in batches if batch.label is not None]).tolist() == [0, 1]
