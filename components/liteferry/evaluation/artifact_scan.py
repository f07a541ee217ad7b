"""Scans a SavedModel or a .tflite file of unknown origin before it runs."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from liteferry.checkpoints import config_trust, graph_scan
from liteferry.checkpoints.config_trust import FILE_OPS, Finding
from liteferry.checkpoints.graph_ops import HARMLESS, told
from liteferry.checkpoints.links import WRITTEN_OUT


def refuse_unsafe(path: str, *, trust: Collection[str] = ()) -> None:
    """Raises LOAD_UNSAFE for a SavedModel or a .tflite file that does more than compute, unless the job trusts it."""
    if os.path.isdir(path):
        saved_model = graph_scan.read(path)
        graph_scan.refuse_shadowing(path, saved_model)
        graph_scan.refuse_links(path, os.path.realpath(path), saved_model, WRITTEN_OUT)
        config_trust.refuse(path, graph_scan.findings(saved_model), trust=trust)
    else:
        with open(path, "rb") as file:
            refuse_unsafe_tflite(path, file.read(), trust=trust)


def refuse_unsafe_tflite(path: str, content: bytes, *, trust: Collection[str] = ()) -> None:
    """The same for the bytes of a .tflite file."""
    config_trust.refuse(path, list(_of_tflite(content)), trust=trust)


def _of_tflite(content: bytes) -> Iterator[Finding]:
    """Finds references to weights in other files, and TensorFlow operators: LiteRT's own operators only compute, TensorFlow's
    may do anything.
    """
    from liteferry.tflite import flex
    from liteferry.tflite.flatbuffer import external_files

    for name in external_files(content):
        yield Finding(what=f"its weights lie in another file, {name!r}")
    for operation in dict.fromkeys(flex.operations(content)):
        if operation not in HARMLESS or operation == "PrintV2":
            yield Finding(what=f"it runs TensorFlow's operation {operation}: {told(operation)}", opened_by=FILE_OPS)
