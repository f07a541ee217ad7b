"""Units of work: functions that run in a process of their own. A caller passes the function; the process imports it by its
name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from liteferry.sandbox.reporter import Reporter

Unit = Callable[[Any, Reporter], None]
"""A function that runs in a sandbox. It gets a picklable argument, and hands its results over through the reporter."""


def name_of(unit: Callable[..., Any]) -> str:
    """ "module:name", by which another process imports a function.

    Raises:
      ValueError: another process would not find it: a lambda, a nested function, a partial, or one of a script.
    """
    module, name = getattr(unit, "__module__", None), getattr(unit, "__qualname__", None)
    if module == "__main__" or getattr(importlib.import_module(module) if module else None, str(name), None) is not unit:
        raise ValueError(f"{unit!r} cannot be imported as {module}:{name}; a unit of work is a function at the top of a module")
    return f"{module}:{name}"


def function_of(name: str) -> Callable[..., Any]:
    """The function that `name_of` has named."""
    module, _, attribute = name.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function
