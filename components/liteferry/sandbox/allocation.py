"""Limits what native code may allocate while it parses bytes that claim to need a certain amount of memory."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def at_most(count: int) -> Iterator[None]:
    """Lets this process allocate `count` bytes more than it holds now. Further allocations fail; how a native library reacts is
    up to it.

    The limit counts for all threads of the process, so it is for sandboxes and reader processes. Does nothing where the kernel
    does not say how much a process holds.
    """
    held = status_bytes(
        "VmData"
    )  # Linux counts this against RLIMIT_DATA since 4.7: private writable memory, including mapped memory
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
    """The value of `name` (VmData, VmHWM) in proc(5)'s status of this process, in bytes; None where there is no such line."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
