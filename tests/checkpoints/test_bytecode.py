"""Bytecode of trusted Lambda layers belongs to one Python version: what another one wrote is found before it runs."""

from __future__ import annotations

import base64
import marshal
import platform
import sys
from typing import Any

import pytest

from liteferry.checkpoints import bytecode
from liteferry.errors import ModelError, ReasonCode

# `lambda t: abs(t) + 1` as these versions of CPython wrote it.
WRITTEN_BY = {
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
    assert "m.h5: the Lambda layer 'lam' holds bytecode of another Python version" in caught.value.reason.message
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


def test_what_is_no_code_at_all_is_said() -> None:
    with pytest.raises(ModelError, match="it is not a code object"):
        bytecode.refuse_other_python("m.h5", config(base64.b64encode(marshal.dumps("text")).decode()))
