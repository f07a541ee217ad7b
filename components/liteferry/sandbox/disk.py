"""Measures what a unit of work has on disk: bytes, number of files, and entries that are neither files nor folders."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import stat
from collections.abc import Iterator, Sequence

_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's own blocks are
# When less than this is free, a unit that has used more than this is ended, before others meet a full disk.
_LOW_BYTES = 10**9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Usage:
    """Bytes and number of files. Counting stops at a limit, so that a million files are not walked."""

    bytes: int
    files: int


def usage_of(folders: Sequence[str], *, pid: int | None, most_files: int) -> Usage:
    """Usage of folders, and of unlinked files that a process still holds open."""
    total, count = _held_without_a_name(pid), 0
    for folder in folders:
        for _, status in _entries(folder):
            total += status.st_blocks * _BLOCK_BYTES
            count += 1
            if count > most_files:
                return Usage(bytes=total, files=count)
    return Usage(bytes=total, files=count)


def is_running_low(folder: str, *, used: int) -> bool:
    """Whether a disk is nearly full and a unit's `used` bytes exceed the free space."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return False
    return free < _LOW_BYTES and used > free


def _held_without_a_name(pid: int | None) -> int:
    found: dict[tuple[int, int], int] = {}  # counted by file: standard output and standard error are one file
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                status = os.stat(f"/proc/{pid}/fd/{name}")
                if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                    found[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK_BYTES
    return sum(found.values())


def _entries(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below a folder; links are listed, not followed."""
    pending = [folder]
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as found:
            for entry in found:
                with contextlib.suppress(OSError):
                    yield entry.path, entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)


def odd_entries(folder: str) -> Iterator[tuple[str, str]]:
    """Everything below a folder that is neither a file nor a folder: its path, and what it is."""
    for path, status in _entries(folder):
        if stat.S_ISLNK(status.st_mode):
            with contextlib.suppress(OSError):
                yield path, f"a link to {os.readlink(path)}"
        elif not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            yield path, "a pipe, a socket or a device"
