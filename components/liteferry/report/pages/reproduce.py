"""A report -> the commands that show one model's problem again, alone."""

from __future__ import annotations

import shlex

from liteferry import lenient
from liteferry.types import Status


def commands(report: lenient.Report) -> list[str]:
    """`liteferry inspect` and `liteferry run` for this checkpoint; empty for a blessed model and where no path is known."""
    uri = lenient.text(lenient.mapping(report.get("checkpoint")).get("uri"))
    if not uri or lenient.model_status(report) is Status.BLESSED:
        return []
    words = ["liteferry", "run", "--checkpoints", _escaped(uri)]
    samples = lenient.text(lenient.mapping(report.get("samples")).get("path"))
    if samples:
        words += ["--samples", samples]
    variants = lenient.ordered_variants(lenient.mapping(report.get("variants")))
    if variants:
        words += ["--variants", ",".join(variants)]
    return [shlex.join(["liteferry", "inspect", uri]), shlex.join([*words, "--output", "reproduced"])]


def _escaped(uri: str) -> str:
    """The path as a pattern that names it alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in uri)
