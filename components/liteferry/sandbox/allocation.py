"""A bound on what native code may allocate, for as long as a stranger's bytes say how much that is."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def at_most(count: int) -> Iterator[None]:
    """Lets this process allocate `count` bytes more than it holds now; beyond that every allocation fails, and its library makes
    of that what it likes.

    It bounds all threads of the process, so it is for sandboxes and reader processes. Does nothing where the kernel does not say
    what a process holds.
    """
    held = status_bytes("VmData")  # what Linux counts against RLIMIT_DATA: private writable memory, mapped ones too, since 4.7
    if held is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = held + count
    if soft != resource.RLIM_INFINITY and soft < limit:
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def status_bytes(name: str) -> int | None:
    """What proc(5) says of this process under `name` (VmData, VmHWM), in bytes; None where there is no such thing."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
