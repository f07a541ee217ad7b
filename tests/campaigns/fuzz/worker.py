"""The process that the fuzzer reads inputs in: confined, limited, watched; one line on its standard output for each input.

    python -m tests.campaigns.fuzz.worker KIND SEED FIRST COUNT FOLDER

A line is [number, word or null, finding or null, seconds of CPU, bytes of memory at the peak above what it had].
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from tests.campaigns.fuzz import inputs

MOST_BYTES = 10**9  # of memory, for inputs that are all below a few megabytes
MOST_CPU_S = 10.0
_ADDRESS_SPACE_BYTES = 4 * 2**30
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Those with a path first; the descriptor of a folder that it is relative to comes last, where there is one.
_EVENTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.truncate", "os.chmod")
_TWO_PATHS = ("os.rename", "os.link")
_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect")


class Watch:
    """What Python code in this process does to files and processes while an input is read."""

    def __init__(self, folder: Path) -> None:
        self._folder = f"{folder}{os.sep}"
        self.is_on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, int) or not (flags & _WRITES if isinstance(flags, int) else "w" in str(mode)):
                return
            if os.sep not in os.fsdecode(path):
                return  # relative to a folder's descriptor, which this event does not tell; see `Room.problem`
            self._look(event, os.path.realpath(os.fsdecode(path)))
        elif event in _EVENTS:
            paths, folders = (arguments[:2], arguments[2:4]) if event in _TWO_PATHS else (arguments[:1], arguments[1:][-1:])
            for path, folder in zip(paths, (*folders, *folders, -1, -1), strict=False):
                self._look(event, path, folder)
        elif event in _PROCESSES:
            self.seen.append(f"{event} {arguments!r}"[:300])

    def _look(self, event: str, path: Any, folder: Any = -1) -> None:
        """`folder`: the descriptor that a relative path starts from, -1 for none."""
        if isinstance(path, (str, bytes)):
            start = os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) and folder >= 0 else ""
            name = os.path.join(start, os.fsdecode(path))
            real = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
            if not f"{real}{os.sep}".startswith(self._folder) and not real.startswith("/dev/"):
                self.seen.append(f"{event} {real}")


class Memory:
    """The peak of resident memory since it was last asked to forget."""

    def __init__(self) -> None:
        self._forget = os.open("/proc/self/clear_refs", os.O_WRONLY)
        self._status = os.open("/proc/self/status", os.O_RDONLY)
        self._before = 0

    def begin(self) -> None:
        os.pwrite(self._forget, b"5", 0)
        self._before = self._peak()

    def grown(self) -> int:
        return self._peak() - self._before

    def _peak(self) -> int:
        text = os.pread(self._status, 4096, 0)
        return int(text.partition(b"VmHWM:")[2].split()[0]) * 1024


class Room:
    """A folder with what inputs are made in, and a canary beside it that no reading may touch."""

    def __init__(self, folder: Path) -> None:
        self.input, self.temporary, self._canary = folder / "in", folder / "tmp", folder / "canary"
        for made in (self.input, self.temporary, self._canary):
            made.mkdir(parents=True, exist_ok=True)
        (self._canary / "kept").write_text("as it was")
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.temporary)

    def clear(self) -> None:
        """Everything that is not the canary: readers unpack and render, and may have been killed at it."""
        for folder in (self.input, self.temporary):
            for entry in os.scandir(folder):
                shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.remove(entry.path)

    def problem(self) -> str | None:
        names = sorted(os.listdir(self._canary))
        if names != ["kept"] or (self._canary / "kept").read_text() != "as it was":
            return f"the canary beside the inputs is now {names}"
        if os.listdir() != [self._canary.parent.name]:
            return f"there is something in the working directory: {sorted(os.listdir())}"
        beside = sorted(os.listdir(self._canary.parent))
        return None if beside == ["canary", "in", "tmp"] else f"there is something beside the inputs: {beside}"


def _prepare(kind: str) -> None:
    """Everything imported that a reader imports, so that an input's time and memory are its own."""
    from liteferry.commands.inspect.child import protobufs_alone
    from tests.campaigns.fuzz.readers import READERS

    protobufs_alone()
    for number in range(8):
        with contextlib.suppress(Exception):  # whatever it is, it is found again when it is looked for
            READERS[kind](inputs.make(kind, 0, number).write(Path(tempfile.mkdtemp())))


def read(kind: str, given: inputs.Input, room: Room, watch: Watch, memory: Memory) -> tuple[str | None, str | None, float, int]:
    """(word, finding, seconds of CPU, bytes) of one input."""
    from tests.campaigns.fuzz.readers import READERS

    path = given.write(room.input)
    word = finding = None
    memory.begin()
    watch.seen.clear()
    watch.is_on = True
    begun = time.process_time()
    try:
        word = str(READERS[kind](path))
    except Exception:  # noqa: BLE001  # this is what is looked for
        finding = traceback.format_exc(limit=-8)[-3000:]
    finally:
        watch.is_on = False
    seconds, grown = time.process_time() - begun, memory.grown()
    if watch.seen:
        finding = finding or f"reached outside: {watch.seen[:5]}"
    if grown > MOST_BYTES:
        finding = finding or f"took {grown:,} bytes of memory"
    if seconds > MOST_CPU_S:
        finding = finding or f"took {seconds:.1f} s"
    finding = finding or room.problem()
    room.clear()
    return word, finding, seconds, grown


def main(kind: str, seed: str, first: str, count: str, folder: str) -> None:
    from liteferry.sandbox.confine import confine

    room, memory = Room(Path(folder)), Memory()
    _prepare(kind)
    room.clear()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE_BYTES, _ADDRESS_SPACE_BYTES))
    confine([folder], readable=[str(Path(__file__).parent)])  # its own corpus, from which the next input is made
    watch = Watch(Path(folder).resolve())
    out = os.dup(1)
    for number in range(int(first), int(first) + int(count)):
        given = inputs.make(kind, int(seed), number)
        os.write(out, b"%d\n" % number)
        told = read(kind, given, room, watch, memory)
        os.write(out, json.dumps([number, *told]).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
