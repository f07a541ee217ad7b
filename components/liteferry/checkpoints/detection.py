"""Determines the kind of a checkpoint from its bytes and configs. Builds nothing, runs nothing, imports no TensorFlow.

Source of the layouts: `keras/src/saving/saving_lib.py` (.keras, .weights.h5), `tf_keras/src/saving/legacy/hdf5_format.py` (legacy
H5), TensorFlow's SavedModel directory.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import os
import re
import zipfile
import zlib
from typing import Any

from liteferry.checkpoints import archives, foreign, gathered, h5_files, orbax_folders, presets, scanned_copy, tf_checkpoint_files
from liteferry.checkpoints.config_scan import without_training
from liteferry.checkpoints.h5_files import refuse_ambiguous, refuse_unsafe
from liteferry.checkpoints.known import Known
from liteferry.checkpoints.links import WRITTEN_OUT, LinkRule, follow, follow_part
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.json_records import parse

_ZIP_MAGIC = b"PK"
# A config is text; the largest published ones are a few megabytes. Anything beyond is refused before it is read into memory.
_MAX_CONFIG_BYTES = 256 * 2**20


BY_PATH = "by_path"  # a layout of weights: every array under its variable's path
_OPTIMIZER_GROUPS = {"optimizer", "optimizer_weights", "_optimizer"}


class Kind(str, enum.Enum):
    """The kinds of checkpoint LiteFerry reads."""

    KERAS = "keras"  # a .keras archive, of Keras 3 or of Keras 2.12 to 2.15
    H5_MODEL = "h5_model"  # legacy HDF5 with architecture and weights
    H5_WEIGHTS = "h5_weights"  # HDF5 with weights only; needs a builder
    SAVED_MODEL_KERAS = "saved_model_keras"  # a SavedModel directory that carries Keras metadata
    SAVED_MODEL = "saved_model"  # any other SavedModel directory
    TF_CHECKPOINT = "tf_checkpoint"  # tf.train.Checkpoint or TensorFlow 1's Saver; needs a builder
    ARCHIVE = "archive"  # a .zip or .tar.gz with one of the above inside


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointFacts:
    """The facts that the files themselves contain. `config` is the architecture as parsed JSON, None where the kind holds none.

    `weights_layout` tells the HDF5 dialects apart ("legacy", "keras_v3", or "by_path" for what an Orbax folder is put together
    as); it is None for other kinds. `path` is what
    loaders get: for `examine` a private copy, for `look` the original (for an archive, the folder it was unpacked into).
    `found_at` is the place where the file or folder was found, on this machine or on a store; for the content of an archive, the
    place that it would have after unpacking beside the archive.
    """

    kind: Kind
    keras_version: str | None = None
    config: dict[str, Any] | None = None
    weights_layout: str | None = None
    path: str | None = None
    found_at: str | None = None

    def written_before_keras_3(self) -> bool:
        """Whether the checkpoint was written by Keras 2. A weights-only file of the new layout does not say so: its builder
        decides.
        """
        if self.keras_version is not None:
            return int(self.keras_version.split(".")[0]) < 3
        return self.kind in (Kind.H5_MODEL, Kind.SAVED_MODEL_KERAS) or self.weights_layout == "legacy"


def detect(path: str) -> Kind | None:
    """The kind of checkpoint at a local path by its first bytes; None when it is not a checkpoint. H5 files count as H5_MODEL
    until `examine` reads them.
    """
    if os.path.isdir(path):
        if not os.path.isfile(os.path.join(path, "saved_model.pb")):
            if gathered.is_unzipped(path):
                return Kind.KERAS
            if orbax_folders.is_step(path):  # the kind of the file that it is put together as
                return Kind.KERAS if orbax_folders.has_architecture(path) else Kind.H5_MODEL
            return Kind.TF_CHECKPOINT if tf_checkpoint_files.latest_prefix(path) else None
        has_metadata = os.path.isfile(os.path.join(path, "keras_metadata.pb"))
        return Kind.SAVED_MODEL_KERAS if has_metadata else Kind.SAVED_MODEL
    if os.path.lexists(path) and not os.path.isfile(path):
        return None  # reading a pipe would never end; a broken link cannot be read
    with open(path, "rb") as file:
        magic = file.read(8)
    if magic == h5_files.MAGIC:
        return Kind.H5_MODEL
    if path.endswith(".keras"):
        return Kind.KERAS
    if archives.is_tar(path):
        return Kind.ARCHIVE
    if magic.startswith(_ZIP_MAGIC):
        return Kind.KERAS if _is_keras_archive(path) else Kind.ARCHIVE
    if tf_checkpoint_files.is_index(path):
        return Kind.TF_CHECKPOINT
    if path.endswith((".h5", ".hdf5", gathered.SHARDED)):
        return Kind.H5_MODEL
    return None


def _is_keras_archive(path: str) -> bool:
    """Whether a zip file by another name is a `.keras` archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "config.json" in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return not path.lower().endswith(".zip")


