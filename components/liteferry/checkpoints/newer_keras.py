"""Tells when a file was written by a newer Keras than the one installed here, which may lack its layers. Imports no Keras."""

from __future__ import annotations

import importlib.metadata
import re

from liteferry.checkpoints.detection import CheckpointFacts


def in_words(facts: CheckpointFacts) -> str:
    """The reason and the fix, to be added to what else is wrong; empty if the file is not newer."""
    theirs = facts.keras_version
    package = "tf_keras" if facts.written_before_keras_3() else "keras"
    here = _installed(package)
    if theirs is None or here is None or _numbers(theirs) <= _numbers(here):
        return ""
    return f"; it was written by Keras {theirs}, and {here} is installed here: pip install '{package}>={theirs}'"


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
