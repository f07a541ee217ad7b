"""A bounded cache of objects from stores on this machine's disk, shared by all processes of the machine.

    with local_cache.lease([Wanted(uris=("gs://bucket/model.keras",))]) as copies:
        copies.path("gs://bucket/model.keras")          # stays there until the context ends

An entry is a folder named by URI and stamp, so a changed object is another entry. It appears by one rename when it is complete;
until then it grows as `<key>.part`. Users of an entry hold its lock shared; a process that downloads or removes it holds the
lock exclusively. The kernel releases the locks of a process that dies, and its unfinished entries are removed. When space is
needed, the least recently used entries are removed, never one in use. No process waits for space while it holds an entry, so
there is no deadlock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.storage import object_store

FOLDER, GIGABYTES = "LITEFERRY_CACHE_DIR", "LITEFERRY_CACHE_GB"
_DEFAULT_BYTES = 20 * 10**9
_SHARE_OF_FREE_DISK = 0.5
_FACTS = "entry.json"
_CONTENT = "content"
_PART, _GONE = ".part", ".gone"
_POLL_S = 0.05
_SLOW_POLL_S = 0.5
_LONGEST_WAIT_S = 3600.0  # wait for other processes at most this long: a stopped or hanging process never releases its entries


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """Files or folders that must lie side by side, each under its own name. `stamp`: the value of `stamp_of` when the run first
    looked at them; None for their present content.
    """

    uris: tuple[str, ...]
    stamp: str | None = None


@dataclasses.dataclass(frozen=True)
class Copies:
    """Local paths by URI. `problems`: the first URI of an input that cannot be copied -> why."""

    paths: Mapping[str, str] = dataclasses.field(default_factory=dict)
    problems: Mapping[str, StorageError] = dataclasses.field(default_factory=dict)

    def path(self, uri: str) -> str:
        """The local path of a URI; a local place stays as it is."""
        return self.paths.get(uri, uri) if storage.is_remote(uri) else storage.require_local(uri)

    def raise_problems(self) -> None:
        """Raises the first StorageError, if there is one."""
        for problem in self.problems.values():
            raise problem

    def in_uris(self, value: Any) -> Any:
        """JSON-like data with the URIs in place of the paths of their copies."""
        if not self.paths:
            return value
        if isinstance(value, str):
            for uri, path in self.paths.items():
                value = value.replace(path, uri)
            for uri, path in self.paths.items():  # also files beside a copy, such as a checkpoint's prefix
                value = value.replace(os.path.dirname(path), uri.rstrip("/").rpartition("/")[0])
            return value
        if isinstance(value, Mapping):
            return {self.in_uris(key): self.in_uris(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.in_uris(item) for item in value)
        return value


def folder() -> str:
    """$LITEFERRY_CACHE_DIR, else `liteferry` in the user's cache folder, else a folder among the temporary files."""
    named = os.environ.get(FOLDER)
    if named:
        return os.path.realpath(os.path.expanduser(named))
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.access(_nearest_existing(home), os.W_OK):
        return os.path.realpath(os.path.join(home, "liteferry"))
    return os.path.join(tempfile.gettempdir(), f"liteferry-cache-{os.getuid()}")


def _nearest_existing(path: str) -> str:
    while path and not os.path.exists(path):
        path = os.path.dirname(path)
    return path or os.sep


def capacity_bytes() -> int:
    """$LITEFERRY_CACHE_GB, else 20 GB or half of what is free or used by the cache, whichever is less."""
    text = os.environ.get(GIGABYTES)
    if text:
        try:
            return int(float(text) * 10**9)
        except ValueError as error:
            raise StorageError(f"{GIGABYTES}={text!r}: is not a number; give gigabytes, as in {GIGABYTES}=20") from error
    free = shutil.disk_usage(_nearest_existing(folder())).free
    return min(_DEFAULT_BYTES, int(_SHARE_OF_FREE_DISK * (free + sum(_sizes(folder()).values()))))


def stamp_of(uris: Sequence[str]) -> str:
    """Version stamp of these objects (see Wanted.stamp). Raises StorageError."""
    return seen(uris).stamp


@dataclasses.dataclass(frozen=True)
class Seen:
    """`stamp`: see Wanted. `mark`: see object_store.Entry; None when one of the files has none."""

    stamp: str
    mark: str | None


def seen(uris: Sequence[str]) -> Seen:
    """The stores' current metadata of these objects. Raises StorageError."""
    looks = [object_store.stat(uri) for uri in uris]
    marks = [look.mark for look in looks]
    return Seen(_stamp(looks), None if None in marks else repr(marks))


def _stamp(looks: Sequence[object_store.ObjectStat]) -> str:
    return hashlib.sha256("\0".join(look.stamp for look in looks).encode()).hexdigest()


