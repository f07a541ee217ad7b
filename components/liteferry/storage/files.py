"""All access to storage. Other modules name places as strings and call these functions: local paths, `file://`, and URIs of
object stores (gs://, s3:// and whatever else fsspec knows), which `object_store` handles.

On a disk, publishing is a rename: a file or folder at its final path is always whole. A file is written beside its target under a
unique name and put in place with `os.replace`; a directory is renamed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob as globbing
import hashlib
import os
import re
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator

from liteferry.errors import StorageError
from liteferry.storage import drivers, object_store

_CHUNK_BYTES = 1 << 20
# A large file with less than a hundredth of its size on the disk consists of holes: it is not a checkpoint, and would take hours
# to read.
_LARGE_BYTES, _MOST_HOLES = 1 << 34, 100
_LOOKS = 3
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.tmp$")  # the temporary names of `write_bytes`
_WILDCARD = re.compile(r"[*?\[]")
_ESCAPED = re.compile(r"\[([*?\[])\]")
_ACROSS_FOLDERS, _MOST_BEHIND_LINKS = "**", 50_000
_PARTS_OF_A_BUCKET = 3  # "gs:", "", "bucket"


def is_remote(uri: str) -> bool:
    """Whether a place is not on this machine's file systems: it has a scheme other than file://."""
    return "://" in uri and not uri.startswith("file://")


def join(uri: str, *parts: str) -> str:
    """Joins names to a place."""
    return object_store.join(uri, *parts) if is_remote(uri) else os.path.join(uri, *parts)


def require_local(uri: str) -> str:
    """The local path of a place. Raises StorageError for one that is not on this machine."""
    if is_remote(uri):
        raise StorageError(f"{uri}: this has to be a local path; copy the data to one")
    return uri.removeprefix("file://")


def require_driver(uri: str) -> None:
    """Raises StorageError when no driver for the place's store is installed. Sends no request."""
    drivers.place(uri)


def absolute(uri: str) -> str:
    """The place as an absolute path, so that it means the same in any working directory, without a slash at its end."""
    return uri.rstrip("/") if is_remote(uri) else os.path.abspath(require_local(uri))


def exists(uri: str) -> bool:
    """Whether a file or directory exists. Raises StorageError when a store does not answer."""
    return object_store.exists(uri) if is_remote(uri) else os.path.exists(require_local(uri))


def is_directory(uri: str) -> bool:
    """Whether a directory exists. Raises StorageError when a store does not answer."""
    return (
        object_store.file_entry(uri) is None and object_store.exists(uri) if is_remote(uri) else os.path.isdir(require_local(uri))
    )


def list_directory(uri: str) -> list[str]:
    """Names in a directory, sorted; empty when there is no directory. Raises StorageError when it, or its
    bucket, cannot be read.
    """
    if is_remote(uri):
        return object_store.list_directory(uri)
    try:
        return sorted(os.listdir(require_local(uri)))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageError(f"{uri}: cannot be read: {error.strerror or error}") from error


def split_pattern(pattern: str) -> tuple[str, str]:
    """Splits a pattern into the folder or file before its first wildcard and the rest.

    A name that exists exactly as written is not a pattern, even with brackets in it, which are common in real names
    ("a[1].keras", "run [final]"). Inside a pattern, `[*]`, `[?]` and `[[]` stand for the character, as `glob.escape` writes it.
    """
    path = pattern if is_remote(pattern) else require_local(pattern)
    parts = path.split("/")
    fixed: list[str] = []
    for part in parts:
        if not _WILDCARD.search(_ESCAPED.sub("", part)):
            fixed.append(_ESCAPED.sub(r"\1", part))
        elif is_remote(path) and len(fixed) < _PARTS_OF_A_BUCKET:
            raise StorageError(f"{pattern}: the name of a bucket cannot be a pattern; write it out")
        elif _is_there("/".join([*fixed, part])):
            fixed.append(part)
        else:
            break
    return "/".join(fixed) or path[: path.startswith("/")], "/".join(parts[len(fixed) :])


def _is_there(uri: str) -> bool:
    return object_store.exists(uri) if is_remote(uri) else os.path.lexists(uri)


