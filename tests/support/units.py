"""Units of work that tests have run in sandboxes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from liteferry import sandbox
from liteferry.sandbox import Outcome, SandboxSpec


def unit_of(name: str) -> Callable[..., Any]:
    """The function that "module:name" names."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def run_unit(name: str, argument: Any = None, **given: Any) -> Outcome:
    """`sandbox.run` of the unit "module:name". `given`: the fields of a SandboxSpec, and `before_retry`."""
    retry = {"before_retry": given.pop("before_retry")} if "before_retry" in given else {}
    return sandbox.run(unit_of(name), argument, SandboxSpec(**given), **retry)
