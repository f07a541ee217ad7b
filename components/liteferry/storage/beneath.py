"""Reads and writes files below an output folder of unknown origin: only by names that stay inside it, and never through a link.

The output folder itself is the user's choice and may be a link. LiteFerry makes no links below it, so any link there is refused.
Stores have no links.
"""

from __future__ import annotations

import contextlib
import os
import stat
import uuid
from collections.abc import Iterator

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.storage import layout

MOST_BYTES = 512 * 2**20  # size limit for files that are read whole: reports, the fleet's facts


def is_inside(name: object) -> bool:
    """Whether a relative name, from a report for example, names something below the folder that it is relative to."""
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name or os.path.isabs(name):
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def refuse_links(out: str) -> None:
    """Raises StorageError where one of the folders that LiteFerry makes in OUT is a link: writing, reading or removing there
    would happen somewhere else.
    """
    if storage.is_remote(out):
        return
    for name in (*layout.FOLDERS, layout.FLEET_PARTS):
        _refuse_link(os.path.join(storage.require_local(out), name))


def _refuse_link(path: str) -> None:
    if os.path.islink(path):
        raise StorageError(
            f"{path} is a link to {os.readlink(path)}: below an output folder nothing is read or written through a link; "
            "remove it, or name the folder that it points to"
        )


def write_bytes(out: str, name: str, data: bytes) -> None:
    """Writes OUT/name whole or not at all, and creates its folders. Raises StorageError, also where a folder on the way is a
    link.
    """
    if storage.is_remote(out):
        storage.write_bytes(storage.join(out, name), data)
        return
    root = storage.require_local(out)
    *folders, last = name.split("/")
    temporary = f"{last}.{uuid.uuid4().hex}.tmp"
    try:
        os.makedirs(root, exist_ok=True)
        with _opened(root, folders, make=True) as folder:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(temporary, flags, 0o666, dir_fd=folder), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, last, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.remove(temporary, dir_fd=folder)
                raise
    except OSError as error:
        raise StorageError(f"{storage.join(out, name)}: cannot be written: {error.strerror or error}") from error


def read_bytes(out: str, name: str, *, most_bytes: int = MOST_BYTES) -> bytes:
    """The bytes of OUT/name. Raises StorageError for something that is not a file, is behind a link, or has more than
    `most_bytes`.
    """
    if storage.is_remote(out):
        return storage.read_bytes(storage.join(out, name))
    root = storage.require_local(out)
    path = os.path.join(root, name)
    *folders, last = name.split("/")
    try:
        with _opened(root, folders, make=False) as folder:
            _refuse_link(path)
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe would never end
            with open(os.open(last, flags, dir_fd=folder), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise StorageError(f"{path}: cannot be read: it is no file but a pipe, a socket or a device")
                data = file.read(most_bytes + 1)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > most_bytes:
        raise StorageError(f"{path}: has more than {most_bytes:,} bytes; LiteFerry writes no such file that large")
    return data


@contextlib.contextmanager
def _opened(root: str, folders: list[str], *, make: bool) -> Iterator[int]:
    """A descriptor of a folder below `root`, opened step by step without following a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    at = os.open(root, flags)
    path = root
    try:
        for name in folders:
            path = os.path.join(path, name)
            _refuse_link(path)
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=at)
            inner = os.open(name, flags | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = inner
        yield at
    finally:
        os.close(at)


def sizes_of(folder: str) -> dict[str, int]:
    """Bytes of every file below a folder, by relative path, sorted. Links are not followed and not listed; a folder that is
    itself a link counts as empty. Raises StorageError.
    """
    if storage.is_remote(folder):
        return storage.sizes_under(folder)
    root, sizes = storage.require_local(folder), {}
    if not os.path.islink(root):
        for above, _, names in os.walk(root, onerror=_raise_unreadable):
            for name in names:
                path = os.path.join(above, name)
                with contextlib.suppress(FileNotFoundError):  # removed in the meantime
                    status = os.lstat(path)
                    if stat.S_ISREG(status.st_mode):
                        sizes[os.path.relpath(path, root)] = status.st_size
    return dict(sorted(sizes.items()))


def _raise_unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise StorageError(f"{error.filename}: cannot be read: {error.strerror or error}") from error
