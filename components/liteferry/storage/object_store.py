"""Object stores, and every other place that fsspec has a driver for: `storage` calls this for a URI with a scheme.

gs:// uses gcsfs, s3:// uses s3fs, others what fsspec has for them; a driver is imported when its first URI is met. All of it
works against emulators of both stores. Beam's file systems are no second driver, since they have no conditional writes. The
drivers find credentials and endpoints in the environment; a job holds none.

Differences between stores and disks, and how they are handled:

- It has no folders. A folder exists when an object lies below its name; objects whose names end in "/" stand for empty folders
  and are skipped. `exists`, listings and `glob` give the results that they would give on a downloaded copy.
- An object appears whole or not at all, so writing needs no temporary name. It may change between two requests: `stamp` tells.
- Names that are not file names ("a//b", "../b") are refused, since they would be written to another place.
- Requests fail now and then. Drivers repeat most of them; other transient failures are tried a few times.

Nothing but connections is kept between calls: the drivers' caches of listings are off.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import datetime
import functools
import hashlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from liteferry.errors import StorageError
from liteferry.storage import name_patterns
from liteferry.storage.drivers import ENDPOINTS, STORES, ask, failure, place, scheme_of, status_of, store_of

T = TypeVar("T")

_PARALLEL = 16  # parallel requests of one call: they wait for the network, not for a core
_CONTENT_KEYS = ("generation", "ETag", "etag", "md5Hash")
_TIME_KEYS = ("mtime", "LastModified", "last_modified", "updated", "created")
_STAMP_KEYS = (*_CONTENT_KEYS, *_TIME_KEYS)
_SETTLED_S = 60.0  # a modification time does not tell two writes in the same tick apart, and clocks differ
_ONE_AT_A_TIME = threading.Lock()  # the memory store looks first and creates then; only one process can see it
_MARK = "liteferry-call"  # metadata of an object that was created exclusively: which call made it


@dataclasses.dataclass(frozen=True)
class Entry:
    """An object: its size in bytes, and a stamp that changes when its content does. `mark`: a stamp that can never be reused for
    other content (entity tag, generation); None if the store gives none, for example only a modification time of this minute.
    """

    size: int
    stamp: str
    mark: str | None = None


def join(uri: str, *parts: str) -> str:
    """Joins names to a place."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts if part)])


def _refuse_missing_bucket(uri: str) -> None:
    """Raises StorageError when the bucket itself is missing, since finding nothing in it would look like an empty folder."""
    driver, path = place(uri)
    bucket = path.strip("/").partition("/")[0]
    look: Callable[[], Any]
    if store_of(uri) == "s3":
        look = functools.partial(driver.call_s3, "list_objects_v2", Bucket=bucket, MaxKeys=1)
    elif store_of(uri) == "gs":
        look = functools.partial(driver.call, "GET", "b/{}/o", bucket, maxResults=1, json_out=True)
    else:
        return
    try:
        ask(uri, "read", look)
    except FileNotFoundError as error:
        then = f"correct the name, or create the bucket; {ENDPOINTS[store_of(uri)]} must be its store's"
        raise StorageError(f"{uri}: there is no bucket {bucket!r}; {then}") from error


# Looking


def _entry(facts: Mapping[str, Any]) -> Entry:
    key = next(
        (key for key in _STAMP_KEYS if facts.get(key)), None
    )  # the most exact one: listings have others with less precision
    size = int(facts.get("size") or 0)
    stamp = f"{key}={facts.get(key or '')} size={size}"
    return Entry(size, stamp, f"{stamp} {_time_in(facts)}" if _is_lasting(key, facts) else None)


def _time_in(facts: Mapping[str, Any]) -> str:
    key = next((key for key in _TIME_KEYS if facts.get(key)), None)
    return f"{key}={facts.get(key or '')}"


