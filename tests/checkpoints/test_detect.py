"""`detect` and `examine`: what a path is, by its bytes and not by its name, and why it is none."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from liteferry.checkpoints.detection import Kind, detect, examine
from liteferry.checkpoints.foreign import refuse_foreign
from liteferry.errors import ModelError
from liteferry.sandbox import Flavor, Limits
from tests.support.units import run_unit


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model in every format, by the libraries themselves."""
    folder = tmp_path_factory.mktemp("written")
    limits = Limits(seconds=120, memory_bytes=8 * 10**9)
    unit = "tests.checkpoints.detect_units:write_one_model_in_every_format"
    outcome = run_unit(unit, str(folder), flavor=Flavor.KERAS, limits=limits, writable=[str(folder)])
    assert outcome.error is None, outcome.error
    return folder


def reason(path: Path) -> tuple[str, str]:
    with pytest.raises(ModelError) as caught:
        examine(str(path))
    return caught.value.reason.code.value, caught.value.reason.message


# Checkpoints


@pytest.mark.parametrize(
    ("name", "kind", "version", "layout", "is_old"),
    [
        ("keras3.keras", Kind.KERAS, "3", None, False),
        ("keras2.keras", Kind.KERAS, "2", None, True),
        ("keras3_legacy.h5", Kind.H5_MODEL, "3", None, False),
        ("keras2.h5", Kind.H5_MODEL, "2", None, True),
        ("keras3.weights.h5", Kind.H5_WEIGHTS, None, "keras_v3", False),
        ("keras2_legacy_weights.h5", Kind.H5_WEIGHTS, "2", "legacy", True),
        ("keras2_saved_model", Kind.SAVED_MODEL_KERAS, None, None, True),
        ("saved_model", Kind.SAVED_MODEL, None, None, False),
    ],
)
def test_a_checkpoint_is_known_by_what_is_in_it(
    written: Path, name: str, kind: Kind, version: str | None, layout: str | None, is_old: bool
) -> None:
    facts = examine(str(written / name))
    assert facts.kind is kind
    assert (facts.keras_version or "").partition(".")[0] == (version or "")
    assert facts.weights_layout == layout
    assert facts.written_before_keras_3() is is_old
    has_architecture = kind in (Kind.KERAS, Kind.H5_MODEL)
    assert (facts.config or {}).get("class_name") == ("Sequential" if has_architecture else None)


@pytest.mark.parametrize(
    ("name", "misnamed", "kind"),
    [
        ("keras3.keras", "model.bin", Kind.KERAS),
        ("keras3.keras", "model.h5", Kind.KERAS),
        ("keras2.h5", "model", Kind.H5_MODEL),
        ("keras2.h5", "model.keras", Kind.H5_MODEL),
        ("keras3.weights.h5", "model.keras", Kind.H5_WEIGHTS),
    ],
)
def test_a_name_that_lies_changes_nothing(written: Path, tmp_path: Path, name: str, misnamed: str, kind: Kind) -> None:
    shutil.copy(written / name, tmp_path / misnamed)
    assert examine(str(tmp_path / misnamed)).kind is kind


