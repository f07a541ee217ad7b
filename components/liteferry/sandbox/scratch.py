"""Scratch folders for units of work, below one folder of this process. The folder is removed when the process ends; if it was
killed, the next process removes it.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import IO

_PREFIX = "liteferry-"
_LOCK = ".lock"
_GRACE_S = 60.0  # a younger folder may have been created and not yet locked

_lock = threading.Lock()
_root: tuple[int, str, IO[bytes]] | None = None  # pid, folder, its held lock
_home: str | None = None  # the machine's temporary folder, after catch_temporaries


def new_folder() -> str:
    """A new empty folder for one unit of work; the caller removes it."""
    return tempfile.mkdtemp(dir=_root_folder())


def shared_folder(name: str) -> str:
    """A folder that several units of work use in turn; it is removed when this process ends."""
    folder = os.path.join(_root_folder(), name)
    os.makedirs(folder, exist_ok=True)
    return folder


@contextlib.contextmanager
def folder() -> Iterator[str]:
    """`new_folder` while the context lasts. If SIGKILL leaves it behind, the next process removes it."""
    made = new_folder()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def catch_temporaries() -> None:
    """From now on, temporary files of any library go into this process's own folder, which is removed with it, also after
    SIGKILL. Otherwise Beam leaves a folder for each pipeline.
    """
    global _home
    _home = tempfile.gettempdir()
    os.environ["TMPDIR"] = tempfile.tempdir = _root_folder()


def _root_folder() -> str:
    global _root
    with _lock:
        if _root is None or _root[0] != os.getpid() or not os.path.isdir(_root[1]):
            home = _home or tempfile.gettempdir()
            _sweep(home)
            folder = tempfile.mkdtemp(prefix=_PREFIX, dir=home)
            held = open(os.path.join(folder, _LOCK), "wb")  # noqa: SIM115  # held until the process ends: the kernel releases it
            fcntl.flock(held, fcntl.LOCK_EX)
            _root = (os.getpid(), folder, held)
        return _root[1]


def _sweep(directory: str) -> None:
    """Removes the folders of processes that have ended: those whose lock nobody holds."""
    for folder in glob.glob(os.path.join(glob.escape(directory), f"{_PREFIX}*")):
        with contextlib.suppress(OSError):
            if time.time() - os.stat(folder).st_mtime < _GRACE_S:
                continue
            with open(os.path.join(folder, _LOCK), "rb") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


@atexit.register
def _remove() -> None:
    if _root is not None and _root[0] == os.getpid():
        shutil.rmtree(_root[1], ignore_errors=True)
