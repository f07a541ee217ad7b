"""Puts a checkpoint of several files together as one file, the one that its library writes, in a private folder.

An unzipped `.keras` folder becomes the archive, sharded weights become one weights file, and an architecture beside weights
becomes the whole model: that file is scanned like any other of its kind, and then loaded.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from typing import Any

from liteferry.checkpoints import scanned_copy
from liteferry.checkpoints.h5_files import refuse_ambiguous, refuse_unsafe, unsafe
from liteferry.checkpoints.links import LinkRule, follow_part
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.json_records import parse

SHARDED = ".weights.json"
_MOST_JSON_BYTES = 256 * 2**20
_MOST_FILES = 100_000
_WEIGHTS_ENDINGS = (".weights.h5", "_weights.h5", "-weights.h5", ".h5", ".hdf5")
_ARCHITECTURES = ("model.json", "architecture.json", "model_architecture.json", "model_config.json", "config.json")


def is_unzipped(folder: str) -> bool:
    """Whether a folder is a `.keras` archive that is not zipped: `save(zipped=False)`, and what `hf://` holds."""
    names = [os.path.join(folder, name) for name in ("config.json", "metadata.json")]
    weights = (os.path.join(folder, f"model.weights.{ending}") for ending in ("h5", "json", "npz"))
    return all(map(os.path.isfile, names)) and any(map(os.path.lexists, weights))


def zipped(path: str, folder: str, rule: LinkRule) -> str:
    """Makes a `.keras` archive from a folder with its contents. Other files there, for example a README, are left out.

    Args:
      path: as the job names it, for errors.
      folder: where it lies, without links.
      rule: where links in it may lead.
    """
    target = os.path.join(scanned_copy.private_folder(), "unzipped.keras")
    with zipfile.ZipFile(target, "x") as archive:
        for name in _members(path, folder):
            with (
                scanned_copy.opened(readable_part(path, folder, name, rule)) as source,
                archive.open(name, "w", force_zip64=True) as out,
            ):
                while piece := source.read(2**26):
                    out.write(piece)
    return target


def _members(path: str, folder: str) -> Iterator[str]:
    count = 0
    for above, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            relative = os.path.relpath(os.path.join(above, name), folder).replace(os.sep, "/")
            count += 1
            if count > _MOST_FILES:
                raise unsafe(path, f"it holds more than {_MOST_FILES:,} files")
            if scanned_copy.is_member(relative):
                yield relative


def readable_part(path: str, folder: str, name: str, rule: LinkRule) -> str:
    """The real path of a file in a checkpoint's folder.

    Raises:
      ModelError: LOAD_CORRUPT if it is not there, LOAD_UNSAFE for a link that leads out.
    """
    real = follow_part(path, folder, name, rule)
    if not os.path.isfile(real):
        raise ModelError(
            ReasonCode.LOAD_CORRUPT, Stage.LOAD, f"{path}: its {name} is not there, or no file; copy or save the checkpoint again"
        )
    return real


def checkpoints_inside(place: str) -> list[str]:
    """The names of the checkpoints in a zip file that is not a checkpoint itself."""
    try:
        with zipfile.ZipFile(place) as archive:
            return [name for name in archive.namelist()[:1000] if name.endswith((".keras", ".h5", "saved_model.pb"))]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []


def companions(path: str) -> list[str]:
    """The files beside a checkpoint's file that are read with it, by their names alone: the shards of sharded weights, the
    architecture of weights.
    """
    if path.endswith(SHARDED):
        start = path.removesuffix(SHARDED)
        shards = (f"{start}_{number:05}.weights.h5" for number in range(scanned_copy.MOST_SHARDS))
        found = []
        for shard in shards:
            if not os.path.lexists(shard):
                break
            found.append(shard)
        return found
    beside = architecture_beside(path)
    return [] if beside is None else [beside]


def architecture_beside(path: str) -> str | None:
    """The JSON file that may hold the architecture of a file of weights: a file of the same name, else one of the usual names
    for an architecture.
    """
    ending = next((ending for ending in _WEIGHTS_ENDINGS if path.endswith(ending)), None)
    if ending is None:
        return None
    own = f"{path.removesuffix(ending)}.json"
    others = (os.path.join(os.path.dirname(path), name) for name in _ARCHITECTURES)
    return next((place for place in (own, *others) if os.path.isfile(place)), None)


def merged(path: str, place: str, rule: LinkRule) -> str:
    """Sharded weights, `NAME.weights.json` and its shards, as one weights file.

    Raises:
      ModelError: LOAD_CORRUPT when it lists a shard that is not there, LOAD_UNSAFE for shards elsewhere or arrays that are there
        twice.
    """
    import h5py

    with scanned_copy.opened(place) as file:
        listed = parse(file.read(_MOST_JSON_BYTES))
    names = _shard_names(path, listed)
    folder = os.path.dirname(place)
    target = os.path.join(scanned_copy.private_folder(), "merged.weights.h5")
    with h5py.File(target, "w") as whole:
        for name in names:
            merge_file(path, readable_part(path, folder, name, rule), whole)
    return target


def merge_file(path: str, place: str, target: Any) -> None:
    """Copies everything in an HDF5 file into an open group, after the file was copied and scanned.

    Args:
      path: as the job names the checkpoint, for errors.

    Raises:
      ModelError: LOAD_UNSAFE for arrays that the group has already, and for what no HDF5 file may hold.
    """
    import h5py

    shown = f"{path} ({os.path.basename(place)})"
    copy = scanned_copy.copy_file(place, os.path.join(scanned_copy.private_folder(), "part.h5"))
    with scanned_copy.opened(copy) as stream:
        refuse_ambiguous(shown, stream, os.fstat(stream.fileno()).st_size)
    with h5py.File(copy, "r") as part:
        refuse_unsafe(shown, part, stored_bytes=os.path.getsize(copy))
        _merge(path, part, target)
    os.unlink(copy)


def _shard_names(path: str, listed: Any) -> list[str]:
    weight_map = listed.get("weight_map") if isinstance(listed, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(
            ReasonCode.LOAD_UNSUPPORTED,
            Stage.LOAD,
            f"{path} lists no shards under weight_map, so it is no sharded weights of Keras; name the checkpoint itself",
        )
    found: dict[str, None] = {}
    for value in weight_map.values():
        for name in value if isinstance(value, list) else [value]:
            if not isinstance(name, str) or os.path.basename(name) != name or name in ("", ".", ".."):
                raise unsafe(path, f"it lists {name!r} as a shard, which is no name of a file beside it")
            found[name] = None
    return sorted(found)


def _merge(path: str, source: Any, target: Any) -> None:
    import h5py

    for key, value in source.attrs.items():
        if key not in target.attrs:
            target.attrs[key] = value
    for name in source:
        item = source[name]
        if isinstance(item, h5py.Group):
            _merge(path, item, target.require_group(name))
        elif name in target:
            raise unsafe(path, f"its files hold the array {item.name} twice")
        else:
            source.copy(item, target, name)


def whole_model(path: str, weights: str, architecture: str, *, is_legacy: bool) -> str:
    """Weights and the architecture that lies beside them as one file with both: a `.keras` archive for weights of the new layout,
    an HDF5 model for those of the legacy one.

    Args:
      path: as the job names the weights, for errors.
      weights: where they lie.
      architecture: the JSON file, as `model.to_json()` writes it.
      is_legacy: the layout of the weights.

    Raises:
      ModelError: LOAD_CORRUPT when the JSON file is no architecture.
    """
    with scanned_copy.opened(os.path.realpath(architecture)) as file:
        config = parse(file.read(_MOST_JSON_BYTES))
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise ModelError(
            ReasonCode.LOAD_CORRUPT, Stage.LOAD, f"{path}: {architecture} beside it is no architecture of Keras; write it again"
        )
    folder = scanned_copy.private_folder()
    if is_legacy:
        return _as_h5_model(weights, config, os.path.join(folder, "gathered.h5"))
    target = os.path.join(folder, "gathered.keras")
    metadata = {"keras_version": config.get("keras_version")}
    with zipfile.ZipFile(target, "x") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps(metadata))
        with scanned_copy.opened(weights) as source, archive.open("model.weights.h5", "w", force_zip64=True) as out:
            while piece := source.read(2**26):
                out.write(piece)
    return target


def _as_h5_model(weights: str, config: dict[str, Any], target: str) -> str:
    import h5py

    with h5py.File(weights, "r") as source, h5py.File(target, "x") as whole:
        group = whole.create_group("model_weights")
        for key, value in source.attrs.items():
            group.attrs[key] = value
        for name in source:
            source.copy(source[name], group, name)
        whole.attrs["model_config"] = json.dumps(config).encode()
        for key in ("keras_version", "backend"):
            value = config.get(key) or source.attrs.get(key)
            if value is not None:
                whole.attrs[key] = value
    return target
