"""Zip and tar files: the allowed contents of a `.keras` archive, and checkpoints published inside a `.zip` or `.tar.gz`.

Nothing is unpacked before all names and sizes have been read, and no more bytes are written than the archive announced.
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
from collections.abc import Collection, Iterator, Sequence
from typing import IO, Any

from liteferry.checkpoints.h5_files import refuse_unsafe, unsafe
from liteferry.checkpoints.known import Known
from liteferry.errors import ModelError, ReasonCode, Stage

_MAX_MEMBERS = 100_000
# Deflate reaches 1,032 to 1 on zeros and weights never come near it: a large member that expands a hundredfold was crafted.
_MAX_RATIO = 100
_SMALL_BYTES = 2**28
MAX_BYTES = 64 * 2**30
# Sizes of a zip file's records: an entry of its directory, the end of it, and what a zip64 file has before that end.
_ENTRY_BYTES, _END_BYTES, _END_BYTES_64 = 46, 22, 76
_NOT_PLAIN = 0x1 | 0x20 | 0x40  # bits of a member's flags: encrypted, patched, strongly encrypted
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
    """Whether a path is a tar file, by its name, since the first bytes of a compressed tar do not show it."""
    return path.lower().endswith(_TAR_ENDINGS)


def zip_members(archive: zipfile.ZipFile) -> list[Member]:
    """The members of a zip file. Links are recognised by the mode that Unix tools store."""
    result = []
    for entry in archive.infolist():
        mode = entry.external_attr >> 16
        is_plain = not mode or stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)
        result.append(
            Member(name=entry.filename, bytes=entry.file_size, is_directory=entry.is_dir(), is_plain=is_plain, handle=entry)
        )
    return result


def _tar_members(path: str, archive: tarfile.TarFile, most_bytes: int, stored: int) -> list[Member]:
    result = []
    for entry in archive:
        is_plain = entry.isreg() or entry.isdir()
        result.append(Member(name=entry.name, bytes=entry.size, is_directory=entry.isdir(), is_plain=is_plain, handle=entry))
        refuse_members(path, result[-1:])
        # A compressed tar has to be read to be listed: sizes that are too large must be refused before anything is decompressed.
        refuse_sizes(path, sum(member.bytes for member in result), len(result), stored, most_bytes=most_bytes)
    return result


def refuse_members(path: str, members: Sequence[Member]) -> None:
    """Raises LOAD_UNSAFE for names and kinds of members that would be unpacked outside their folder."""
    for member in members:
        parts = member.name.replace("\\", "/").split("/")
        if member.name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in member.name:
            raise unsafe(path, f"its member {member.name!r} points outside the archive")
        if not member.is_plain:
            raise unsafe(path, f"its member {member.name!r} is a link or a device, not a file")


def refuse_packing(path: str, archive: zipfile.ZipFile) -> None:
    """Raises LOAD_UNSUPPORTED for members that are encrypted or patched, and for compression methods other than stored and
    deflated: Python's zip reader unpacks others by the block, so a hundred bytes of bzip2 become gigabytes before the first of
    them can be counted, whatever size they announce.
    """
    for entry in archive.infolist():
        if entry.flag_bits & _NOT_PLAIN:
            raise ModelError(
                ReasonCode.LOAD_UNSUPPORTED,
                Stage.LOAD,
                f"{path}: its member {entry.filename!r} is encrypted, or a patch of another archive; unpack it yourself",
            )
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelError(
                ReasonCode.LOAD_UNSUPPORTED,
                Stage.LOAD,
                f"{path}: its member {entry.filename!r} is packed by method {entry.compress_type}, and only stored and deflated "
                "members are read; pack it again with `zip -r`",
            )


def refuse_ambiguous_zip(path: str, archive: zipfile.ZipFile, size: int) -> None:
    """Raises LOAD_UNSAFE for an archive with bytes before, between or after its listed members, and for two members of one name:
    another reader may see other contents.

    Args:
      path: for errors.
      archive: open.
      size: of the file, in bytes.
    """
    seen: set[str] = set()
    for entry in archive.infolist():
        if (name := os.path.normpath(entry.filename)) in seen:
            raise unsafe(path, f"two of its members are called {entry.filename!r}")
        seen.add(name)
    if archive.infolist() and min(entry.header_offset for entry in archive.infolist()) != 0:
        raise unsafe(path, "there are bytes before the zip archive, which another reader may take for the file")
    directory = sum(_directory_bytes(entry) for entry in archive.infolist())
    end = archive.start_dir + directory + len(archive.comment)
    if size - end not in (_END_BYTES, _END_BYTES + _END_BYTES_64):
        raise unsafe(path, f"there are {size - end - _END_BYTES:,} bytes behind the zip archive, or a second directory in it")


def _directory_bytes(entry: zipfile.ZipInfo) -> int:
    name = entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437")
    return _ENTRY_BYTES + len(name) + len(entry.extra) + len(entry.comment)


def members_in_order(path: str, archive: zipfile.ZipFile, size: int, *, most_bytes: int = MAX_BYTES) -> list[Member]:
    """The members of an open zip file of `size` bytes, after their names, kinds, sizes, compression and offsets were checked.

    Raises:
      ModelError: LOAD_UNSAFE, and LOAD_UNSUPPORTED for a compression method that is not read.
    """
    members = zip_members(archive)
    refuse_members(path, members)
    refuse_sizes(path, sum(member.bytes for member in members), len(members), size, most_bytes=most_bytes)
    refuse_packing(path, archive)
    refuse_ambiguous_zip(path, archive, size)
    return members


def read_member(path: str, archive: zipfile.ZipFile, name: str, *, most_bytes: int) -> bytes:
    """The bytes of one member of a zip file. No more than its announced size is unpacked.

    Raises:
      KeyError: there is no member of that name.
      ModelError: LOAD_CORRUPT when it announces more than `most_bytes`, LOAD_UNSUPPORTED for its compression method.
    """
    refuse_packing(path, archive)
    size = archive.getinfo(name).file_size
    if size > most_bytes:
        raise ModelError(
            ReasonCode.LOAD_CORRUPT, Stage.LOAD, f"{path}: its {name} claims {size:,} bytes; copy or save the checkpoint again"
        )
    return archive.read(name)


def refuse_sizes(path: str, claimed_bytes: int, count: int, stored: int, *, most_bytes: int = MAX_BYTES) -> None:
    """Raises LOAD_UNSAFE for contents too large for an archive of `stored` bytes, LOAD_UNSUPPORTED for more than `most_bytes`."""
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


def damaged_member(archive: zipfile.ZipFile, *, beside: Collection[str]) -> str | None:
    """The name of a member that fails its checksum; None if there is none. `beside`: members that were read whole before, which
    checks them.
    """
    for entry in archive.infolist():
        if entry.filename in beside or entry.is_dir():
            continue
        try:
            with archive.open(entry) as stream:
                while stream.read(2**20):
                    pass
        except zipfile.BadZipFile:
            return entry.filename
    return None


def refuse_unsafe_members(path: str, archive: zipfile.ZipFile, *, known: Known | None = None) -> set[str]:
    """Checks the members of a `.keras` archive: the HDF5 file of its weights, and arrays that are pickles. Weights that differ
    from `known` ones in their numbers alone are not looked over again.

    Returns:
      The members that were read whole, whose checksums are right.

    Raises:
      ModelError: LOAD_UNSAFE.
    """
    members = zip_members(archive)
    whole = set()
    for member in members:
        if member.name.endswith((".h5", ".hdf5")):
            whole |= {member.name} if _refuse_unsafe_weights(path, archive, member, known) else set()
        elif member.name.endswith(".npz"):
            _refuse_pickled_arrays(path, archive, member)
    if len({"model.weights.h5", "model.weights.npz"} & {member.name for member in members}) > 1:
        raise unsafe(path, "it holds its weights twice, as model.weights.h5 and as model.weights.npz")
    return whole


def _refuse_unsafe_weights(path: str, archive: zipfile.ZipFile, member: Member, known: Known | None = None) -> bool:
    """Returns whether the member was read whole."""
    import h5py

    with _seekable(archive, member) as stream:
        is_whole = isinstance(stream, io.BytesIO)
        content = memoryview(stream.getvalue()) if known is not None and isinstance(stream, io.BytesIO) else None
        if content is not None and known is not None and known.has_layout(content):
            return is_whole
        try:
            file = h5py.File(stream, "r")
        except OSError:
            return is_whole  # broken, not hostile: the loader reports it
        with file:
            data = refuse_unsafe(f"{path} ({member.name})", file, stored_bytes=member.bytes)
            if content is not None and known is not None:
                known.add_layout(content, data)
    return is_whole


def _seekable(archive: zipfile.ZipFile, member: Member) -> IO[bytes]:
    """A member as a seekable stream: small ones in memory, since zipfile starts over at every step back."""
    if member.bytes <= _SMALL_BYTES:
        with contextlib.suppress(zipfile.BadZipFile):  # a wrong checksum: Keras would still read the file
            return io.BytesIO(archive.read(member.name))
    return archive.open(member.name)


def _refuse_pickled_arrays(path: str, archive: zipfile.ZipFile, member: Member) -> None:
    import numpy as np

    with archive.open(member.name) as stream, zipfile.ZipFile(stream) as arrays:
        refuse_packing(f"{path} ({member.name})", arrays)
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


def unpack(place: str, *, shown: str, most_bytes: int = MAX_BYTES) -> str:
    """Unpacks a .zip or tar file into a temporary folder and returns the path of the one checkpoint in it. Errors name the file
    `shown`.

    In a sandbox the folder lies in its scratch directory and is removed with it; elsewhere it is removed when the process ends.

    Raises:
      ModelError: LOAD_UNSAFE for members that reach outside or claim absurd sizes, LOAD_CORRUPT for a broken archive,
        LOAD_UNSUPPORTED when it does not hold exactly one checkpoint, or more than `most_bytes`.
    """
    folder = tempfile.TemporaryDirectory(prefix="liteferry-archive-")
    UNPACKED.append(folder)
    try:
        for member, stream in _contents(place, shown, most_bytes):
            target = os.path.join(folder.name, *posixpath.normpath(member.name).split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "xb") as file:
                _copy(shown, member, stream, file)
    except FileExistsError as error:
        raise unsafe(shown, f"two of its members are called {os.path.relpath(error.filename, folder.name)!r}") from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, ValueError, RuntimeError, zlib.error) as error:
        raise ModelError(
            ReasonCode.LOAD_CORRUPT,
            Stage.LOAD,
            f"{shown} ({os.path.getsize(place):,} bytes): not a whole archive ({error}); copy or download it again",
        ) from error
    return _only_checkpoint(shown, folder.name)


UNPACKED: list[tempfile.TemporaryDirectory[str]] = []  # kept: each is removed when the process ends


def name_inside(unpacked: str) -> str:
    """The name, with its folders, that a checkpoint has in the archive out of which `unpack` took it last."""
    return os.path.relpath(unpacked, UNPACKED[-1].name)


def _contents(place: str, shown: str, most_bytes: int) -> Iterator[tuple[Member, IO[bytes]]]:
    """The files of an archive with their bytes, after all names and sizes were checked."""
    if is_tar(place):
        with tarfile.open(place) as listing:
            members = _tar_members(shown, listing, most_bytes, os.path.getsize(place))
        with tarfile.open(place) as tar:
            for member in members:
                stream = tar.extractfile(member.handle) if not member.is_directory else None
                if stream is not None:
                    yield member, stream
        return
    with zipfile.ZipFile(place) as archive:
        members = members_in_order(shown, archive, os.path.getsize(place), most_bytes=most_bytes)
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


# The most bytes unpacked from an archive for `inspect`. Published checkpoints are smaller; a zip bomb is refused before it is
# unpacked.
MOST_UNPACKED_BYTES = 4 * 2**30
