"""Bytecode of trusted Lambda layers belongs to one Python version: what another one wrote is found before it runs."""

from __future__ import annotations

import base64
import marshal
import platform
import sys
from typing import Any

import pytest

from liteferry.checkpoints import bytecode, bytecode_versions
from liteferry.errors import ModelError, ReasonCode

# Functions as these versions of CPython wrote them: `lambda t: abs(t) + 1` and others.
WRITTEN_BY = {
    "3.6": (
        "4wEAAAAAAAAAAQAAAAIAAABDAAAAcxwAAAB8AGoAZAEZAGQCawRvGnwAagFqAmQDgwEMAFMAKQRO6QAAAADpAwAAANoBYSkD2gVzaGFwZdoEbm"
        "FtZdoKc3RhcnRzd2l0aCkB2gF0qQByCAAAAPoKbGFtYmRhcy5wedoIPGxhbWJkYT4LAAAAcwAAAAA="
    ),
    "3.7": (
        "4wIAAAAAAAAABAAAAAMAAAAPAAAAcxgAAACHAIcBZgJkAWQChAh0AGQDgwFEAIMBUwApBE5jAQAAAAAAAAACAAAABAAAABMAAABzIAAAAGcAfA"
        "BdGH0BfAFkAGsGcgR8AYgAFwCIAWYCkQJxBFMAKQGpAukBAAAA6QIAAACpACkC2gIuMNoBaSkC2gF42gF5cgQAAAD6CmxhbWJkYXMucHn6Cjxs"
        "aXN0Y29tcD4GAAAAcwIAAAAGAXocPGxhbWJkYT4uPGxvY2Fscz4uPGxpc3Rjb21wPukDAAAAKQHaBXJhbmdlKQRyBwAAAHIIAAAA2gFh2gFrcg"
        "QAAAApAnIHAAAAcggAAAByCQAAANoIPGxhbWJkYT4FAAAAcwQAAAAAAQwB"
    ),
    "3.9": (
        "4wEAAAAAAAAAAAAAAAEAAAADAAAAQwAAAHMcAAAAfABqAGQBGQBkAmsEbxp8AGoBoAJkA6EBDABTACkETukAAAAA6QMAAADaAWEpA9oFc2hhcG"
        "XaBG5hbWXaCnN0YXJ0c3dpdGgpAdoBdKkAcggAAAD6Fi90bXAvcGVvcGxlL2xhbWJkYXMucHnaCDxsYW1iZGE+CwAAAPMAAAAA"
    ),
    "3.8": (
        "4wEAAAAAAAAAAAAAAAEAAAACAAAAQwAAAHMMAAAAdAB8AIMBZAEXAFMAKQJO6QEAAAApAdoDYWJzKQHaAXSpAHIEAAAA+gRtLnB52gg8bGFtYm"
        "RhPgEAAADzAAAAAA=="
    ),
    "3.10": (
        "4wEAAAAAAAAAAAAAAAEAAAACAAAAQwAAAHMMAAAAdAB8AIMBZAEXAFMAKQJO6QEAAAApAdoDYWJzKQHaAXSpAHIEAAAA+gRtLnB52gg8bGFtYm"
        "RhPgEAAABzAgAAAAwA"
    ),
    "3.11": (
        "4wEAAAAAAAAAAAAAAAMAAAADAAAA8yYAAACXAHQBAAAAAAAAAAAAAHwApgEAAKsBAAAAAAAAAABkAXoAAABTACkCTukBAAAAKQHaA2FicykB2g"
        "F0cwEAAAAg+gRtLnB5+gg8bGFtYmRhPnIGAAAAAQAAAHMQAAAAgACNY5AhiWaMZpBxiWqAAPMAAAAA"
    ),
    "3.12": (
        "4wEAAAAAAAAAAAAAAAMAAAADAAAA8x4AAACXAHQBAAAAAAAAAAB8AKsBAAAAAAAAZAF6AAAAUwApAk7pAQAAACkB2gNhYnMpAdoBdHMBAAAAIP"
        "oEbS5wefoIPGxhbWJkYT5yBgAAAAEAAABzDgAAAIAAjGOQIYtmkHGJaoAA8wAAAAA="
    ),
    "3.13": (
        "4wEAAAAAAAAAAAAAAAMAAAADAAAA8x4AAACVAFsBAAAAAAAAAABVADUBAAAAAAAAUwEtAAAAJAApAk7pAQAAACkB2gNhYnMpAdoBdHMBAAAAIN"
        "oEbS5wedoIPGxhbWJkYT5yBgAAAAEAAABzDAAAAIAAjGOQIYtmkHGKavMAAAAA"
    ),
}
# What their bytes tell of it: 3.8 and 3.9 wrote the same for small functions.
WRITERS = {
    **dict.fromkeys(("3.6", "3.7"), ("3.7 or older",)),
    **dict.fromkeys(("3.8", "3.9"), ("3.8", "3.9")),
    **{version: (version,) for version in ("3.10", "3.11", "3.12", "3.13")},
}
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def config(code: str, *, new_style: bool = False) -> dict[str, Any]:
    """An architecture with one Lambda layer, as both generations of files write it."""
    function: Any = {"class_name": "__lambda__", "config": {"code": code}} if new_style else [code, None, None]
    layer = {"class_name": "Lambda", "config": {"name": "lam", "function_type": "lambda", "function": function}}
    return {"class_name": "Sequential", "config": {"layers": [layer]}}