def _is_lasting(key: str | None, facts: Mapping[str, Any]) -> bool:
    if key in _CONTENT_KEYS:
        return not str(facts[key]).startswith("W/")  # a weak entity tag
    at = facts.get(key or "")
    if isinstance(at, datetime.datetime):
        at = (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()
    return isinstance(at, int | float) and at < time.time() - _SETTLED_S


def file_entry(uri: str) -> Entry | None:
    """The object of exactly this name, or None, whatever lies below the name."""
    driver, path = place(uri)
    if scheme_of(uri) in STORES and "/" not in path:
        return None  # a bucket
    try:
        facts = ask(uri, "read", lambda: driver.info(path))
    except FileNotFoundError:
        return None
    return None if facts["type"] == "directory" else _entry(facts)


def folder_entries(uri: str, *, stem: str = "") -> dict[str, Entry]:
    """Every object below a folder by its name relative to it, sorted; none when there is no such folder.

    Args:
      stem: only names that begin so.

    Raises:
      StorageError: a bucket that is not there, an object whose name is no file name.
    """
    entries = {}
    for name, facts in _objects_below(uri, stem=stem):
        if name.endswith("/") or not name:
            continue
        if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
            raise StorageError(f"{uri}: holds an object named {name!r}, which is not a valid file name; rename or remove it")
        entries[name] = _entry(facts)
    if not entries:
        _refuse_missing_bucket(uri)
    return dict(sorted(entries.items()))


def _objects_below(uri: str, *, stem: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    driver, path = place(uri)
    narrow = {"prefix": stem} if stem and scheme_of(uri) in STORES else {}
    try:
        found = ask(uri, "listed", lambda: driver.find(path, detail=True, **narrow))
    except FileNotFoundError:
        return
    below = f"{path.rstrip('/')}/"
    for name, facts in found.items():
        if name.startswith(f"{below}{stem}"):
            yield name[len(below) :], facts


def exists(uri: str) -> bool:
    """Raises StorageError when the store does not say."""
    driver, path = place(uri)
    try:
        ask(uri, "read", lambda: driver.info(path))
    except FileNotFoundError:
        return False
    return True


def list_directory(uri: str) -> list[str]:
    """Names in a folder, sorted; empty when there is none. Raises StorageError, also for a bucket that is not there."""
    driver, path = place(uri)
    try:
        found = ask(uri, "listed", lambda: driver.ls(path, detail=True))
    except (FileNotFoundError, NotADirectoryError):
        found = []
    below = f"{path.rstrip('/')}/"
    names = {facts["name"].rstrip("/") for facts in found}
    listed = sorted(name[len(below) :] for name in names if name.startswith(below))
    if not listed:
        _refuse_missing_bucket(uri)
    return listed


@dataclasses.dataclass(frozen=True)
class ObjectStat:
    """The object at a URI: a file, or a folder with `entries`. `stamp` and `mark` change when the content of any file does."""

    size: int
    stamp: str
    entries: Mapping[str, Entry] | None = None
    mark: str | None = None


def stat(uri: str) -> ObjectStat:
    """The file or folder at a URI. Raises StorageError, also if nothing exists there."""
    file = file_entry(uri)
    if file is not None:
        return ObjectStat(file.size, file.stamp, mark=file.mark)
    entries = folder_entries(uri)
    if not entries:
        raise failure(uri, "read", FileNotFoundError())
    stamp = _hash([(name, entry.stamp) for name, entry in entries.items()])
    marks = [(name, entry.mark) for name, entry in entries.items()]
    mark = None if any(mark is None for _, mark in marks) else _hash(marks)
    return ObjectStat(sum(entry.size for entry in entries.values()), stamp, entries, mark)


def _hash(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


# Patterns


def glob(fixed: str, rest: str) -> list[str]:
    """The URIs that match a pattern `rest` below a folder, sorted; see `name_patterns`.

    A pattern for names in one folder lists that folder; any other pattern lists everything below it, a thousand objects to a
    request.
    """
    root = fixed.rstrip("/")
    if not rest:
        return [root] if exists(fixed) else []
    if "/" not in rest and rest != "**":
        return [f"{root}/{name}" for name in list_directory(fixed) if name_patterns.fits(name, rest)]
    files = folder_entries(fixed, stem=name_patterns.literal_start(rest))
    return [f"{root}/{name}" for name in name_patterns.matching(files, rest)]


# Moving


def read_bytes(uri: str) -> bytes:
    """Raises StorageError."""
    driver, path = place(uri)
    try:
        content: bytes = ask(uri, "read", lambda: driver.cat_file(path))
    except FileNotFoundError as error:
        _refuse_missing_bucket(uri)
        raise failure(uri, "read", error) from error
    return content


def write_bytes(uri: str, data: bytes) -> None:
    """Raises StorageError."""
    driver, path = place(uri)
    try:
        ask(uri, "written", lambda: driver.pipe_file(path, data))
    except FileNotFoundError as error:
        _refuse_missing_bucket(uri)
        raise failure(uri, "written", error) from error


def create_exclusively(uri: str, data: bytes) -> bool:
    """Returns True when this call has created the object, False when it existed. At most one of several callers gets True: the
    store decides (gs: if-generation-match 0; s3: If-None-Match). The object carries a mark of the call that made it: if an answer
    is lost, the repeated request finds the object of the first one. With other schemes this is as safe as their driver's
    `mode="create"`.

    Raises:
      StorageError: then the object may have been created.
    """
    driver, path = place(uri)
    mark = uuid.uuid4().hex
    marks: dict[str, Any] = {"gs": {"metadata": {_MARK: mark}}, "s3": {"Metadata": {_MARK: mark}}}.get(store_of(uri), {})
    try:
        ask(uri, "created", lambda: _create(driver, path, data, marks))
    except FileExistsError:
        return bool(marks) and _mark_of(uri) == mark
    except FileNotFoundError as error:
        _refuse_missing_bucket(uri)
        raise failure(uri, "created", error) from error
    return True


def _create(driver: Any, path: str, data: bytes, marks: Mapping[str, Any]) -> None:
    try:
        with _ONE_AT_A_TIME if not marks else contextlib.nullcontext():
            driver.pipe_file(path, data, mode="create", **marks)
    except OSError as error:
        if status_of(error) == 412:  # s3fs has no exception class for it
            raise FileExistsError(path) from error
        raise


def _mark_of(uri: str) -> str | None:
    driver, path = place(uri)
    try:
        if store_of(uri) == "s3":
            marks = ask(uri, "read", lambda: driver.metadata(path, refresh=True))
        else:
            marks = ask(uri, "read", lambda: driver.info(path)).get("metadata")
    except FileNotFoundError:
        return None
    return (marks or {}).get(_MARK)


def fetch(uri: str, path: str, seen: ObjectStat | None = None) -> None:
    """Copies a file, or a folder with everything in it, to a path that does not exist yet; several files at once, each with the
    size that the store reports, or reported in `seen`.

    Raises:
      StorageError: then a part may be there.
    """
    seen = seen or stat(uri)
    if seen.entries is None:
        _fetch(uri, path, seen.size)
        return
    try:
        for folder in {os.path.dirname(os.path.join(path, name)) for name in seen.entries}:
            os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise failure(uri, f"copied to {path}", error) from error
    files = [(join(uri, name), os.path.join(path, name), entry.size) for name, entry in seen.entries.items()]
    _side_by_side(lambda file: _fetch(*file), files)


def _fetch(uri: str, path: str, size: int) -> None:
    driver, at = place(uri)

    def fetch() -> None:
        driver.get_file(at, path)
        if not os.path.exists(path):
            open(path, "wb").close()  # drivers skip empty files
        arrived = os.path.getsize(path)
        if arrived != size:
            raise ConnectionError(f"{arrived:,} of {size:,} bytes arrived")

    try:
        ask(uri, "read", fetch)
    except FileNotFoundError as error:
        raise failure(uri, "read", error) from error


def upload(files: Mapping[str, str]) -> None:
    """Copies local files to URIs, several at once and in no order. Raises StorageError; then some may be there."""
    _side_by_side(lambda pair: _put(*pair), files.items())


def _put(path: str, uri: str) -> None:
    driver, at = place(uri)
    if not os.path.isfile(path):
        raise StorageError(f"{path}: cannot be read: it is no file")
    try:
        ask(uri, "written", lambda: driver.put_file(path, at))
    except FileNotFoundError as error:
        _refuse_missing_bucket(uri)
        raise failure(uri, "written", error) from error


def copy(source: str, target: str) -> None:
    """Copies an object within its store, which moves the bytes itself. Raises StorageError."""
    driver, path = place(source)
    _, at = place(target)
    try:
        ask(source, "copied", lambda: driver.cp_file(path, at))
    except FileNotFoundError as error:
        raise failure(source, "copied", error) from error


def remove_tree(uri: str) -> None:
    """Removes an object and everything below its name. Ignores what does not exist or cannot be removed."""
    driver, path = place(uri)
    with contextlib.suppress(StorageError):
        names = [path, *(f"{path.rstrip('/')}/{name}" for name, _ in _objects_below(uri))]
        _side_by_side(lambda name: _remove(driver, name, uri), names)


def _remove(driver: Any, path: str, uri: str) -> None:
    with contextlib.suppress(FileNotFoundError, StorageError, FileExistsError):
        ask(uri, "removed", lambda: driver.rm_file(path))


def _side_by_side(call: Callable[[T], None], items: Iterable[T]) -> None:
    """Runs calls in parallel. Raises the error of the first call that fails; calls that have not started by then are not
    started.
    """
    with concurrent.futures.ThreadPoolExecutor(_PARALLEL) as threads:
        waiting = [threads.submit(call, item) for item in items]
        try:
            for done in concurrent.futures.as_completed(waiting):
                done.result()
        except BaseException:
            threads.shutdown(wait=True, cancel_futures=True)
            raise