def test_a_layout_with_so_many_layers_that_their_names_are_split_is_still_the_legacy_one(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.h5"
    shutil.copy(written / "keras2_legacy_weights.h5", path)
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names0"] = file.attrs.pop("layer_names")
        del file.attrs["keras_version"]
    assert examine(str(path)).weights_layout == "legacy"


@pytest.mark.parametrize("version", [b"tf", 3, "", None], ids=repr)
def test_a_version_that_is_none_does_not_stop_anything(written: Path, tmp_path: Path, version: Any) -> None:
    path = tmp_path / "model.h5"
    shutil.copy(written / "keras2.h5", path)
    with h5py.File(path, "r+") as file:
        for holder in (file, file["model_weights"]):
            holder.attrs.pop("keras_version", None)
            if version is not None:
                holder.attrs["keras_version"] = version
    facts = examine(str(path))
    assert facts.keras_version is None
    assert facts.written_before_keras_3()


# What is none

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("notes.txt", b"hello", "LOAD_UNSUPPORTED", "neither a zip archive nor HDF5"),
        ("empty", b"", "LOAD_CORRUPT", "(0 bytes)"),
        ("pickle.pkl", b"\x80\x04\x95", "LOAD_UNSUPPORTED", "a Python pickle, which runs code when it is read"),
        ("lfs.keras", POINTER, "LOAD_CORRUPT", "git lfs pull"),
        ("lfs.h5", POINTER, "LOAD_CORRUPT", "a Git LFS pointer in place of a file of 12,345 bytes"),
        ("page.h5", b"\n<!DOCTYPE html><html>", "LOAD_CORRUPT", "curl -fL"),
        ("denied.keras", b"<?xml version='1.0'?><Error><Code>AccessDenied", "LOAD_CORRUPT", "an object store"),
        ("net.onnx", b"\x08\x0a\x12\x04onnx", "LOAD_UNSUPPORTED", "an ONNX model"),
        ("net.tflite", b"\x1c\0\0\0TFL3", "LOAD_UNSUPPORTED", "a LiteRT (.tflite) file already"),
        ("net.gguf", b"GGUF\x03", "LOAD_UNSUPPORTED", "a GGUF file"),
        ("net.safetensors", b'\x40\0\0\0\0\0\0\0{"w":', "LOAD_UNSUPPORTED", "a safetensors file"),
        ("net.pt", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "LOAD_UNSUPPORTED", "a PyTorch checkpoint"),
        ("graph.pb", b"\x0a\x05\x0a\x01x", "LOAD_UNSUPPORTED", "a frozen graph (GraphDef)"),
        ("saved_model.pb", b"\x08\x01\x12", "LOAD_UNSUPPORTED", "name the folder that holds it"),
        ("ck.data-00000-of-00001", b"weights", "LOAD_UNSUPPORTED", "name its index, ck.index"),
        ("checkpoint", b'model_checkpoint_path: "ckpt-1"', "LOAD_UNSUPPORTED", "name the folder, "),
        ("net.7z", b"7z\xbc\xaf\x27\x1c", "LOAD_UNSUPPORTED", "packed by 7-Zip; unpack it"),
        ("net.h5.gz", gzip.compress(b"\x89HDF\r\n\x1a\n"), "LOAD_UNSUPPORTED", "packed by gzip"),
        ("arrays.npz", b"PK\x05\x06" + bytes(18), "LOAD_UNSUPPORTED", "a NumPy file of arrays"),
        ("model.json", b'{"class_name": "Sequential", "config": {}}', "LOAD_UNSUPPORTED", "name the file of its weights"),
        ("empty.keras", b"", "LOAD_CORRUPT", "(0 bytes)"),
        (
            "text.keras",
            b"hello",
            "LOAD_CORRUPT",
            "text (5 bytes), most likely an error message in its place: it begins with 'hello'",
        ),
        ("error.h5", b'{"error": {"code": 404}}', "LOAD_CORRUPT", """it begins with '{"error": {"code": 404}}'"""),
        ("model.h5", b"\x80\x04\x95\x05\0\0\0.", "LOAD_UNSUPPORTED", "a Python pickle"),
        ("model.sav", b"\x80\x03}q\0.", "LOAD_UNSUPPORTED", "a Python pickle"),
        ("net.keras", b"\x08\x08\x12\x07pytorch\x1a\x052.4.0", "LOAD_UNSUPPORTED", "an ONNX model"),
        ("empty.h5", b"", "LOAD_CORRUPT", "(0 bytes)"),
        ("magic.h5", b"\x89HDF\r\n\x1a\n", "LOAD_CORRUPT", "not a whole HDF5 file"),
        ("magic.keras", b"PK\x03\x04", "LOAD_CORRUPT", "not a whole .keras archive"),
    ],
)
def test_what_is_no_checkpoint_says_what_it_is(tmp_path: Path, name: str, content: bytes, code: str, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert reason(tmp_path / name)[0] == code
    assert words in reason(tmp_path / name)[1]


def test_the_graph_of_a_saver_names_the_index_beside_it(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt-7.meta").write_bytes(b"\x0a\x05graph")
    (tmp_path / "model.ckpt-7.index").touch()
    assert "name the index beside it, model.ckpt-7.index" in reason(tmp_path / "model.ckpt-7.meta")[1]


def test_a_folder_is_looked_into_but_not_through_its_links(tmp_path: Path) -> None:
    elsewhere, saved = tmp_path / "elsewhere", tmp_path / "saved"
    for folder in (elsewhere, saved):
        folder.mkdir()
    (elsewhere / "variables.index").write_bytes(POINTER)
    (saved / "variables").symlink_to(elsewhere)
    refuse_foreign(str(saved), str(saved))
    (saved / "variables").unlink()
    elsewhere.rename(saved / "variables")
    with pytest.raises(ModelError, match="Git LFS pointer"):
        refuse_foreign(str(saved), str(saved))


def test_a_directory_without_a_graph_is_no_saved_model(tmp_path: Path) -> None:
    (tmp_path / "export" / "variables").mkdir(parents=True)
    assert reason(tmp_path / "export") == ("LOAD_UNSUPPORTED", reason(tmp_path / "export")[1])
    assert "a directory without saved_model.pb" in reason(tmp_path / "export")[1]


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_dead_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [make_pipe, make_dead_link])
def test_what_cannot_be_read_to_its_end_is_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.keras")
    assert detect(str(tmp_path / "a.keras")) is None
    assert reason(tmp_path / "a.keras")[0] == "LOAD_UNSUPPORTED"


# What was one


@pytest.mark.parametrize("name", ["keras3.keras", "keras2.keras", "keras2.h5", "keras3.weights.h5"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.99])
def test_a_file_that_was_cut_is_corrupt(written: Path, tmp_path: Path, name: str, share: float) -> None:
    whole = (written / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    code, message = reason(tmp_path / name)
    assert code == "LOAD_CORRUPT"
    assert f"({int(len(whole) * share):,} bytes)" in message


def test_a_byte_that_flipped_in_the_weights_is_found(written: Path, tmp_path: Path) -> None:
    content = bytearray((written / "keras3.keras").read_bytes())
    with zipfile.ZipFile(written / "keras3.keras") as archive:
        member = archive.getinfo("model.weights.h5")
    content[member.header_offset + member.file_size // 2] ^= 1
    (tmp_path / "a.keras").write_bytes(content)
    code, message = reason(tmp_path / "a.keras")
    assert code == "LOAD_CORRUPT"
    assert "model.weights.h5" in message


def archive(path: Path, **members: Any) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.json", content if isinstance(content, str) else json.dumps(content))
    return path


METADATA = {"keras_version": "3.15.0"}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"metadata": METADATA}, "config.json"),
        ({"config": {}}, "metadata.json"),
        ({"config": [1, 2], "metadata": METADATA}, "not a JSON object"),
        ({"config": {}, "metadata": "3"}, "not a JSON object"),
        ({"config": "{", "metadata": METADATA}, "not a whole .keras archive"),
        ({"config": "[" * 100_000, "metadata": METADATA}, "nests more than 200 levels deep"),
        ({"config": '{"a":' * 900 + "1" + "}" * 900, "metadata": METADATA}, "nests more than 200 levels deep"),
        ({"config": {}, "metadata": "[" * 100_000}, "nests more than 200 levels deep"),
    ],
    ids=["no config", "no metadata", "a list", "a number", "half of one", "endless", "deep", "endless metadata"],
)
def test_an_archive_without_a_usable_architecture_is_corrupt(tmp_path: Path, members: dict[str, Any], words: str) -> None:
    code, message = reason(archive(tmp_path / "a.keras", **members))
    assert code == "LOAD_CORRUPT"
    assert words in message


