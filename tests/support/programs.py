"""Programs of tests that write models: run in a child of this process's nursery, which has imported TensorFlow and both Keras."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

from liteferry.sandbox import Flavor, Limits
from tests.support.units import run_unit

_LIMITS = Limits(seconds=600, memory_bytes=8 * 10**9)


def run_program(program: str | Path, *arguments: str | Path, folder: Path, flavor: Flavor = Flavor.KERAS) -> None:
    """Runs a Python program, given as its text or as its file, with these arguments. It starts in `folder`, and can write below
    that folder alone. An error of the program is the caller's.

    Args:
      flavor: CLEAN for one that must not have any Keras.
    """
    request = (program, list(map(str, arguments)), str(folder))
    readable = [str(program)] if isinstance(program, Path) else []
    outcome = run_unit(
        "tests.support.programs:execute", request, flavor=flavor, limits=_LIMITS, writable=[str(folder)], readable=readable
    )
    assert outcome.error is None, f"{outcome.error.message}\n{outcome.error.traceback}"


def execute(request: tuple[str | Path, list[str], str], reporter: Any) -> None:
    """In a sandbox: the program, as `python -c` or `python FILE` would run it."""
    program, arguments, folder = request
    os.chdir(folder)
    if isinstance(program, Path):
        sys.argv = [str(program), *arguments]
        sys.path.insert(0, str(program.parent))
        runpy.run_path(str(program), run_name="__main__")
    else:
        sys.argv = ["-c", *arguments]
        sys.path.insert(0, "")
        exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
