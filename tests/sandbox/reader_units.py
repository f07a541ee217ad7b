"""What `test_reader_process.py` has readers do, and the rows that a sandbox reads for `test_hostile_files.py`."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import Any


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Does what the request says, and answers with its name."""
    do = request["do"]
    if do == "abort":
        os.abort()
    elif do == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif do == "hang":
        time.sleep(100)
    elif do == "spin":
        while True:
            pass
    elif do == "exit":
        sys.exit("the library is not there")
    elif do == "print":
        os.write(1, b"a library prints\n")
        print("so does another")
    elif do == "take memory":
        return {"do": do, "bytes": len(bytearray(32 * 2**30))}
    elif do == "look":
        return {"do": do, "environment": dict(os.environ), "core": str(__import__("resource").getrlimit(4))}
    elif do == "look at yourself":
        opened = [_link(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
        return {"do": do, "parent": os.getppid(), "sockets": [path for path in opened if path.startswith("socket:")]}
    elif do == "write":
        return {"do": do, "wrote": _can(lambda: open(request["place"], "w").close())}
    elif do == "read":
        return {"do": do, "read": _can(lambda: open(request["place"]).close())}
    elif do == "connect":
        return {"do": do, "connected": _can(lambda: socket.create_connection(("127.0.0.1", request["port"]), 2).close())}
    return {"do": do}


def end_as_the_file_is_called(path: str) -> dict[str, Any]:
    """Ends as the file's name says, abort.h5 for example."""
    return answer({"do": os.path.splitext(os.path.basename(path))[0]})


def describe_with_too_much_memory(path: str) -> dict[str, Any]:
    """The answer of `inspect` where reading a file takes all memory there is."""
    from liteferry.commands.inspect import child, facts

    facts.describe = lambda path: {"bytes": bytearray(32 * 2**30)}  # in the reader alone
    return child.answer(path)


def environment(path: str) -> dict[str, Any]:
    return {"facts": dict(os.environ)}


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # of the listing itself, which is closed by now
        return ""


def _can(act: Any) -> bool:
    try:
        act()
    except OSError:
        return False
    return True


def read_rows(path: str, reporter: Any) -> None:
    """In a sandbox: the rows of a sample file, as evaluation reads them."""
    from liteferry.config.job import SamplesSpec
    from liteferry.samples.batches import read_batches
    from liteferry.samples.binding import bind
    from liteferry.samples.opening import open_samples
    from liteferry.types import Signature, TensorSpec

    spec = SamplesSpec(path=path)
    found = open_samples(spec)
    inputs = tuple(
        TensorSpec(name=name, shape=(None, *column.shape), dtype=column.dtype) for name, column in found.columns.items()
    )
    binding = bind(found, spec, Signature(inputs=inputs, outputs=inputs), samples_name="rows")
    reporter.result(sum(len(batch.ids) for shard in found.shards for batch in read_batches(shard, binding, batch_size=64)))