@contextlib.contextmanager
def localise(uri: str, *, stamp: str | None = None) -> Iterator[str]:
    """The local path of one file or folder while the context lasts; a local place is returned as it is. Raises StorageError."""
    with lease([Wanted(uris=(uri,), stamp=stamp)]) as copies:
        copies.raise_problems()
        yield copies.path(uri)


def digest(uri: str) -> str:
    """`storage.digest` of a copy. Raises StorageError."""
    with localise(uri) as path:
        return storage.digest(path)


@contextlib.contextmanager
def lease(wanted: Sequence[Wanted]) -> Iterator[Copies]:
    """Holds copies of everything that is wanted and not local. Inputs that cannot be copied are listed in `problems`; the
    others are held.

    Request everything that one unit of work needs in one lease: a process that holds copies while it waits for more could wait
    for ever.
    """
    distant = list(dict.fromkeys(one for one in wanted if any(map(storage.is_remote, one.uris))))
    if not distant:
        yield Copies()
        return
    with contextlib.ExitStack() as held:
        yield _take(distant, held)


class _Entry:
    """A bundle of objects and its place in the cache."""

    def __init__(self, wanted: Wanted, looks: Sequence[object_store.ObjectStat] | None, root: str) -> None:
        self.wanted = wanted
        self.looks = looks
        self.stamp = wanted.stamp or _stamp(looks or ())
        key = hashlib.sha256("\0".join([*wanted.uris, self.stamp]).encode()).hexdigest()[:32]
        self.path = os.path.join(root, key)

    def size(self) -> int:
        if self.looks is None:
            self.looks = [object_store.stat(uri) for uri in self.wanted.uris]
            if _stamp(self.looks) != self.stamp:
                raise StorageError(f"{self.wanted.uris[0]}: has changed since this run looked at it first; start the run again")
        return sum(look.size for look in self.looks)

    def paths(self) -> dict[str, str]:
        return {uri: os.path.join(self.path, _CONTENT, _name(uri)) for uri in self.wanted.uris}


def _name(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]


def _take(wanted: Sequence[Wanted], held: contextlib.ExitStack) -> Copies:
    root = made_folder()
    problems: dict[str, StorageError] = {}
    entries = []
    for one in wanted:
        try:
            entries.append(_Entry(one, None if one.stamp else [object_store.stat(uri) for uri in one.uris], root))
        except StorageError as error:
            problems[one.uris[0]] = error
    give_up = time.monotonic() + _LONGEST_WAIT_S
    while True:
        with contextlib.ExitStack() as locks:
            if _try(entries, problems, locks, root, give_up):
                held.push(locks.pop_all())
                break
        if time.monotonic() > give_up:
            raise StorageError(
                f"{entries[0].wanted.uris[0]}: no room in {root} for {_LONGEST_WAIT_S:g} s: other processes use all of it; "
                f"end those that hang, or raise {GIGABYTES}"
            )
        time.sleep(_SLOW_POLL_S)
    paths = {uri: path for entry in entries if entry.wanted.uris[0] not in problems for uri, path in entry.paths().items()}
    return Copies(paths, problems)


def _try(
    entries: Sequence[_Entry], problems: dict[str, StorageError], locks: contextlib.ExitStack, root: str, give_up: float
) -> bool:
    """One attempt to hold all entries. False when there is no room, or another process has removed an entry; then all are
    released before the next attempt.
    """
    ours: list[tuple[_Entry, int]] = []
    theirs: list[_Entry] = []
    for entry in entries:
        if entry.wanted.uris[0] in problems or _share(entry, locks):
            continue
        lock = _lock(f"{entry.path}.lock", fcntl.LOCK_EX)
        if lock is None:
            theirs.append(entry)
            continue
        locks.callback(os.close, lock)
        if os.path.isdir(entry.path):
            return False  # another process has completed it meanwhile: the next attempt shares it
        try:
            entry.size()
            ours.append((entry, lock))
        except StorageError as error:
            problems[entry.wanted.uris[0]] = error
    if ours and not _reserve([entry for entry, _ in ours], entries, root):
        return False
    for entry, lock in ours:
        try:
            _download(entry)
        except StorageError as error:
            problems[entry.wanted.uris[0]] = error
            with contextlib.suppress(FileNotFoundError):
                os.remove(f"{entry.path}.lock")
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not os.path.isdir(entry.path) and entry.wanted.uris[0] not in problems:
            return False  # another process got the lock while this one converted it
    return all(_wait_for(entry, locks, give_up) for entry in theirs)


def _share(entry: _Entry, locks: contextlib.ExitStack) -> bool:
    """Locks an existing entry for use, which also marks it as used now."""
    if not os.path.isdir(entry.path):
        return False
    lock = _lock(f"{entry.path}.lock", fcntl.LOCK_SH)
    if lock is None:
        return False
    if not os.path.isdir(entry.path):
        os.close(lock)
        return False
    locks.callback(os.close, lock)
    with contextlib.suppress(OSError):
        os.utime(os.path.join(entry.path, _FACTS))
    return True


