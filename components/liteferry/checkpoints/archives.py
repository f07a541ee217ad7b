"""Zip and tar files: what a `.keras` archive may hold, and checkpoints that were published inside a `.zip` or `.tar.gz`.

Nothing is unpacked before all names and sizes have been read, and no more bytes are written than the names announced.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import posixpath
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Any

from liteferry.checkpoints.h5_files import refuse_unsafe, unsafe
from liteferry.errors import ModelError, ReasonCode, Stage

_MAX_MEMBERS = 100_000
# Deflate reaches 1,032 to 1 on zeros and weights never come near it: what is large and expands a hundredfold was made to.
_MAX_RATIO = 100
_SMALL_BYTES = 2**28
MAX_BYTES = 64 * 2**30
_FILE_ENDINGS = (".keras", ".h5", ".hdf5", ".index")
_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One file in an archive. `handle` is the archive's own record of it."""

    name: str
    bytes: int
    is_directory: bool
    is_plain: bool
    handle: Any


def is_tar(path: str) -> bool:
    """Whether a path is a tar file by its name; the bytes of a compressed one do not say."""
    return path.lower().endswith(_TAR_ENDINGS)


def zip_members(archive: zipfile.ZipFile) -> list[Member]:
    """What a zip file holds. Links are told by the mode that Unix tools store."""
    result = []
    for entry in archive.infolist():
        mode = entry.external_attr >> 16
        is_plain = not mode or stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)
        result.append(
            Member(name=entry.filename, bytes=entry.file_size, is_directory=entry.is_dir(), is_plain=is_plain, handle=entry)
        )
    return result


def _tar_members(path: str, archive: tarfile.TarFile, most_bytes: int) -> list[Member]:
    result = []
    for entry in archive:
        is_plain = entry.isreg() or entry.isdir()
        result.append(Member(name=entry.name, bytes=entry.size, is_directory=entry.isdir(), is_plain=is_plain, handle=entry))
        refuse_members(path, result[-1:])
        # A compressed tar has to be read to be listed: what it announces must be refused before it is inflated.
        refuse_sizes(path, sum(member.bytes for member in result), len(result), most_bytes=most_bytes)
    return result


def refuse_members(path: str, members: Sequence[Member]) -> None:
    """Raises LOAD_UNSAFE for names and kinds of members that reach outside the folder they are unpacked into."""
    for member in members:
        parts = member.name.replace("\\", "/").split("/")
        if member.name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in member.name:
            raise unsafe(path, f"its member {member.name!r} points outside the archive")
        if not member.is_plain:
            raise unsafe(path, f"its member {member.name!r} is a link or a device, not a file")


def _refuse_packing(path: str, archive: zipfile.ZipFile) -> None:
    """Raises LOAD_UNSUPPORTED for members whose packing Python's zip reader unpacks by the block: some hundred bytes of bzip2 are
    gigabytes, whatever size they announce, before the first of them can be counted.
    """
    for entry in archive.infolist():
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelError(
                ReasonCode.LOAD_UNSUPPORTED,
                Stage.LOAD,
                f"{path}: its member {entry.filename!r} is packed by method {entry.compress_type}, and only stored and deflated "
                "members are read; pack it again with `zip -r`",
            )


def read_member(path: str, archive: zipfile.ZipFile, name: str, *, most_bytes: int) -> bytes:
    """The bytes of one member of a zip file, of which no more than its announced size are unpacked.

    Raises:
      KeyError: there is none of that name.
      ModelError: LOAD_CORRUPT when it announces more than `most_bytes`, LOAD_UNSUPPORTED for its packing.
    """
    _refuse_packing(path, archive)
    size = archive.getinfo(name).file_size
    if size > most_bytes:
        raise ModelError(
            ReasonCode.LOAD_CORRUPT, Stage.LOAD, f"{path}: its {name} claims {size:,} bytes; copy or save the checkpoint again"
        )
    return archive.read(name)


def refuse_sizes(path: str, claimed_bytes: int, count: int, *, most_bytes: int = MAX_BYTES) -> None:
    """Raises LOAD_UNSAFE for what a small archive cannot hold, LOAD_UNSUPPORTED for more than `most_bytes`."""
    stored = os.path.getsize(path)
    if count > _MAX_MEMBERS:
        raise unsafe(path, f"it holds more than {_MAX_MEMBERS:,} members")
    if claimed_bytes > MAX_BYTES or (claimed_bytes > _SMALL_BYTES and claimed_bytes > _MAX_RATIO * stored):
        raise unsafe(path, f"its {stored:,} bytes claim to unpack to {claimed_bytes:,}")
    if claimed_bytes > most_bytes:
        raise ModelError(
            ReasonCode.LOAD_UNSUPPORTED,
            Stage.LOAD,
            f"{path} unpacks to {claimed_bytes:,} bytes, and only {most_bytes:,} are unpacked to look at; unpack it yourself",
        )


def refuse_unsafe_archive(path: str, archive: zipfile.ZipFile) -> None:
    """Looks a `.keras` archive over: names, sizes, the HDF5 file of its weights, and arrays that are pickles.

    Raises:
      ModelError: LOAD_UNSAFE.
    """
    members = zip_members(archive)
    refuse_members(path, members)
    refuse_sizes(path, sum(member.bytes for member in members), len(members))
    _refuse_packing(path, archive)
    for member in members:
        if member.name.endswith((".h5", ".hdf5")):
            _refuse_unsafe_weights(path, archive, member)
        elif member.name.endswith(".npz"):
            _refuse_pickled_arrays(path, archive, member)


