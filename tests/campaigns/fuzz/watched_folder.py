"""Who opens, makes or changes anything in a folder, as the kernel tells it: what native code does, too, unseen by Python."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_OPENED, _CHANGED = 0x20, 0x2 | 0x100 | 0x40 | 0x80 | 0x200  # IN_OPEN; modified, made, moved away or here, removed
_NONBLOCK = os.O_NONBLOCK
_IS_FOLDER = 0x40000000
_HEAD = struct.Struct("iIII")


class WatchedFolder:
    """A folder with a secret in it. `events` tells what happened in it since the last time."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(_NONBLOCK)
        watch = self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _OPENED | _CHANGED)
        if self._descriptor < 0 or watch < 0:
            raise OSError(ctypes.get_errno(), f"the kernel watches no folder ({folder})")

    def events(self) -> list[str]:
        """`name: opened` or `name: changed`. Names alone are no secret: who lists the folder is not told."""
        found = []
        try:
            content = os.read(self._descriptor, 2**20)
        except BlockingIOError:
            return []
        at = 0
        while at < len(content):
            _, mask, _, length = _HEAD.unpack_from(content, at)
            at += _HEAD.size
            name = content[at : at + length].rstrip(b"\0").decode()
            at += length
            if name:
                found.append(f"{name}: {'changed' if mask & _CHANGED else 'opened'}")
        return found
