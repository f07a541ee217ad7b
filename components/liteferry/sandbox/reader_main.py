"""The process that reads untrusted files. It sets its limits, then answers each line of JSON with one. The line before the
first request lists the paths that it may read.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import tempfile
from typing import Any

from liteferry.sandbox.confine import confine
from liteferry.sandbox.units import function_of

MEMORY_BYTES = 6 * 2**30


def main(function: str, seconds: str) -> int:
    """Answers the requests on standard input with `function`. Returns 0: errors of a file are in its answer."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keeps libraries' prints out of the answers
    _limit(resource.RLIMIT_CORE, 0)  # a parser that crashes is expected here and leaves no core file
    confine([tempfile.gettempdir()], readable=json.loads(sys.stdin.readline()))
    answer = function_of(function)
    for line in sys.stdin:
        request = json.loads(line)
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        _limit(resource.RLIMIT_CPU, int(used + float(seconds)) + 1)
        _limit(resource.RLIMIT_AS, MEMORY_BYTES + _size(request))
        answers.write(json.dumps(answer(request)) + "\n")
        answers.flush()
    return 0


def _size(request: Any) -> int:
    """Bytes of the file that a request names."""
    path: Any = request.get("path") if isinstance(request, dict) else request
    with contextlib.suppress(OSError, TypeError, ValueError):
        return os.path.getsize(path) if os.path.isfile(path) else 0
    return 0


def _limit(kind: int, limit: int) -> None:
    """Sets a limit of the kernel for this process: the soft limit alone, since it is set again for the next file."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
