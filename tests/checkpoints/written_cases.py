"""Cases that a library writes in one process and the product loads in another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from liteferry import sandbox
from tests.support.programs import run_program
from tests.support.units import run_unit

LIBRARIES = ("keras", "tf_keras")
BY_DAY = ("keras", pytest.param("tf_keras", marks=pytest.mark.nightly))
_LIMITS = sandbox.Limits(seconds=600, memory_bytes=8 * 10**9)


class Outcomes(dict[str, dict[str, Any]]):
    """Library/case -> what came of it, see `weights_unit.load_all`. A library's cases are made when one is asked for.

    Args:
      script: writes the cases of the library that is its first argument into the folder that is its second.
      out: an empty folder.
    """

    def __init__(self, script: Path, out: Path) -> None:
        self._script, self._out, self._made = script, out, set[str]()

    def __missing__(self, name: str) -> dict[str, Any]:
        library = name.partition("/")[0]
        if library not in self._made:
            self._made.add(library)
            self.update(self._made_by(library))
            return self[name]
        raise KeyError(name)

    def _made_by(self, library: str) -> dict[str, dict[str, Any]]:
        script, out = self._script, self._out
        run_program(script, library, out, folder=out)
        folders = [str(case.parent) for case in sorted((out / library).glob("*/case.json"))]
        loaded = run_unit(
            "tests.checkpoints.weights_unit:load_all",
            folders,
            flavor=sandbox.Flavor.KERAS,
            limits=_LIMITS,
            readable=[str(out), str(script.parent)],
        )
        assert loaded.error is None, loaded.error
        return {f"{library}/{Path(result['folder']).name}": result for result in loaded.results}
