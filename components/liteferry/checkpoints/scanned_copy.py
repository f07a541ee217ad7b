"""The copy of a checkpoint that loaders get, written from the scanned parts, under a name that LiteFerry chooses.

A file may be valid in two formats at once, such as an HDF5 file followed by a zip archive, and libraries choose their reader by
different signs: the name, the first bytes, the last bytes. So no loader sees the original file. It gets a private copy that
only one reader accepts. The copy is scanned after it is written: later changes to the original have no effect.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

from liteferry.checkpoints import archives
from liteferry.checkpoints.h5_files import unsafe
from liteferry.checkpoints.links import LinkRule, follow_part, is_inside
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.storage.files import is_holes

# The members of a `.keras` archive that loaders read; nothing else is copied.
MOST_SHARDS = 10_000
_MEMBERS = re.compile(r"config\.json|metadata\.json|model\.weights(_\d+)?\.h5|model\.weights\.(json|npz)|assets/.+")
_COPY_BYTES = 2**26

_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []  # kept: each is removed when the process ends, or by `release`


def private_folder() -> str:
    """An empty folder of this process's own, in a sandbox below its scratch folder."""
    folder = tempfile.TemporaryDirectory(prefix="liteferry-checkpoint-")
    _FOLDERS.append(folder)
    return folder.name


def release() -> None:
    """Removes every copy that this process made: the models in memory do not need them any more."""
    while _FOLDERS:
        _FOLDERS.pop().cleanup()


@contextlib.contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """Opens a regular file without following a link that has replaced it meanwhile.

    Raises:
      OSError: it is gone, a link, a pipe or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is no regular file")
        yield file


def copy_file(path: str, target: str) -> str:
    """Copies a regular file, with the kernel's copy where possible: file systems that share blocks copy no data. A file that this
    process unpacked from an archive is moved instead. Returns `target`.
    """
    if any(is_inside(path, os.path.realpath(folder.name)) for folder in archives.UNPACKED):
        os.rename(path, target)
        return target
    with opened(path) as source, open(target, "xb") as copy:
        status = os.fstat(source.fileno())
        left = status.st_size
        if is_holes(status):
            raise OSError(f"of {left:,} bytes {status.st_blocks * 512:,} are on the disk")
        with contextlib.suppress(OSError, AttributeError):
            while left > 0 and (done := os.copy_file_range(source.fileno(), copy.fileno(), min(left, 2**30))):
                left -= done
        if left > 0:
            copy.seek(0, os.SEEK_END)
            source.seek(copy.tell())
            shutil.copyfileobj(source, copy, _COPY_BYTES)
    return target


def is_member(name: str) -> bool:
    """Whether a `.keras` archive may hold a file of this name, relative to its root."""
    return _MEMBERS.fullmatch(name) is not None


def copy_archive(path: str, source: zipfile.ZipFile, target: str, config: Any) -> None:
    """Writes a `.keras` archive from the members that a loader reads, uncompressed, each verified by its checksum.

    Args:
      path: for errors.
      source: the open archive, whose names and sizes were checked.
      target: the file to make.
      config: the architecture for its config.json.
    """
    with zipfile.ZipFile(target, "x") as copy:
        for entry in source.infolist():
            if entry.is_dir() or not _MEMBERS.fullmatch(entry.filename):
                continue
            if entry.filename == "config.json":
                copy.writestr(entry.filename, json.dumps(config))
                continue
            with source.open(entry) as member, copy.open(entry.filename, "w", force_zip64=True) as copied:
                left = entry.file_size
                while piece := member.read(min(_COPY_BYTES, left + 1)):
                    left -= len(piece)
                    if left < 0:
                        raise unsafe(path, f"its member {entry.filename!r} announced {entry.file_size:,} bytes and holds more")
                    copied.write(piece)


def copy_saved_model(path: str, folder: str, rule: LinkRule) -> str:
    """Copies a SavedModel: its `saved_model.pb`, its variables, and the assets that its graphs name. Returns the copy's folder.

    Args:
      path: as the job names it, for errors.
      folder: where it lies, without links.
      rule: where links may lead.

    Raises:
      ModelError: LOAD_CORRUPT when it cannot be read, LOAD_UNSAFE for what lies outside, or for a second graph in another format,
        which TensorFlow would take instead.
    """
    from liteferry.checkpoints import graph_scan

    if os.path.lexists(os.path.join(folder, "saved_model.cpb")):
        raise unsafe(path, "it holds its graph twice, as saved_model.pb and as saved_model.cpb")
    target = os.path.join(private_folder(), "model")
    os.mkdir(target)
    _copy_parts(path, folder, target, ["saved_model.pb"], rule)
    saved_model = graph_scan.read(target, shown=path)
    graph_scan.refuse_links(path, folder, saved_model, rule)
    names = [f"assets/{name}" for name in graph_scan.asset_names(saved_model)]
    if os.path.isdir(os.path.join(folder, "variables")):
        names += [f"variables/{name}" for name in sorted(os.listdir(os.path.join(folder, "variables")))]
    names += ["fingerprint.pb", "keras_metadata.pb"]
    _copy_parts(path, folder, target, [name for name in names if os.path.lexists(os.path.join(folder, name))], rule)
    return target


def copy_bundle(path: str, prefix: str, target: str, rule: LinkRule) -> str:
    """Copies a TensorFlow checkpoint, its index and data files, into the folder `target`. Returns the prefix of the copy."""
    folder, stem = os.path.split(prefix)
    _copy_parts(path, folder, target, [f"{stem}.index", *_shards(folder, stem)], rule)
    with open(os.path.join(target, "checkpoint"), "x", encoding="utf-8") as state:  # for a builder that reads the folder
        state.write(f"model_checkpoint_path: {json.dumps(stem)}\n")
    return os.path.join(target, stem)


def _shards(folder: str, stem: str) -> list[str]:
    """The data files of a checkpoint, by their names alone: where the job names the index, the sandbox
    may not list the folder.
    """
    for count in range(1, MOST_SHARDS + 1):
        if os.path.lexists(os.path.join(folder, f"{stem}.data-00000-of-{count:05}")):
            names = (f"{stem}.data-{shard:05}-of-{count:05}" for shard in range(count))
            return [name for name in names if os.path.lexists(os.path.join(folder, name))]
    return []


def _copy_parts(path: str, folder: str, target: str, names: Sequence[str], rule: LinkRule) -> None:
    for name in names:
        real = follow_part(path, folder, name, rule)
        if os.path.isdir(real):
            continue
        place = os.path.join(target, name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        try:
            copy_file(real, place)
        except OSError as error:
            raise ModelError(
                ReasonCode.LOAD_CORRUPT, Stage.LOAD, f"{path}: its {name} cannot be read ({error}); copy or save it again"
            ) from error
