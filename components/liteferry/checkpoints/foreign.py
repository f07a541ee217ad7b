"""Recognises, by their bytes, files that are named like checkpoints but are something else, and names the fix for each kind."""

from __future__ import annotations

import json
import os
import re
import zipfile

from liteferry.errors import ModelError, ReasonCode, Stage

_HEAD_BYTES = 512
_SHARD_OF_BUNDLE = re.compile(r"(.+)\.data-\d{5}-of-\d{5}$")
_SHARD_OF_WEIGHTS = re.compile(r"(.+)_\d{5}\.weights\.h5$")
_TORCH_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa85019")
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_OF_PICKLES = (".pkl", ".pickle", ".joblib", ".dat", ".p", ".pt", ".pth", ".bin", ".ckpt", "")
_ONNX = re.compile(rb"\x08[\x03-\x0f]\x12")  # its version of the format, then the name of its producer
_PACKED = {b"7z\xbc\xaf\x27\x1c": "7-Zip", b"Rar!\x1a\x07": "RAR", b"\x28\xb5\x2f\xfd": "zstd"}
_SAVE_AGAIN = "save it with Keras (`model.save('model.keras')`) or TensorFlow (a SavedModel) and name that"
_PRESET_FILES = {"task.json", "preprocessor.json", "tokenizer.json"}


def refuse_foreign(path: str, place: str) -> None:
    """Raises for a file or folder of a known kind that is not a checkpoint that LiteFerry reads.

    Args:
      path: as the job names it.
      place: where it lies.

    Raises:
      ModelError: LOAD_CORRUPT for a placeholder of a checkpoint (a Git LFS pointer, an error page, an empty file),
        LOAD_UNSUPPORTED for other kinds of files, each with its fix.
    """
    if os.path.isdir(place):
        _refuse_folder(path, place)
        return
    if not os.path.isfile(place):
        return
    with open(place, "rb") as file:
        head = file.read(_HEAD_BYTES)
    name = os.path.basename(place)
    _refuse_stand_in(path, head)
    if name.lower().endswith(_NEVER_TEXT) and (begins := _as_text(head)) is not None:
        told = f"text ({os.path.getsize(place):,} bytes), most likely an error message in its place: it begins with {begins!r}"
        raise _corrupt(path, told, _DOWNLOAD)
    what = _other_format(place, name, head) or _shard(place, name, head)
    if what is not None:
        raise unsupported(path, *what)


def _refuse_folder(path: str, place: str) -> None:
    for name in ("saved_model.pb", "config.json", "model.weights.h5", os.path.join("variables", "variables.index")):
        inner = os.path.join(place, name)
        # Not through a link, of the file or of the folder that it is in: the rule for links comes later.
        if os.path.isfile(inner) and os.path.realpath(inner) == os.path.join(os.path.realpath(place), name):
            with open(inner, "rb") as file:
                _refuse_stand_in(f"{path}: its {name}", file.read(_HEAD_BYTES))
    names = set(os.listdir(place)) if os.access(place, os.R_OK) else set()
    has_weights = bool(names & {"model.weights.h5", "model.weights.json"})
    if names & _PRESET_FILES and not has_weights and not any(name.endswith((".safetensors", ".bin")) for name in names):
        fix = "name the preset of the model, which has model.weights.h5 in it, with `modules: [keras_hub]`"
        raise unsupported(path, f"the part of a KerasHub preset that prepares inputs ({min(names & _PRESET_FILES)})", fix)
    is_keras = os.path.isdir(os.path.join(place, "pytree"))
    if names & {"_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt"} and not names & {"saved_model.pb"} and not is_keras:
        fix = "load it into your model and save that: `model.save('model.keras')`"
        raise unsupported(path, "an Orbax checkpoint that no callback of Keras has written: arrays without an architecture", fix)
    holds_theirs = any(name.endswith((".safetensors", ".bin", ".pt", ".pth")) for name in names)
    if holds_theirs and not names & {"model.weights.h5", "saved_model.pb", "metadata.json"}:
        fix = f"LiteFerry exports models of TensorFlow and Keras; {_SAVE_AGAIN}"
        raise unsupported(path, "a folder of PyTorch or safetensors weights", fix)


def _refuse_stand_in(path: str, head: bytes) -> None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise _corrupt(path, "an empty file (0 bytes)", "copy or download the checkpoint again")
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        size = re.search(rb"\nsize (\d+)", head)
        behind = f" in place of a file of {int(size[1]):,} bytes" if size else ""
        raise _corrupt(path, f"a Git LFS pointer{behind}", "fetch the file itself with `git lfs pull` in its repository")
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        raise _corrupt(path, "an HTML page, most likely an error or a login page that was downloaded in its place", _DOWNLOAD)
    if text.startswith(b"<?xml") and b"<error>" in text:
        raise _corrupt(path, "the error message of an object store", _DOWNLOAD)


_NEVER_TEXT = (".keras", ".h5", ".hdf5", ".zip", ".gz", ".tgz", ".tar")
_SHOWN = 60


def _as_text(head: bytes) -> str | None:
    """The beginning of a file that is text; None for any other."""
    try:
        text = head.decode("utf-8-sig", "strict" if len(head) < _HEAD_BYTES else "ignore")
    except UnicodeDecodeError:
        return None
    is_text = all(character.isprintable() or character in "\t\r\n" for character in text)
    return " ".join(text[:_SHOWN].split()) if is_text else None


_DOWNLOAD = "download the checkpoint again, and look at what the server says (`curl -fL`)"


