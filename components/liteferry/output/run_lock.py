"""Who runs on an OUT: one launcher at a time, where that can be known, and what says so to others.

On a local OUT the kernel holds the launcher's lock. On a store it is a lease, which the launcher renews. A job that was handed
over goes on without its launcher: then each model's own lease, and that of the fleet's files, let one writer at a time to them,
and a note says that the job was begun.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.json_records import parse
from liteferry.output import progress
from liteferry.report.formats import single_line
from liteferry.storage import beneath, layout, leases

_LOCK = "lock"
_KEPT = (_LOCK, "fleet", "submitted")


def _staging(out: str, *names: str) -> str:
    return storage.join(out, layout.STAGING, *names)


@contextlib.contextmanager
def exclusive(out: str) -> Iterator[None]:
    """Keeps other launchers from this OUT for as long as the context lasts.

    Raises:
      StorageError: there is another one.
    """
    if storage.is_remote(out):
        with leases.exclusive(_staging(out, _LOCK), place=out):
            yield
    else:
        with storage.exclusive(_staging(out, _LOCK)):
            yield


def is_going_on(out: str) -> bool:
    """Whether a launcher that lives holds this OUT. Raises StorageError when the store does not say."""
    lock = _staging(out, _LOCK)
    if storage.is_remote(out):
        return leases.holder_of(lock) is not None
    if not storage.exists(lock):
        return False
    try:
        with storage.exclusive(lock):
            return False
    except StorageError:
        return True


@contextlib.contextmanager
def writing_fleet(out: str) -> Iterator[None]:
    """Lets one process at a time write the files that tell of the whole fleet, so that they are of one run."""
    if storage.is_remote(out):
        with leases.held(_staging(out, "fleet")):
            yield
    else:
        yield


def clear_leftovers(out: str) -> None:
    """Everything in staging but what others may hold belongs to a run that is over: this process holds the lock. So does what is
    half written of the fleet's files.
    """
    progress.forget(out)
    kept = _KEPT if storage.is_remote(out) else (_LOCK,)
    for name in storage.list_directory(_staging(out)):
        if name not in kept:
            storage.remove_tree(_staging(out, name))
    for folder in (out, storage.join(out, layout.HISTORY), storage.join(out, layout.ASSETS)):
        storage.remove_unfinished(folder)


def note_submitted(out: str) -> None:
    """Leaves a note that a job goes on without its launcher, for `submitted` to find until the fleet's files are written."""
    note = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
    storage.write_bytes(_staging(out, "submitted", f"{uuid.uuid4().hex}.json"), json.dumps(note).encode())


def submitted(out: str) -> list[str]:
    """A few words for each job that was handed over and has not written the fleet's files yet: from where, since when."""
    found = []
    for name in storage.list_directory(_staging(out, "submitted")):
        with contextlib.suppress(StorageError, ValueError, KeyError, TypeError, OverflowError, OSError):
            note = parse(beneath.read_bytes(out, f"{layout.STAGING}/submitted/{name}"))
            since = datetime.datetime.fromtimestamp(note["since"], datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            found.append(f"submitted from {single_line(note['host'])} at {since}")
    return found


def forget_submitted(out: str) -> None:
    """The fleet's files are there: whoever looks at OUT finds a finished run."""
    storage.remove_tree(_staging(out, "submitted"))