def examine(
    path: str,
    *,
    most_bytes: int = archives.MAX_BYTES,
    links: LinkRule = WRITTEN_OUT,
    has_builder: bool = False,
    found_at: str | None = None,
) -> CheckpointFacts:
    """Copies a checkpoint and scans the copy: reads the facts that the files contain, and searches for content that no loader
    should see.

    `path` of the result is the copy, in the sandbox's scratch: the only file that may be handed to a loader. The copy holds
    only scanned parts, without training settings, under a file name that only one reader accepts; see `scanned_copy`.

    Args:
      path: as the job names it.
      most_bytes: that an archive may unpack to.
      links: where symbolic links may lead.
      has_builder: the job names a builder, so an architecture file beside the weights is ignored.
      found_at: where the checkpoint was found, if `path` is a local copy of it.

    Raises:
      ModelError: LOAD_CORRUPT for a broken file, LOAD_UNSUPPORTED for something that is no checkpoint, LOAD_UNSAFE for files
        that refer to other files, that are valid in two formats at once, or that claim impossible sizes.
    """
    return _examine(_Request(path, most_bytes, links, True, has_builder, found_at=found_at), follow(path, links))


def look(
    path: str,
    *,
    most_bytes: int = archives.MAX_BYTES,
    links: LinkRule = WRITTEN_OUT,
    has_builder: bool = False,
    known: Known | None = None,
) -> CheckpointFacts:
    """`examine` without a copy, for callers that only read: never pass `path` of the result to a loader. Archives are still
    unpacked into a temporary folder, and checkpoints of several files are put together there. `known`: the siblings seen before,
    of which an equal architecture and equal metadata of weights are not scanned again.
    """
    return _examine(_Request(path, most_bytes, links, False, has_builder, known), follow(path, links))


@dataclasses.dataclass(frozen=True)
class _Request:
    """The arguments of `examine` and `look`. `is_copied`: True for `examine`, which copies what it scans."""

    path: str
    most_bytes: int
    links: LinkRule
    is_copied: bool
    has_builder: bool
    known: Known | None = None
    found_at: str | None = None


def _examine(asked: _Request, place: str) -> CheckpointFacts:
    path, links, copy = asked.path, asked.links, asked.is_copied
    foreign.refuse_foreign(path, place)
    kind = detect(place) if os.path.lexists(place) or not os.path.islink(path) else None
    if kind is Kind.ARCHIVE:
        return _examine_unpacked(asked, place)
    if kind is None:
        raise _no_checkpoint(path, place)
    if kind is Kind.KERAS:
        archive = _as_archive(path, place, links) if os.path.isdir(place) else place
        facts = _examine_archive(path, archive, copy=copy, known=asked.known)
    elif kind is Kind.H5_MODEL:
        weights = _as_one_file(path, place, links)
        facts = _examine_h5(path, weights, copy=copy)
        beside = gathered.architecture_beside(place) if facts.kind is Kind.H5_WEIGHTS and not asked.has_builder else None
        if beside is not None:  # resolved before the file is read: a link may lead to another user's file
            architecture = follow_part(path, os.path.dirname(place), os.path.basename(beside), links)
            if foreign.is_architecture(architecture):
                facts = _examine_with_architecture(path, facts, architecture)
    elif kind is Kind.TF_CHECKPOINT:
        prefix = tf_checkpoint_files.prefix_of(place)
        copied = f"{scanned_copy.copy_bundle(path, prefix, scanned_copy.private_folder(), links)}.index" if copy else place
        facts = CheckpointFacts(kind=kind, path=copied)
    else:
        facts = CheckpointFacts(kind=kind, path=scanned_copy.copy_saved_model(path, place, links) if copy else place)
    if os.path.isdir(place) and orbax_folders.is_step(place):
        facts = dataclasses.replace(facts, weights_layout=BY_PATH)
    return dataclasses.replace(facts, found_at=asked.found_at or os.path.abspath(path))


