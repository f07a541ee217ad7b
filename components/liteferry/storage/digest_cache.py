"""A cache of digests of objects on stores, kept on this machine.

A digest costs a download. A digest stays valid while the store reports the same generation or entity tag, time and size. Objects
whose stamp might be reused for other content are not cached, see `object_store.Entry.mark`. A cached digest only decides whether
a model is done already: an export takes the digest of the bytes that it exports.

The cache is one SQLite file in the cache folder, shared by all processes of the machine, with room for the checkpoints of a large
fleet; entries that were not used for longest are dropped first. On any error the cache counts as empty, and the digest is
computed again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from liteferry.errors import StorageError
from liteferry.storage import local_cache
from liteferry.version import __version__

T = TypeVar("T")

_FILE = "digests.sqlite"
_MOST = 200_000  # entries, of about 150 bytes
_PATIENCE_S = 5.0
_TABLE = """
    CREATE TABLE IF NOT EXISTS digests
    (number INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, digest TEXT NOT NULL, bytes INTEGER NOT NULL)
"""
_ENDPOINTS = ("STORAGE_EMULATOR_HOST", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
_NEXT = "(SELECT coalesce(max(number), 0) + 1 FROM digests)"


@dataclasses.dataclass(frozen=True)
class Known:
    """The digest of all files of a checkpoint, and their size in bytes."""

    digest: str
    size_bytes: int


def lookup(uris: Sequence[str], mark: str | None) -> Known | None:
    """The cached digest of these files with this mark (`local_cache.Seen`), or None."""
    return None if mark is None else _ask(functools.partial(_lookup, _key(uris, mark)))


def store(uris: Sequence[str], mark: str | None, known: Known) -> None:
    """Adds an entry for `lookup` to find."""
    if mark is not None:
        _ask(functools.partial(_store, _key(uris, mark), known))


def _key(uris: Sequence[str], mark: str) -> str:
    """The key of an entry. It includes LiteFerry's version, since another version may compute digests differently, and the
    endpoint, since another endpoint is another store.
    """
    endpoints = [os.environ.get(name) for name in _ENDPOINTS]
    return hashlib.sha256(repr([__version__, endpoints, *uris, mark]).encode()).hexdigest()


def _lookup(key: str, file: sqlite3.Connection) -> Known | None:
    age = "(SELECT max(number) FROM digests) - number"
    row = file.execute(f"SELECT digest, bytes, {age} FROM digests WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    if row[2] > _MOST // 2:  # not on every lookup, since it is a write
        file.execute(f"UPDATE digests SET number = {_NEXT} WHERE key = ?", (key,))
    return Known(str(row[0]), int(row[1]))


def _store(key: str, known: Known, file: sqlite3.Connection) -> None:
    file.execute(
        f"REPLACE INTO digests (number, key, digest, bytes) VALUES ({_NEXT}, ?, ?, ?)", (key, *dataclasses.astuple(known))
    )
    file.execute("DELETE FROM digests WHERE number <= (SELECT max(number) FROM digests) - ?", (_MOST,))


def _ask(call: Callable[[sqlite3.Connection], T]) -> T | None:
    """The result of `call` on the database, in one transaction; None when anything goes wrong. Each call opens its own
    connection, since threads and forked processes cannot share one.
    """
    with contextlib.suppress(sqlite3.Error, OSError, StorageError):
        path = os.path.join(local_cache.made_folder(), _FILE)
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=_PATIENCE_S)) as file, file:
                file.execute(_TABLE)
                file.execute("BEGIN IMMEDIATE")
                return call(file)
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:  # no database, or a damaged one: the next call makes a new one
                os.remove(path)
            raise
    return None