def glob(pattern: str) -> list[str]:
    """Places that match a pattern, sorted: `*`, `?` and `[...]` within a name, `**` across folders. Names that begin with a dot
    match only if the pattern has the dot. Raises StorageError for a store that cannot be listed.
    """
    fixed, rest = split_pattern(pattern)
    if is_remote(pattern):
        return object_store.glob(fixed, rest)
    if _ACROSS_FOLDERS in rest.split("/"):
        _refuse_circles(fixed or os.curdir)
    escaped = globbing.escape(fixed)
    return sorted(globbing.glob(os.path.join(escaped, rest) if rest else escaped, recursive=True))


def _refuse_circles(folder: str) -> None:
    """Raises StorageError for a folder whose search would not end: links in it lead in circles, and the search follows links as
    often as the kernel does.
    """
    behind: set[str] = set()
    count = 0
    for place, folders, names in os.walk(folder, followlinks=True):
        if os.path.dirname(place) in behind or (place != folder and os.path.islink(place)):
            behind.add(place)
            count += 1 + len(folders) + len(names)
        if count > _MOST_BEHIND_LINKS:
            raise _circles(folder, place)


def _circles(folder: str, last: str) -> StorageError:
    more = f"more than {_MOST_BEHIND_LINKS:,} files and folders behind links, which may lead in circles"
    return StorageError(f"{folder}: cannot be searched: it has {more}, the last of them in {last}")


def read_bytes(uri: str) -> bytes:
    """A file's bytes. Raises StorageError when it cannot be read."""
    if is_remote(uri):
        return object_store.read_bytes(uri)
    try:
        with open(require_local(uri), "rb") as file:
            return file.read()
    except OSError as error:
        raise StorageError(f"{uri}: cannot be read: {error.strerror or error}") from error


def read_if_there(uri: str) -> bytes | None:
    """A file's bytes, or None where there is no file. Raises StorageError for a file that exists and cannot be read."""
    for _ in range(_LOOKS):
        try:
            return read_bytes(uri)
        except StorageError as error:
            if not exists(uri):
                return None
            failure = error  # or it was written after the request, by another process
    raise failure


def write_bytes(uri: str, data: bytes) -> None:
    """Writes a file whole or not at all, creating its folder. Raises StorageError when it cannot be written."""
    if is_remote(uri):
        object_store.write_bytes(uri, data)
        return
    path = require_local(uri)
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(temporary)
            raise
    except OSError as error:
        raise StorageError(f"{uri}: cannot be written: {error.strerror or error}") from error


def remove_unfinished(folder: str) -> None:
    """Removes the temporary files that killed calls of `write_bytes` have left directly in a folder. Nobody else may write there
    at the same time. Stores have no such files.
    """
    if is_remote(folder):
        return
    for name in list_directory(folder):
        if _UNFINISHED.search(name):
            remove_tree(os.path.join(folder, name))


def create_exclusively(uri: str, data: bytes) -> bool:
    """Writes a file where there is none. Returns True for exactly one of any number of concurrent calls, False when the file
    exists.

    On object stores the store decides, see `object_store.create_exclusively`; on a disk the kernel does, and a process that dies
    in between leaves a file without content. Raises StorageError.
    """
    if is_remote(uri):
        return object_store.create_exclusively(uri, data)
    path = require_local(uri)
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    except OSError as error:
        raise StorageError(f"{uri}: cannot be written: {error.strerror or error}") from error
    return True


def append_line(uri: str, line: str) -> None:
    """Appends one line in one write, so that lines of several processes never mix. Raises StorageError."""
    path = require_local(uri)
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"{uri}: cannot be written: {error.strerror or error}") from error


def remove_tree(uri: str) -> None:
    """Removes a file, a link, or a directory with everything in it. Ignores what does not exist or cannot be removed."""
    if is_remote(uri):
        object_store.remove_tree(uri)
        return
    path = require_local(uri)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.remove(path)


def files_under(uri: str) -> list[str]:
    """Relative paths of every file below a directory, sorted; for a file, its own name. Raises StorageError.

    Links are followed: model caches keep the bytes of a SavedModel elsewhere.
    """
    if is_remote(uri):
        return list(object_store.folder_entries(uri)) or [uri.rstrip("/").rpartition("/")[2]]
    path = require_local(uri)
    if not os.path.isdir(path):
        return [os.path.basename(path)]
    return sorted(os.path.relpath(os.path.join(folder, name), path) for folder, names in _walked(path) for name in names)