def _as_archive(path: str, folder: str, links: LinkRule) -> str:
    if orbax_folders.is_step(folder):
        return _as_one_file(path, folder, links)
    if not presets.is_task(folder):
        return gathered.zipped(path, folder, links)
    try:
        return presets.whole_task(path, folder, links)
    except (OSError, ValueError, RuntimeError, KeyError, RecursionError) as error:
        raise _corrupt(path, f"not a whole KerasHub preset ({error})") from error


def _as_one_file(path: str, place: str, links: LinkRule) -> str:
    """An HDF5 file itself, or what several files are put together as."""
    try:
        if os.path.isdir(place):
            return orbax_folders.as_one_file(path, place, links)
        return gathered.merged(path, place, links) if place.endswith(gathered.SHARDED) else place
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = "it is no whole Orbax checkpoint" if os.path.isdir(place) else "its shards cannot be put together"
        raise _corrupt(path, f"{what} ({error})") from error


def _examine_with_architecture(path: str, weights: CheckpointFacts, architecture: str) -> CheckpointFacts:
    """Weights and the architecture beside them, put together and scanned as the one file that holds both."""
    is_legacy = weights.weights_layout == "legacy"
    assert weights.path is not None
    try:
        together = gathered.whole_model(path, weights.path, architecture, is_legacy=is_legacy)
    except (OSError, ValueError, RuntimeError, KeyError, RecursionError) as error:
        raise _corrupt(path, f"it cannot be put together with {architecture} beside it ({error})") from error
    return _examine_h5(path, together, copy=True) if is_legacy else _examine_archive(path, together, copy=True)


def _no_checkpoint(path: str, place: str) -> ModelError:
    what = "neither a zip archive nor HDF5"
    if os.path.isdir(place):
        what = "a directory without saved_model.pb or checkpoint"
    elif not os.path.isfile(place):
        what = "a link to nothing, a pipe or a device"
    elif _is_gzip(place):
        what = "packed by gzip, without a tar archive inside (unpack it: `gunzip`)"
    return ModelError(
        ReasonCode.LOAD_UNSUPPORTED,
        Stage.LOAD,
        f"{path} is no checkpoint that LiteFerry reads: it is {what}. Readable are .keras, .h5, .weights.h5, SavedModel "
        "directories, .index files of TensorFlow checkpoints, and .zip or .tar.gz with one of these inside; "
        "narrow the pattern under models[].checkpoints if this file should not be there",
    )


