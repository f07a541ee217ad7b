"""In a sandbox: which operations `op_libraries` registers for a SavedModel, and what that has imported and loaded."""

from __future__ import annotations

import os
import sys
from typing import Any


def register(request: tuple[str, str, list[list[str]]], reporter: Any) -> None:
    """For each list of modules in turn: whether OPERATION is registered then, and which libraries of the folder are loaded."""
    folder, operation, turns = request
    from tensorflow.python.framework import op_def_registry

    from liteferry.loading import op_libraries

    sys.path.append(folder)
    for modules in turns:
        op_libraries.register(os.path.join(folder, "model"), modules)
        with open("/proc/self/maps", encoding="utf-8") as maps:
            loaded = {os.path.basename(line.split()[-1]) for line in maps if folder in line}
        imported = [module for module in modules if module in sys.modules]
        reporter.result(
            {"registered": op_def_registry.get(operation) is not None, "loaded": sorted(loaded), "imported": imported}
        )
