"""The lock of one run on an OUT: one launcher at a time, where that can be known, and what others can read about it.

On a local OUT the kernel holds the launcher's lock. On a store it is a lease, which the launcher renews. A job that was handed
over to a runner goes on without its launcher: then a lease for each model, and one for the fleet's files, let one writer at a
time write them, and a note says that the job was submitted.
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
_SUBMITTED = "submitted"
_KEPT = (_LOCK, "fleet", _SUBMITTED)


def _staging(out: str, *names: str) -> str:
    return storage.join(out, layout.STAGING, *names)


@contextlib.contextmanager
def exclusive(out: str) -> Iterator[None]:
    """Keeps other launchers from this OUT while the context lasts.

    Raises:
      StorageError: another launcher holds it.
    """
    if storage.is_remote(out):
        with leases.exclusive(_staging(out, _LOCK), place=out):
            yield
    else:
        with storage.exclusive(_staging(out, _LOCK)):
            yield


def is_going_on(out: str) -> bool:
    """Whether a living launcher holds this OUT. Raises StorageError when the store does not answer."""
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
    """Lets one process at a time write the fleet's files, so that all of them are of one run."""
    if storage.is_remote(out):
        with leases.held(_staging(out, "fleet")):
            yield
    else:
        yield


def clear_leftovers(out: str, *, keep_work: bool = False) -> None:
    """Removes what an earlier run has left in staging, except what other processes may hold, and half-written files of the fleet.
    The caller holds the lock. `keep_work`: keeps models' work folders, since workers of a lost launcher may still use them.
    """
    progress.forget(out)
    kept = _KEPT if storage.is_remote(out) else (_LOCK, _SUBMITTED)
    kept = (*kept, layout.MODELS) if keep_work else kept
    for name in storage.list_directory(_staging(out)):
        if name not in kept:
            storage.remove_tree(_staging(out, name))
    parts = (layout.FLEET_PARTS, layout.PAGE_PARTS, layout.HISTORY_PARTS)
    for folder in (out, *(storage.join(out, name) for name in (layout.HISTORY, layout.ASSETS, *parts))):
        storage.remove_unfinished(folder)


def note_submitted(out: str) -> str:
    """Writes a note that a job goes on without its launcher, or may; `submitted` finds it until the fleet's files are written.
    Returns its name.
    """
    note = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
    name = f"{uuid.uuid4().hex}.json"
    storage.write_bytes(_staging(out, _SUBMITTED, name), json.dumps(note).encode())
    return name


def forget_note(out: str, name: str) -> None:
    """Removes one note: its job has ended."""
    storage.remove_tree(_staging(out, _SUBMITTED, name))


def submitted(out: str) -> list[str]:
    """A few words for each submitted job that has not written the fleet's files yet: from where, since when."""
    found = []
    for name in storage.list_directory(_staging(out, _SUBMITTED)):
        with contextlib.suppress(StorageError, ValueError, KeyError, TypeError, OverflowError, OSError):
            note = parse(beneath.read_bytes(out, f"{layout.STAGING}/submitted/{name}"))
            since = datetime.datetime.fromtimestamp(note["since"], datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            found.append(f"submitted from {single_line(note['host'])} at {since}")
    return found


def forget_submitted(out: str) -> None:
    """Removes the notes of submitted jobs, once the fleet's files are written."""
    storage.remove_tree(_staging(out, _SUBMITTED))