def _walked(top: str) -> Iterator[tuple[str, list[str]]]:
    """Every folder below a folder, itself first, and the names of the files in it. Links are followed, but not to a folder that
    led to them. Raises StorageError, also if so much lies behind links that they may lead in circles.
    """
    behind_links = 0
    pending: list[tuple[str, bool, tuple[tuple[int, int], ...]]] = [(top, False, ())]
    while pending:
        folder, is_behind, way = pending.pop()
        try:
            status = os.stat(folder)
            with os.scandir(folder) as entries:
                found = {entry.name: (entry.is_dir(), entry.is_symlink()) for entry in entries}
        except OSError as error:
            if error.errno == errno.ELOOP:  # as deep as the kernel follows links
                continue
            raise StorageError(f"{folder}: cannot be read: {error.strerror or error}") from error
        here = (status.st_dev, status.st_ino)
        if here in way:
            continue
        behind_links += len(found) if is_behind else 0
        if behind_links > _MOST_BEHIND_LINKS:
            raise _circles(top, folder)
        yield folder, [name for name, (is_folder, _) in found.items() if not is_folder]
        inner = [(name, is_linked) for name, (is_folder, is_linked) in found.items() if is_folder]
        pending += [(os.path.join(folder, name), is_behind or is_linked, (*way, here)) for name, is_linked in inner]


def is_link(uri: str) -> bool:
    """Whether a place is a symbolic link. A store has none."""
    return not is_remote(uri) and os.path.islink(require_local(uri))


def leads_back(uri: str) -> bool:
    """Whether a place is a link to the folder that it is in, or to one above it. A store has no links."""
    if not is_link(uri):
        return False
    path = require_local(uri)
    return f"{os.path.realpath(os.path.dirname(path))}{os.sep}".startswith(f"{os.path.realpath(path)}{os.sep}")


def sizes_under(uri: str) -> dict[str, int]:
    """Bytes of every file below a folder, by relative path, sorted; empty without a folder. Raises StorageError."""
    if is_remote(uri):
        return {name: entry.size for name, entry in object_store.folder_entries(uri).items()}
    path = require_local(uri)
    if not os.path.isdir(path):
        return {}
    sizes = {}
    for name in files_under(path):
        with contextlib.suppress(FileNotFoundError):  # removed in the meantime
            sizes[name] = os.stat(os.path.join(path, name)).st_size
    return sizes


def size_bytes(uri: str) -> int:
    """Bytes of a file, or of every file below a directory. Raises StorageError."""
    if is_remote(uri):
        return object_store.stat(uri).size
    path = require_local(uri)
    try:
        if not os.path.isdir(path):
            return os.path.getsize(path)
        return sum(os.path.getsize(os.path.join(path, name)) for name in files_under(path))
    except OSError as error:
        raise StorageError(f"{uri}: cannot be read: {error.strerror or error}") from error


def is_holes(status: os.stat_result) -> bool:
    """Whether almost nothing of a large local file is on the disk."""
    return status.st_size > _LARGE_BYTES and status.st_blocks * 512 < status.st_size // _MOST_HOLES


