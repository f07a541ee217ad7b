"""Cases that a library writes in one process and the product loads in another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from liteferry import sandbox

LIBRARIES = ("keras", "tf_keras")
_LIMITS = sandbox.Limits(seconds=600, memory_bytes=8 * 10**9)


def written_and_loaded(script: Path, out: Path) -> dict[str, dict[str, Any]]:
    """Library/case -> what came of it, see `weights_unit.load_all`.

    Args:
      script: writes the cases of the library that is its first argument into the folder that is its second.
      out: an empty folder.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    found = {}
    for library in LIBRARIES:
        writer = subprocess.run(
            [sys.executable, str(script), library, str(out)], env=environment, capture_output=True, text=True, check=False
        )
        assert writer.returncode == 0, writer.stderr[-3000:]
        folders = [str(case.parent) for case in sorted((out / library).glob("*/case.json"))]
        loaded = sandbox.run(
            "tests.checkpoints.weights_unit:load_all",
            folders,
            flavor=sandbox.Flavor.KERAS,
            limits=_LIMITS,
            readable=[str(out), str(script.parent)],
        )
        assert loaded.error is None, loaded.error
        found.update({f"{library}/{Path(result['folder']).name}": result for result in loaded.results})
    return found
