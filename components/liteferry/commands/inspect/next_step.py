"""The next step after `liteferry inspect`: the command, or the job file's lines, for this artifact."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def next_step(facts: Mapping[str, Any]) -> str:
    """One command to type next, or what prevents one."""
    path = str(facts["artifact"])
    if facts["kind"] == "tflite":
        return _for_tflite(facts)
    closed = [finding for finding in facts.get("findings", ()) if finding["opened_by"] is None]
    if closed:
        return "none: no setting opens what is refused above; ask its author for a clean file"
    command = ["liteferry", "run", "--checkpoints", path, "--samples", "ROWS.npz", "--output", "out"]
    if facts.get("needs_builder"):
        command += ["--builder", "MODULE:FUNCTION", "--modules", "MODULE.py"]
    elif facts.get("custom_objects"):
        command += ["--modules", "YOUR_CODE.py"]
    said = shlex.join(command)
    openers = sorted({finding["opened_by"] for finding in facts.get("findings", ())})
    if openers:
        said = f"a job file with `trust: [{', '.join(openers)}]`, if you trust its author; else like: {said}"
    unnamed = [name for name in facts.get("custom_objects") or () if not name.isidentifier()]
    if unnamed:
        mapped = ", ".join(f'"{name}": "your_code:FUNCTION"' for name in unnamed)
        said = f"a job file with `custom_objects: {{{mapped}}}`, since no module can offer that name; else like: {said}"
    return said + _rows(facts)


def _for_tflite(facts: Mapping[str, Any]) -> str:
    if facts.get("needs_flex"):
        return "none here: it holds Select TensorFlow operators, which no Python runtime runs"
    return "load it with ai_edge_litert's Interpreter, and match inputs and outputs by the names above, never by position"


def _rows(facts: Mapping[str, Any]) -> str:
    names = [tensor["name"] for tensor in facts.get("inputs") or () if tensor["name"]]
    return f"\n(ROWS.npz: an array of rows for {', '.join(names)})" if names else ""