def _is_gzip(place: str) -> bool:
    with open(place, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _examine_unpacked(asked: _Request, place: str) -> CheckpointFacts:
    path = asked.path
    inner = archives.unpack(place, shown=path, most_bytes=asked.most_bytes)
    if detect(inner) is Kind.ARCHIVE:
        raise ModelError(
            ReasonCode.LOAD_UNSUPPORTED, Stage.LOAD, f"{path} holds another archive, {os.path.basename(inner)}; unpack it"
        )
    try:
        found_at = os.path.join(os.path.dirname(asked.found_at or os.path.abspath(path)), archives.name_inside(inner))
        return _examine(dataclasses.replace(asked, path=inner, found_at=found_at), os.path.realpath(inner))
    except ModelError as error:
        said = error.reason.message.replace(inner, f"{path} ({os.path.basename(inner)})")  # where it was unpacked is soon gone
        raise ModelError(error.reason.code, error.reason.stage, said) from error


def _corrupt(path: str, what: str) -> ModelError:
    size = "" if os.path.isdir(path) else f" ({os.path.getsize(path):,} bytes)"
    return ModelError(ReasonCode.LOAD_CORRUPT, Stage.LOAD, f"{path}{size}: {what}; copy or save the checkpoint again")


def _examine_archive(path: str, place: str, *, copy: bool, known: Known | None = None) -> CheckpointFacts:
    try:
        with scanned_copy.opened(place) as file, zipfile.ZipFile(file) as archive:
            archives.members_in_order(path, archive, os.fstat(file.fileno()).st_size)
            config_text, metadata_text = (
                archives.read_member(path, archive, name, most_bytes=_MAX_CONFIG_BYTES)
                for name in ("config.json", "metadata.json")
            )
            config = parse(config_text) if known is None else known.config(config_text)
            metadata = parse(metadata_text)
            if not isinstance(config, dict) or not isinstance(metadata, dict):
                raise _corrupt(path, "its config.json or metadata.json is not a JSON object")
            if copy:
                place = os.path.join(scanned_copy.private_folder(), "model.keras")
                scanned_copy.copy_archive(path, archive, place, without_training(config))
            else:
                seen = {"config.json", "metadata.json"} | archives.refuse_unsafe_members(path, archive, known=known)
                if (damaged := archives.damaged_member(archive, beside=seen)) is not None:
                    raise _corrupt(path, f"its member {damaged} fails its checksum")
        if copy:
            with zipfile.ZipFile(place) as archive:
                archives.refuse_unsafe_members(path, archive)
    except KeyError as error:
        inner = gathered.checkpoints_inside(place)
        if inner:
            raise foreign.unsupported(path, f"a zip archive with {inner[0]} inside", "unzip it and name that file") from error
        raise _corrupt(path, f"a zip archive, but no Keras one: {error.args[0]}") from error
    except (zipfile.BadZipFile, EOFError, ValueError, OSError, RuntimeError, zlib.error) as error:
        raise _corrupt(path, f"not a whole .keras archive ({error})") from error
    return CheckpointFacts(kind=Kind.KERAS, keras_version=_version(metadata.get("keras_version")), config=config, path=place)


def _version(value: Any) -> str | None:
    """A version string as the writer stored it; None for anything else."""
    return value if isinstance(value, str) and re.match(r"\d+\.", value) else None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _examine_h5(path: str, place: str, *, copy: bool) -> CheckpointFacts:
    import h5py

    try:
        if copy:
            place = scanned_copy.copy_file(place, os.path.join(scanned_copy.private_folder(), "model.h5"))
        with scanned_copy.opened(place) as stream:
            refuse_ambiguous(path, stream, os.fstat(stream.fileno()).st_size)
        with h5py.File(place, "r") as file:
            refuse_unsafe(path, file, stored_bytes=os.path.getsize(place))
            config_text = _text(file.attrs.get("model_config"))
            version = _version(_text(file.attrs.get("keras_version")))
            if version is None and "model_weights" in file:
                version = _version(_text(file["model_weights"].attrs.get("keras_version")))
            if set(file) and set(file) <= _OPTIMIZER_GROUPS and "model_config" not in file.attrs:
                fix = "name the file of the model or of its weights, which is saved beside it"
                raise foreign.unsupported(path, "the state of an optimizer alone", fix)
            is_legacy = "model_weights" in file or any(name.startswith("layer_names") for name in file.attrs)
            config = parse(config_text) if config_text is not None else None
        if config is not None and not isinstance(config, dict):
            raise _corrupt(path, "its model_config is not a JSON object")
        if copy:
            place = _named_for_its_reader(place, config, is_legacy=is_legacy)
    except (OSError, ValueError, RuntimeError, KeyError, RecursionError) as error:
        raise _corrupt(path, f"not a whole HDF5 file ({error})") from error
    if config is None:
        return CheckpointFacts(
            kind=Kind.H5_WEIGHTS, keras_version=version, weights_layout="legacy" if is_legacy else "keras_v3", path=place
        )
    return CheckpointFacts(kind=Kind.H5_MODEL, keras_version=version, config=config, path=place)


def _named_for_its_reader(place: str, config: dict[str, Any] | None, *, is_legacy: bool) -> str:
    """The copy of an HDF5 file with the scanned config, without training's settings, and with the file ending that selects its
    reader.
    """
    import h5py

    if config is not None and (for_inference := without_training(config)) != config:
        with h5py.File(place, "r+") as file:
            file.attrs["model_config"] = json.dumps(for_inference).encode()
    if config is None and not is_legacy:
        renamed = place.removesuffix(".h5") + ".weights.h5"
        os.rename(place, renamed)
        return renamed
    return place
