"""Finds which confinements of a sandbox this machine's kernel enforces, by a trial in a process of its own."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

EVERY = ("files", "network", "signals")
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; from liteferry.sandbox.confine import confine; "
    "import tempfile; print(' '.join(confine([tempfile.gettempdir()])))"
)


@functools.cache
def held() -> tuple[str, ...]:
    """The confinements of `EVERY` that the kernel enforces: reading and writing of files, the network, signals to other
    processes.
    """
    command = [sys.executable, "-c", _PROGRAM, *map(os.path.abspath, sys.path)]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(name for name in EVERY if name in said.split())


def in_words() -> str:
    """For reports: "files, network, signals", or "none"."""
    return ", ".join(held()) or "none"


def warning() -> str | None:
    """A warning for a machine whose kernel does not confine files, shown before a run; None where it does."""
    if "files" in held():
        return None
    rest = f"; only {in_words()}" if held() else ""
    return (
        f"this machine's kernel does not confine the processes that load checkpoints (no Landlock{rest}): they may read and "
        "write everything that you may. Run untrusted checkpoints as a user with few rights, or in a container; SECURITY.md "
        "lists the remaining guarantees"
    )
