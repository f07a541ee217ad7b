"""One run of many small models, made once for the whole test run; tests read the reports of those that are theirs.

A part is one test file's models. To add one: a module here with a `PART`, and its name in `PARTS`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support import Run, liteferry
from tests.support.kitchen_sink import digits, formats, lowering, several, signatures, strangers
from tests.support.kitchen_sink.part import Part
from tests.support.programs import run_program

PARTS: tuple[Part, ...] = (digits.PART, formats.PART, lowering.PART, several.PART, signatures.PART, strangers.PART)

# What the parts need of the job as a whole. A model is blessed if its float32 file is: the others are what single tests look at.
_JOB: dict[str, Any] = {
    "variants": ["float32", "float16", "dynamic_int8", "int8"],
    "policy": {"require": ["float32"]},
    "evaluation": {"confidence_intervals": "jackknife", "latency": False},
}

_WRITE_ALL = """
import os, runpy, sys
for script in sys.argv[1:]:
    os.chdir(os.path.dirname(script))
    sys.path.insert(0, "")
    runpy.run_path(script)
    del sys.path[0]
"""


def run(folder: Path, demo: Run) -> subprocess.CompletedProcess[str]:
    """Writes every part's checkpoints in one process, and runs them as one job; OUT is `folder / "out"`."""
    scripts, entries = [], []
    for part in PARTS:
        place = folder / part.name
        place.mkdir(parents=True)
        (place / "writer.py").write_text(part.writer)
        scripts.append(str(place / "writer.py"))
        entries.append(part.job(place, demo))
    run_program(_WRITE_ALL, *scripts, folder=folder)
    models = [model for entry in entries for model in entry["models"]]
    samples = {name: spec for entry in entries for name, spec in entry["samples"].items()}
    modules = [module for entry in entries for module in entry.get("modules", [])]
    job = {**_JOB, "models": models, "samples": samples, "modules": modules}
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    return liteferry("run", "--config", folder / "job.yaml", "--output", folder / "out")