def encoded(function: Any) -> str:
    return base64.b64encode(marshal.dumps(function.__code__)).decode()


@pytest.mark.parametrize("new_style", [False, True])
@pytest.mark.parametrize("version", [version for version in WRITTEN_BY if version != HERE])
def test_another_version_s_is_refused_by_name(version: str, new_style: bool) -> None:
    with pytest.raises(ModelError) as caught:
        bytecode.refuse_other_python("m.h5", config(WRITTEN_BY[version], new_style=new_style))
    assert caught.value.reason.code is ReasonCode.LOAD_FAILED
    assert "m.h5: the Lambda layer 'lam' holds bytecode of another Python version, 3." in caught.value.reason.message
    assert WRITERS[version][-1] in caught.value.reason.message.partition("and this is")[0]
    assert f"this is Python {platform.python_version()}" in caught.value.reason.message


@pytest.mark.parametrize("new_style", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        lambda t: t * 2.0 + 1.0,
        lambda t: t[:, 1:],
        lambda t, by=3: [part * by for part in t],
        lambda t: (lambda inner: inner + t)(t),
        lambda t: t.shape[0] if t[0] < t[1] else max(t, key=abs),
        lambda t: {"a": t, "b": f"{t!r:>10}"},
    ],
)
def test_this_python_s_is_not(function: Any, new_style: bool) -> None:
    bytecode.refuse_other_python("m.h5", config(encoded(function), new_style=new_style))
    assert HERE in bytecode_versions.writer_of(marshal.dumps(function.__code__))
    assert bytecode.foreign_lambdas("m.h5", config(encoded(function), new_style=new_style)) == []


@pytest.mark.parametrize(("version", "writers"), WRITERS.items())
def test_the_version_is_read_off_the_bytes(version: str, writers: tuple[str, ...]) -> None:
    raw = base64.b64decode(WRITTEN_BY[version])
    assert bytecode_versions.writer_of(raw) == writers
    told = bytecode.foreign_lambdas("m.h5", config(WRITTEN_BY[version]))
    assert bool(told) == (HERE not in writers)
    for cut in range(len(raw)):
        bytecode_versions.writer_of(raw[:cut])  # broken bytes are no error


def test_what_is_no_code_at_all_is_said() -> None:
    with pytest.raises(ModelError, match="it is not a code object"):
        bytecode.refuse_other_python("m.h5", config(base64.b64encode(marshal.dumps("text")).decode()))
