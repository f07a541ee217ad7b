"""A report -> the commands that show one model's problem again, alone."""

from __future__ import annotations

import shlex

from liteferry.report import fields
from liteferry.types import Status


def commands(report: fields.Report) -> list[str]:
    """`liteferry inspect` and `liteferry run` for this checkpoint; empty for a blessed model and where no path is known."""
    uri = fields.text(fields.mapping(report.get("checkpoint")).get("uri"))
    if not uri or fields.model_status(report) is Status.BLESSED:
        return []
    words = ["liteferry", "run", "--checkpoints", _escaped(uri)]
    samples = fields.text(fields.mapping(report.get("samples")).get("path"))
    if samples:
        words += ["--samples", samples]
    variants = fields.ordered_variants(fields.mapping(report.get("variants")))
    if variants:
        words += ["--variants", ",".join(variants)]
    return [shlex.join(["liteferry", "inspect", uri]), shlex.join([*words, "--output", "reproduced"])]


def _escaped(uri: str) -> str:
    """The path as a pattern that names it alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in uri)