def _other_format(place: str, name: str, head: bytes) -> tuple[str, str] | None:
    """LOAD_UNSUPPORTED for a file of another library, saying what it is and how to convert it; None for other files."""
    suffix = os.path.splitext(name)[1].lower()
    if head[4:8] == b"TFL3":
        hint = "there is nothing to export; `liteferry inspect` shows what it holds, `liteferry compare` holds it against another"
        return "a LiteRT (.tflite) file already", hint
    if suffix == ".onnx" or (_ONNX.match(head) and suffix != ".pb"):
        return "an ONNX model", f"convert it back where it was made: {_SAVE_AGAIN}"
    if head[:4] == b"GGUF":
        return "a GGUF file of llama.cpp", _SAVE_AGAIN
    if _is_safetensors(head):
        return "a safetensors file, which holds arrays and no architecture", f"load it into its model and {_SAVE_AGAIN}"
    if _TORCH_MAGIC in head[:32] or _is_torch_archive(place, head):
        return "a PyTorch checkpoint", f"LiteFerry exports models of TensorFlow and Keras; {_SAVE_AGAIN}"
    if _PICKLE.match(head) and (suffix in _OF_PICKLES or _ends_as_pickle(place)):
        return (
            "a Python pickle, which runs code when it is read and is never opened",
            f"load it where you trust it and {_SAVE_AGAIN}",
        )
    if suffix == ".pb":
        return _graph_file(name, head)
    if suffix == ".json" and not name.endswith(".weights.json"):
        return _json_file(place)
    if suffix == ".npz" or head[:6] == b"\x93NUMPY":
        return "a NumPy file of arrays without an architecture", f"set them as the weights of their model and {_SAVE_AGAIN}"
    packed = next((packer for magic, packer in _PACKED.items() if head.startswith(magic)), None)
    return None if packed is None else (f"packed by {packed}", "unpack it, and name what was in it")


def _json_file(place: str) -> tuple[str, str] | None:
    if is_architecture(place):
        fix = "name the file of its weights, which is taken with a JSON file of its name, or a model.json, beside it"
        return "an architecture without weights (`model.to_json()`)", fix
    with open(place, encoding="utf-8", errors="replace") as file:
        head = file.read(2**16)
    if '"modelTopology"' in head or '"weightsManifest"' in head:
        return "a model of TensorFlow.js", f"convert it back where it was made: {_SAVE_AGAIN}"
    return None


def _graph_file(name: str, head: bytes) -> tuple[str, str] | None:
    if name == "saved_model.pb" or head[:1] == b"\x08":
        return "the graph of a SavedModel without its folder", "name the folder that holds it, with variables/ beside it"
    if head[:1] == b"\x0a":
        fix = "wrap it with `tf.compat.v1.wrap_function` over its inputs and outputs, save that with `tf.saved_model.save`"
        what = "a frozen graph (GraphDef), which does not say what its inputs and outputs are"
        return what, f"{fix}, and name the SavedModel's folder"
    return None


def _shard(place: str, name: str, head: bytes) -> tuple[str, str] | None:
    """LOAD_UNSUPPORTED if the path is only one part of a checkpoint."""
    bundle = _SHARD_OF_BUNDLE.fullmatch(name)
    if bundle:
        return "one data file of a TensorFlow checkpoint", f"name its index, {bundle[1]}.index"
    if name == "checkpoint" and b"model_checkpoint_path:" in head:
        return "the list of a folder's TensorFlow checkpoints", f"name the folder, {os.path.dirname(place)}"
    if name.endswith(".meta") and os.path.isfile(f"{place.removesuffix('.meta')}.index"):
        return (
            "the graph of TensorFlow 1's Saver, without its arrays",
            f"name the index beside it, {name.removesuffix('.meta')}.index",
        )
    above = os.path.dirname(os.path.dirname(place))
    if name == "variables.index" and os.path.isfile(os.path.join(above, "saved_model.pb")):
        return "the variables of a SavedModel", f"name its folder, {above}"
    weights = _SHARD_OF_WEIGHTS.fullmatch(name)
    if weights and os.path.isfile(os.path.join(os.path.dirname(place), f"{weights[1]}.weights.json")):
        return "one shard of sharded weights", f"name {weights[1]}.weights.json, which lists all of them"
    return None


def _ends_as_pickle(place: str) -> bool:
    with open(place, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"."


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 10 and int.from_bytes(head[:8], "little") < 2**32 and head[8:10] == b'{"'


def _is_torch_archive(place: str, head: bytes) -> bool:
    if not head.startswith(b"PK"):
        return False
    try:
        with zipfile.ZipFile(place) as archive:
            return any(name.endswith("/data.pkl") or name == "data.pkl" for name in archive.namelist()[:1000])
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def is_architecture(place: str) -> bool:
    """Whether a JSON file is a Keras architecture, as `model.to_json()` writes it."""
    try:
        with open(place, encoding="utf-8") as file:
            found = json.loads(file.read(2**28))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and isinstance(found.get("class_name"), str) and "config" in found


def of_transformers(path: str) -> str:
    """What to do about the weights of Hugging Face's transformers, which writes them under one name; empty for others."""
    if path.replace("\\", "/").rpartition("/")[2] != "tf_model.h5":
        return ""
    fix = "model.save_pretrained(FOLDER, saved_model=True), and name FOLDER/saved_model"
    return f" (of transformers, it seems: or save a SavedModel there, {fix})"


def unsupported(path: str, what: str, fix: str) -> ModelError:
    """LOAD_UNSUPPORTED for a known kind of file, with its fix."""
    return ModelError(ReasonCode.LOAD_UNSUPPORTED, Stage.LOAD, f"{path} is {what}; {fix}")


def _corrupt(path: str, what: str, fix: str) -> ModelError:
    return ModelError(ReasonCode.LOAD_CORRUPT, Stage.LOAD, f"{path} is {what}; {fix}")