def _refuse_unsafe_weights(path: str, archive: zipfile.ZipFile, member: Member) -> None:
    import h5py

    with _seekable(archive, member) as stream:
        try:
            file = h5py.File(stream, "r")
        except OSError:
            return  # broken, not hostile: whoever loads it says so
        with file:
            refuse_unsafe(f"{path} ({member.name})", file, stored_bytes=member.bytes)


def _seekable(archive: zipfile.ZipFile, member: Member) -> IO[bytes]:
    """A member that is read back and forth: in memory where it is small, since zipfile begins anew for each step back."""
    if member.bytes <= _SMALL_BYTES:
        with contextlib.suppress(zipfile.BadZipFile):  # a wrong checksum: Keras would read it all the same
            return io.BytesIO(archive.read(member.name))
    return archive.open(member.name)


def _refuse_pickled_arrays(path: str, archive: zipfile.ZipFile, member: Member) -> None:
    import numpy as np

    with archive.open(member.name) as stream, zipfile.ZipFile(stream) as arrays:
        _refuse_packing(f"{path} ({member.name})", arrays)
        for name in arrays.namelist():
            with arrays.open(name) as array:
                version = np.lib.format.read_magic(array)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(array)
            if dtype.hasobject:
                raise unsafe(path, f"the array {name!r} in its {member.name} is a pickle")
            claimed = dtype.itemsize
            for size in shape:
                claimed *= size
            if claimed > _SMALL_BYTES and claimed > 2 * arrays.getinfo(name).file_size:
                raise unsafe(path, f"the array {name!r} in its {member.name} claims {claimed:,} bytes")


def unpack(path: str, *, most_bytes: int = MAX_BYTES) -> str:
    """Unpacks a .zip or tar file into a temporary folder and returns the path of the one checkpoint in it.

    In a sandbox the folder lies in its scratch directory and goes with it; elsewhere it goes when the process ends.

    Raises:
      ModelError: LOAD_UNSAFE for members that reach outside or claim absurd sizes, LOAD_CORRUPT for a broken archive,
        LOAD_UNSUPPORTED when it does not hold exactly one checkpoint, or more than `most_bytes`.
    """
    folder = tempfile.TemporaryDirectory(prefix="liteferry-archive-")
    _UNPACKED.append(folder)
    try:
        for member, stream in _contents(path, most_bytes):
            target = os.path.join(folder.name, *posixpath.normpath(member.name).split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "xb") as file:
                _copy(path, member, stream, file)
    except FileExistsError as error:
        raise unsafe(path, f"two of its members are called {os.path.relpath(error.filename, folder.name)!r}") from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        raise ModelError(
            ReasonCode.LOAD_CORRUPT,
            Stage.LOAD,
            f"{path} ({os.path.getsize(path):,} bytes): not a whole archive ({error}); copy or download it again",
        ) from error
    return _only_checkpoint(path, folder.name)


_UNPACKED: list[tempfile.TemporaryDirectory[str]] = []  # kept: each is removed when the process ends


def _contents(path: str, most_bytes: int) -> Iterator[tuple[Member, IO[bytes]]]:
    """The files of an archive with their bytes, after all of its names and sizes have been found to be in order."""
    if is_tar(path):
        with tarfile.open(path) as listing:
            members = _tar_members(path, listing, most_bytes)
        with tarfile.open(path) as tar:
            for member in members:
                stream = tar.extractfile(member.handle) if not member.is_directory else None
                if stream is not None:
                    yield member, stream
        return
    with zipfile.ZipFile(path) as archive:
        members = zip_members(archive)
        refuse_members(path, members)
        refuse_sizes(path, sum(member.bytes for member in members), len(members), most_bytes=most_bytes)
        _refuse_packing(path, archive)
        for member in members:
            if not member.is_directory:
                with archive.open(member.handle) as entry:
                    yield member, entry


def _copy(path: str, member: Member, source: IO[bytes], target: IO[bytes]) -> None:
    left = member.bytes
    while piece := source.read(min(2**20, left + 1)):
        left -= len(piece)
        if left < 0:
            raise unsafe(path, f"its member {member.name!r} announced {member.bytes:,} bytes and holds more")
        target.write(piece)


def _only_checkpoint(path: str, folder: str) -> str:
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__MACOSX")
        if "saved_model.pb" in names:
            found.append(root)
            folders.clear()
            continue
        found.extend(os.path.join(root, name) for name in sorted(names) if name.endswith(_FILE_ENDINGS) and name[:2] != "._")
    if len(found) == 1:
        return found[0]
    listed = ", ".join(os.path.relpath(place, folder) for place in found[:10]) or "none"
    shutil.rmtree(folder, ignore_errors=True)
    raise ModelError(
        ReasonCode.LOAD_UNSUPPORTED,
        Stage.LOAD,
        f"{path} holds {len(found)} checkpoints ({listed}), and one is needed; unpack it and name the one you mean under "
        "models[].checkpoints",
    )