def _wait_for(entry: _Entry, locks: contextlib.ExitStack, give_up: float) -> bool:
    """Waits for another process's download. That process has reserved its room already and waits for nobody. False when the
    download failed.
    """
    while time.monotonic() < give_up:
        if _share(entry, locks):
            return True
        lock = _lock(f"{entry.path}.lock", fcntl.LOCK_EX)
        if lock is not None:
            os.close(lock)
            return _share(entry, locks)
        time.sleep(_POLL_S)
    return False


def _lock(path: str, how: int) -> int | None:
    """A descriptor that holds the lock, or None where it would have to wait."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass  # it was removed between opening and locking
        os.close(descriptor)


def _download(entry: _Entry) -> None:
    """Fills the reserved part and renames it, if the store still has the same version. Raises StorageError."""
    part = f"{entry.path}{_PART}"
    try:
        os.makedirs(os.path.join(part, _CONTENT))
        for uri, look in zip(entry.wanted.uris, entry.looks or (), strict=True):
            object_store.fetch(uri, os.path.join(part, _CONTENT, _name(uri)), look)
        if stamp_of(entry.wanted.uris) != entry.stamp:
            raise StorageError(f"{entry.wanted.uris[0]}: has changed while it was read; start again when nothing writes to it")
        os.rename(part, entry.path)
    except OSError as error:
        raise StorageError(
            f"{entry.wanted.uris[0]}: cannot be kept in {os.path.dirname(part)}: {error.strerror or error}; "
            f"make room, or set {FOLDER} to a folder elsewhere"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _reserve(ours: Sequence[_Entry], all_of_lease: Sequence[_Entry], root: str) -> bool:
    """Reserves room for entries by creating their parts. False, with nothing reserved, when entries in use leave too little."""
    need = sum(entry.size() for entry in ours)
    capacity = capacity_bytes()
    keep = {entry.path for entry in all_of_lease}
    with _room(root):
        sizes = _sizes(root)
        at_once = need + sum(size for path, size in sizes.items() if path in keep)
        if at_once > capacity:
            raise NoRoomError(
                f"{ours[0].wanted.uris[0]}: {at_once:,} bytes are needed at once, and the cache in {root} holds {capacity:,}; "
                f"raise {GIGABYTES}, or set {FOLDER} to a folder on a larger disk"
            )
        free = capacity - sum(sizes.values())
        for path in sorted(sizes, key=_last_used):
            key = path.removesuffix(_PART)
            if key not in keep and (path.endswith(_PART) or free < need):
                free += sizes[path] if _remove(key) else 0
        if free < need:
            return False
        for entry in ours:
            part = f"{entry.path}{_PART}"
            shutil.rmtree(part, ignore_errors=True)
            os.makedirs(part)
            with open(os.path.join(part, _FACTS), "w", encoding="utf-8") as file:
                json.dump({"uris": entry.wanted.uris, "stamp": entry.stamp, "bytes": entry.size()}, file)
    return True


class NoRoomError(StorageError):
    """The requested files together are larger than the cache."""


@contextlib.contextmanager
def _room(root: str) -> Iterator[None]:
    """The lock under which one process at a time counts and removes entries."""
    while (lock := _lock(os.path.join(root, "room.lock"), fcntl.LOCK_EX)) is None:
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        os.close(lock)


def _sizes(root: str) -> dict[str, int]:
    """Bytes of every entry and every part, counting reserved sizes."""
    sizes = {}
    with contextlib.suppress(FileNotFoundError):
        for found in os.scandir(root):
            if found.name.endswith(_GONE):
                shutil.rmtree(
                    found.path, ignore_errors=True
                )  # removals hold the room's lock, so the process that began this one has died
            if not found.is_dir(follow_symlinks=False):
                continue
            try:
                with open(os.path.join(found.path, _FACTS), encoding="utf-8") as file:
                    sizes[found.path] = int(json.load(file)["bytes"])
            except (OSError, ValueError, KeyError, TypeError):
                sizes[found.path] = 0  # left by a process that died at once, or just being removed
    return sizes


def _last_used(path: str) -> float:
    try:
        return os.stat(os.path.join(path, _FACTS)).st_mtime
    except OSError:
        return 0.0


def _remove(path: str) -> bool:
    """Removes an entry, or the remains of one, if no process uses or downloads it."""
    lock = _lock(f"{path}.lock", fcntl.LOCK_EX)
    if lock is None:
        return False
    try:
        doomed = f"{path}{_GONE}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)
        shutil.rmtree(f"{path}{_PART}", ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.remove(f"{path}.lock")
    finally:
        os.close(lock)
    return True


def made_folder() -> str:
    """The cache folder, created if needed, readable by this user alone. Raises StorageError."""
    root = folder()
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{root}: cannot be made: {error.strerror or error}; set {FOLDER} to a folder elsewhere") from error
    if os.stat(root).st_uid != os.getuid():
        raise StorageError(f"{root}: belongs to another user; set {FOLDER} to a folder of your own")
    return root
