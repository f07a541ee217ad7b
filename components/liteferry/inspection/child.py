"""The process that reads a stranger's file: limits first, then the file, then one JSON object on standard output."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import sys
import types
from typing import Any

from liteferry.errors import ModelError, Reason, ReasonCode, Stage, reason_for

_MEMORY_BYTES = 6 * 2**30
_CPU_S = 60


def main(path: str) -> int:
    """Prints {"facts": ...} or {"error": {code, stage, message}}. Always 0: what went wrong is in the answer."""
    _limit(path)
    _protobufs_alone()
    answer: dict[str, Any]
    try:
        from liteferry.inspection.facts import describe

        answer = {"facts": describe(path)}
    except MemoryError:
        what = f"{path}: reading it needs more than {_MEMORY_BYTES / 2**30:g} GB; the file is very large, or claims to be"
        answer = {"error": _as_dict(Reason(code=ReasonCode.OUT_OF_MEMORY, stage=Stage.LOAD, message=what))}
    except ModelError as error:
        answer = {"error": _as_dict(error.reason)}
    except OSError as error:
        answer = {"error": _as_dict(reason_for(error, Stage.LOAD))}
    except Exception as error:  # noqa: BLE001  # readers written in Python raise anything over bytes that were made to
        size = os.path.getsize(path) if os.path.exists(path) else 0
        what = f"{path} ({size:,} bytes): cannot be read as what it claims to be ({type(error).__name__}: {error})"
        answer = {
            "error": _as_dict(Reason(code=ReasonCode.LOAD_CORRUPT, stage=Stage.LOAD, message=f"{what}; copy or save it again"))
        }
    print(json.dumps(answer))
    return 0


def _as_dict(reason: Reason) -> dict[str, str]:
    return {"code": reason.code.value, "stage": reason.stage.value, "message": reason.message}


def _limit(path: str) -> None:
    """What the kernel holds this process to. No core file: a crash of a parser is an answer, not an event."""
    size = os.path.getsize(path) if os.path.isfile(path) else 0
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, _CPU_S),
        (resource.RLIMIT_AS, _MEMORY_BYTES + size),
    ):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _protobufs_alone() -> None:
    """Lets `tensorflow.core.protobuf` be imported without TensorFlow: its messages are generated Python, which needs nothing of
    the package around it, and whose import takes 0.1 s instead of 4 s. In this process only.
    """
    spec = importlib.util.find_spec("tensorflow")
    if spec is not None and spec.submodule_search_locations and "tensorflow" not in sys.modules:
        package = types.ModuleType("tensorflow")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["tensorflow"] = package


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
