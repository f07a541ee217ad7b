"""Units of work that tests have run in sandboxes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from liteferry import sandbox
from liteferry.sandbox import Outcome, SandboxSpec, nurseries


def unit_of(name: str) -> Callable[..., Any]:
    """The function that "module:name" names."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def run_unit(name: str, argument: Any = None, **given: Any) -> Outcome:
    """`sandbox.run` of the unit "module:name". `given`: the fields of a SandboxSpec, and `before_retry`."""
    # What these say that a nursery imports, it imports once, before its first child; else each child would.
    import liteferry.evaluation.evaluate
    import liteferry.exporting.export  # noqa: F401

    if not nurseries._nurseries:
        sandbox.warm_up()  # both at once: sooner or later this process needs the other one, too
    retry = {"before_retry": given.pop("before_retry")} if "before_retry" in given else {}
    return sandbox.run(unit_of(name), argument, SandboxSpec(**given), **retry)