def digest(uri: str) -> str:
    """sha256 of a file's bytes, or of the names, sizes and bytes of every file below a directory; it does not depend on the
    place. Raises StorageError.
    """
    if is_remote(uri):
        with tempfile.TemporaryDirectory() as folder:
            object_store.fetch(uri, os.path.join(folder, "copy"))
            return digest(os.path.join(folder, "copy"))
    path = require_local(uri)
    hasher = hashlib.sha256()
    try:
        is_directory = os.path.isdir(path)
        for name in files_under(path):
            target = os.path.join(path, name) if is_directory else path
            status = os.stat(target)
            if not stat.S_ISREG(status.st_mode):
                raise StorageError(
                    f"{target}: cannot be read: it is no file but a pipe, a socket or a device"
                )  # reading it may never end
            if is_holes(status):
                raise StorageError(
                    f"{target}: cannot be read: of its {status.st_size:,} bytes {status.st_blocks * 512:,} are on the disk"
                )  # reading the holes takes hours
            if is_directory:
                hasher.update(f"{name}\0{status.st_size}\0".encode(errors="surrogateescape"))
            with open(target, "rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    hasher.update(chunk)
                if file.tell() < status.st_size:
                    raise StorageError(f"{target}: only {file.tell():,} of {status.st_size:,} bytes could be read")
    except OSError as error:
        raise StorageError(f"{uri}: cannot be read: {error.strerror or error}") from error
    return f"sha256:{hasher.hexdigest()}"


def stamp(uri: str) -> str:
    """A text that changes when the content of a file, or of any file below a directory, changes. Reads no content: on a store it
    is the generation or entity tag, on a disk time and size. Raises StorageError.
    """
    if is_remote(uri):
        return object_store.stat(uri).stamp
    path = require_local(uri)
    try:
        paths = [os.path.join(path, name) for name in files_under(path)] if os.path.isdir(path) else [path]
        facts = [(os.path.relpath(at, path), status.st_mtime_ns, status.st_size) for at in paths for status in (os.stat(at),)]
    except OSError as error:
        raise StorageError(f"{uri}: cannot be read: {error.strerror or error}") from error
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def download(uri: str, local_path: str) -> None:
    """Copies a file, or a directory with everything in it, to a path that does not exist yet. Whole or not at all. From a store,
    several files are copied at once, and the size of each is compared with the store's. Raises StorageError.
    """
    part = f"{local_path}.{uuid.uuid4().hex}.part"
    try:
        os.makedirs(os.path.dirname(local_path) or ".", exist_ok=True)
        if is_remote(uri):
            object_store.fetch(uri, part)
        elif os.path.isdir(require_local(uri)):
            shutil.copytree(require_local(uri), part)
        else:
            shutil.copyfile(require_local(uri), part)
        os.replace(part, local_path)
    except OSError as error:
        raise StorageError(f"{uri}: cannot be copied to {local_path}: {error.strerror or error}") from error
    finally:
        remove_tree(part)


def upload(local_path: str, uri: str) -> None:
    """Copies a file, or every file below a directory, to a place. To a store, several are copied at once and in no order: each
    object appears whole, the directory as a whole does not. Raises StorageError.
    """
    if os.path.isdir(local_path):
        files = {os.path.join(local_path, name): join(uri, name) for name in files_under(local_path)}
    else:
        files = {local_path: uri}
    if is_remote(uri):
        object_store.upload(files)
        return
    try:
        for source, target in files.items():
            target = require_local(target)
            os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
            part = f"{target}.{uuid.uuid4().hex}.part"
            shutil.copyfile(source, part)
            os.replace(part, target)
    except OSError as error:
        raise StorageError(f"{local_path}: cannot be copied to {uri}: {error.strerror or error}") from error


def copy_in_store(source: str, target: str) -> None:
    """Copies an object to another name in the same store; the store moves the bytes. Raises StorageError."""
    object_store.copy(source, target)


_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def _exchange(first: str, second: str) -> bool:
    """Swaps two names in one step (Linux's renameat2). Returns False, with nothing done, where the file system cannot."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0)


def publish_directory(source: str, target: str) -> None:
    """Moves `source` to `target`. An existing `target` is swapped with it in one step and then removed.

    Where the file system cannot swap two names (some network file systems), the old directory is moved aside first, and moved
    back if the second rename fails. Between the two renames nothing is at `target`; at no time is half of a directory there.

    Raises:
      StorageError: then `target` is as it was.
    """
    source, target = require_local(source), require_local(target)
    try:
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        while not _put_in_place(source, target):
            pass  # another process has created one in the meantime: it is replaced
    except OSError as error:
        raise StorageError(f"{target}: cannot be published: {error.strerror or error}") from error


def _put_in_place(source: str, target: str) -> bool:
    """One attempt. False when `target` did not exist at first and then did."""
    if not os.path.lexists(target):
        try:
            os.rename(source, target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        return True
    if _exchange(source, target):
        remove_tree(source)
        return True
    aside = f"{source}.{uuid.uuid4().hex}.replaced"
    os.rename(target, aside)
    try:
        os.rename(source, target)
    except OSError:
        os.rename(aside, target)
        raise
    remove_tree(aside)
    return True


@contextlib.contextmanager
def exclusive(uri: str) -> Iterator[None]:
    """Holds a lock file while the context lasts; the kernel releases it when the process dies.

    Raises:
      StorageError: another process holds it.
    """
    path = require_local(uri)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "r+")
    except OSError as error:
        raise StorageError(f"{os.path.dirname(path)}: cannot be written: {error.strerror or error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"{os.path.dirname(os.path.dirname(path))}: another run is writing here; "
                "wait for it, or give this one its own --output"
            ) from error
        except OSError as error:
            raise StorageError(f"{path}: cannot be locked: {error.strerror or error}") from error
        yield
