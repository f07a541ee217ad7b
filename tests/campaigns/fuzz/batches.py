"""Batches of inputs in forked processes that have the libraries in memory: one that hangs or dies costs itself alone."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# No input takes a second; after this many without a word the process hangs.
_MOST_SECONDS = 60.0
# What a batch says of each of its inputs, in their order: counts to add, and what fired.
Tell = Callable[[Mapping[str, int], str], None]
Batch = Callable[[int, int, Tell], None]  # (first number, count, tell)


def run(batch: Batch, total: int, *, size: int, seconds: float) -> dict[str, Any]:
    """Runs `total` inputs in batches of `size` each in a process of its own, for so many seconds at most.

    Returns:
      The sums of the counts, under `fired` what fired, and under `dead` the inputs that ended their process: the next one begins
      behind them.
    """
    begun = time.monotonic()
    sums: dict[str, Any] = {"fired": [], "dead": []}
    at = 0
    while at < total and time.monotonic() - begun < seconds:
        count = min(size, total - at)
        told = 0
        for counts, fired in _forked(batch, at, count):
            told += 1
            add(sums, counts, fired)
        if told < count:
            sums["dead"].append(at + told)
            told += 1
        at += told
        print(f"{at} of {total}: {json.dumps(sums)}", file=sys.stderr, flush=True)  # one that is ended has said so much
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {**sums, "seconds": round(time.monotonic() - begun, 1), "cpu_seconds": round(spent.ru_utime + spent.ru_stime, 1)}


def add(sums: dict[str, Any], counts: Mapping[str, int], fired: str) -> None:
    """Adds what was said of one input."""
    for key, value in counts.items():
        sums[key] = sums.get(key, 0) + value
    sums["fired"] += [fired] if fired else []


def _forked(batch: Batch, first: int, count: int) -> Iterator[tuple[dict[str, int], str]]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _in_child(batch, first, count, writing)
    os.close(writing)
    try:
        for line in _lines(reading):
            yield tuple(json.loads(line))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _in_child(batch: Batch, first: int, count: int, writing: int) -> None:
    """Never returns: what the parent would do at its end is not the child's to do."""
    try:
        batch(first, count, lambda counts, fired: _write(writing, json.dumps([counts, fired]).encode() + b"\n"))
    finally:
        os._exit(0)


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _lines(reading: int) -> Iterator[bytes]:
    """Whole lines, until the other side ends or says nothing for too long."""
    rest = b""
    with open(reading, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], _MOST_SECONDS)[0] and (piece := pipe.read(2**16)):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