@pytest.mark.parametrize("config", ["[1]", "{", "[" * 100_000], ids=["a list", "half of one", "endless"])
def test_an_hdf5_file_without_a_usable_architecture_is_corrupt(tmp_path: Path, config: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["model_config"] = config
    assert reason(tmp_path / "a.h5")[0] == "LOAD_CORRUPT"


# Checkpoints in several files


def test_an_unzipped_archive_is_the_archive(written: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(written / "keras3.keras") as file:
        file.extractall(tmp_path / "unzipped")
    (tmp_path / "unzipped" / "README.md").write_text("a card")
    whole, folder = (examine(str(path)) for path in (written / "keras3.keras", tmp_path / "unzipped"))
    assert (folder.kind, folder.config, folder.keras_version) == (whole.kind, whole.config, whole.keras_version)
    assert folder.path is not None and "README.md" not in zipfile.ZipFile(folder.path).namelist()


def test_a_link_out_of_an_unzipped_archive_is_refused(written: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(written / "keras3.keras") as file:
        file.extractall(tmp_path / "unzipped")
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "unzipped" / "config.json").unlink()
    (tmp_path / "unzipped" / "config.json").symlink_to(tmp_path / "secret.json")
    assert reason(tmp_path / "unzipped")[0] == "LOAD_UNSAFE"


def test_weights_with_their_architecture_beside_them_are_a_whole_model(written: Path, tmp_path: Path) -> None:
    (tmp_path / "model.weights.h5").write_bytes((written / "keras3.weights.h5").read_bytes())
    assert examine(str(tmp_path / "model.weights.h5")).config is None
    with zipfile.ZipFile(written / "keras3.keras") as file:
        (tmp_path / "model.json").write_bytes(file.read("config.json"))
    assert examine(str(tmp_path / "model.weights.h5")).kind.value == "keras"
    assert examine(str(tmp_path / "model.weights.h5"), has_builder=True).kind.value == "h5_weights"


def test_shards_are_put_together_and_may_not_lie_elsewhere(tmp_path: Path) -> None:
    for number in range(2):
        with h5py.File(tmp_path / f"m_{number:05}.weights.h5", "w") as file:
            file[f"layers/dense_{number}/vars/0"] = [float(number)]
    index = tmp_path / "m.weights.json"
    index.write_text(json.dumps({"weight_map": {"/a": "m_00000.weights.h5", "/b": ["m_00001.weights.h5"]}}))
    place = examine(str(index)).path
    with h5py.File(place, "r") as file:
        assert [file[f"layers/dense_{number}/vars/0"][0] for number in range(2)] == [0.0, 1.0]
    code, told = reason(tmp_path / "m_00000.weights.h5")
    assert code == "LOAD_UNSUPPORTED" and "name m.weights.json" in told
    index.write_text(json.dumps({"weight_map": {"/a": "../m_00000.weights.h5"}}))
    assert reason(index)[0] == "LOAD_UNSAFE"
    index.write_text(json.dumps({"weight_map": {"/a": ["m_00000.weights.h5", "gone.weights.h5"]}}))
    assert reason(index)[0] == "LOAD_CORRUPT"
