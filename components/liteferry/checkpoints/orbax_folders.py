"""Puts an Orbax checkpoint of Keras together as one file: the `.keras` archive of a model, or the HDF5 file of its weights, with
every array under the path of its variable.

Source of the layout: `keras/src/callbacks/orbax_checkpoint.py`. A step's folder has `pytree` with the variables by their paths,
`model_config` unless only weights were saved, and `assets` where layers have vocabularies. The arrays are Zarr in a key-value
store of Orbax's, which TensorStore reads.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from typing import Any

from liteferry.checkpoints import archives, scanned_copy
from liteferry.checkpoints.foreign import unsupported
from liteferry.checkpoints.h5_files import unsafe
from liteferry.checkpoints.links import LinkRule, follow_part
from liteferry.json_records import parse

_TREE, _CONFIG, _ASSETS = "pytree", "model_config", "assets"
_CONFIG_FILES = ("_strings.json", "data.json", "metadata")  # Orbax stores texts apart from arrays, or a dict as JSON
_OF_THE_MODEL = ("trainable_variables", "non_trainable_variables")
_OF_TRAINING = {"optimizer_variables", "metrics_variables"}
_RANDOM_STATE = "seed_generator_state"  # of a random generator, which inference does not use
_EMPTY = ("Dict", "List", "None", "NamedTuple")
_MOST_JSON_BYTES = 256 * 2**20
_MOST_FILES = 100_000
# Only Keras 3 writes such folders, and does not say which Keras 3.
_KERAS_VERSION = "3.0"
_FIX = "load it with `keras.models.load_model(FOLDER)`, the folder of all steps, save that as model.keras, and name that file"


def is_step(folder: str) -> bool:
    """Whether a folder is one step that `keras.callbacks.OrbaxCheckpoint` has written."""
    return os.path.isfile(os.path.join(folder, _TREE, "_METADATA"))


def has_architecture(folder: str) -> bool:
    """Whether a step holds a whole model, not only weights."""
    return any(os.path.isfile(os.path.join(folder, _CONFIG, name)) for name in _CONFIG_FILES)


def as_one_file(path: str, folder: str, rule: LinkRule) -> str:
    """Makes the file.

    Args:
      path: as the job names the checkpoint, for errors.
      folder: where it lies, without links.
      rule: where links in it may lead.

    Raises:
      ModelError: LOAD_UNSUPPORTED without TensorStore, and for vocabularies; LOAD_UNSAFE for links that lead out, and for arrays
        that claim impossible sizes.
      ValueError: it is damaged.
    """
    import h5py

    if os.path.isdir(os.path.join(folder, _ASSETS)):
        raise unsupported(path, "an Orbax checkpoint with files of layers, such as vocabularies, beside its arrays", _FIX)
    copy = _copied(path, folder, rule)
    work = scanned_copy.private_folder()
    weights = os.path.join(work, "orbax.h5")
    with h5py.File(weights, "x") as file:
        for keys, array in _arrays(path, os.path.join(copy, _TREE)):
            file["/".join(keys)] = array
    if not has_architecture(copy):
        return weights
    target = os.path.join(work, "orbax.keras")
    with zipfile.ZipFile(target, "x") as archive:
        archive.writestr("config.json", json.dumps(_config(copy)))
        archive.writestr("metadata.json", json.dumps({"keras_version": _KERAS_VERSION}))
        archive.write(weights, "model.weights.h5")
    return target


def _copied(path: str, folder: str, rule: LinkRule) -> str:
    """The files of the variables and of the architecture in a private folder: TensorStore follows links."""
    target = scanned_copy.private_folder()
    count = 0
    for part in (_TREE, _CONFIG):
        for above, _, names in os.walk(os.path.join(folder, part)):
            for name in names:
                count += 1
                if count > _MOST_FILES:
                    raise unsafe(path, f"it holds more than {_MOST_FILES:,} files")
                relative = os.path.relpath(os.path.join(above, name), folder)
                place = os.path.join(target, relative)
                os.makedirs(os.path.dirname(place), exist_ok=True)
                scanned_copy.copy_file(follow_part(path, folder, relative, rule), place)
    return target


def _config(copy: str) -> dict[str, Any]:
    places = [os.path.join(copy, _CONFIG, name) for name in _CONFIG_FILES]
    with open(next(filter(os.path.isfile, places)), "rb") as file:
        told = parse(file.read(_MOST_JSON_BYTES))
    config = parse(told["config"]) if isinstance(told, dict) and isinstance(told.get("config"), str) else None
    if not isinstance(config, dict):
        raise ValueError("its model_config holds no architecture")
    return config


def _arrays(path: str, tree: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The model's variables: (trainable_variables or non_trainable_variables, *path), values."""
    with open(os.path.join(tree, "_METADATA"), "rb") as file:
        told = parse(file.read(_MOST_JSON_BYTES))
    names = list(_variables(told))
    unknown = sorted({keys[0] for keys in names} - {*_OF_THE_MODEL, *_OF_TRAINING})
    if unknown:
        raise unsupported(path, f"an Orbax checkpoint of something else than a Keras model ({', '.join(unknown[:5])})", _FIX)
    try:
        import tensorstore
    except ImportError as error:
        fix = "install what reads them, `pip install 'liteferry[orbax]'`"
        raise unsupported(path, "an Orbax checkpoint, whose arrays TensorStore holds", fix) from error
    base: dict[str, Any] = {"driver": "file", "path": f"{tree}/"}
    is_one_store = bool(told.get("use_ocdbt"))
    wanted = [keys for part in _OF_THE_MODEL for keys in names if keys[0] == part and keys[-1] != _RANDOM_STATE]
    stored = sum(os.path.getsize(os.path.join(above, name)) for above, _, files in os.walk(tree) for name in files)
    claimed = 0
    for keys in wanted:
        name = f"{'.'.join(keys)}/"
        place = {"driver": "ocdbt", "base": base, "path": name} if is_one_store else {**base, "path": f"{tree}/{name}"}
        spec = {"driver": "zarr3" if told.get("use_zarr3") else "zarr", "kvstore": place}
        array = tensorstore.open(spec, open=True, read=True).result()
        claimed += int(array.size) * array.dtype.numpy_dtype.itemsize
        archives.refuse_sizes(path, claimed, len(wanted), stored)
        values = array.read().result()
        yield keys, values.astype("float32") if values.dtype.kind == "V" else values  # HDF5 does not know bfloat16


def _variables(told: Any) -> Iterator[tuple[str, ...]]:
    """The path of every array; empty dicts are named, too, and hold none."""
    for entry in told["tree_metadata"].values():
        if entry["value_metadata"].get("value_type") in _EMPTY:
            continue
        keys = tuple(str(key["key"]) for key in entry["key_metadata"])
        if len(keys) < 2 or any(key in ("", ".", "..") or "/" in key for key in keys):
            raise ValueError(f"it names an array {keys!r}")
        yield keys
