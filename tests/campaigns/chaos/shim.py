"""The faults of `shim.c` for a process and all that it starts: compiled on the spot, counted in a file."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

from tests.campaigns.chaos.case import NotTriedError

_COUNTER = struct.Struct("=ii")


def _library(folder: Path) -> Path:
    library = folder / "shim.so"
    if library.exists():
        return library
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NotTriedError("no C compiler here, which makes the library that fails reads and writes")
    source = Path(__file__).with_name("shim.c")
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True, capture_output=True
    )
    return library


class Shim:
    """A fault of one kind for files with a text in their path, `times` times in all processes together."""

    def __init__(self, folder: Path, kind: str, text: str, times: int) -> None:
        self._counter = folder / "shim_counter"
        self._counter.write_bytes(_COUNTER.pack(times, 0))
        self.environment = {"LD_PRELOAD": str(_library(folder)), "LITEFERRY_CHAOS_SHIM": f"{kind}:{text}:{self._counter}"}

    def made(self) -> int:
        """How many faults have been made."""
        return int(_COUNTER.unpack(self._counter.read_bytes())[1])
