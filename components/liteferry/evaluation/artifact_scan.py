"""Scans a SavedModel or a .tflite file of unknown origin before it runs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterator

from liteferry.checkpoints import config_trust, graph_scan, op_packages
from liteferry.checkpoints.config_trust import FILE_OPS, Finding
from liteferry.checkpoints.graph_ops import HARMLESS, told
from liteferry.checkpoints.links import WRITTEN_OUT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Allowed:
    """What the user lets artifacts do. `trust`: as in the job. `modules`: as in the job; a package among them may bring
    operations, which are trusted with it.
    """

    trust: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


NOTHING_ALLOWED = Allowed()


def refuse_unsafe(path: str, allowed: Allowed) -> None:
    """Registers the operations that the allowed packages bring, and raises for a SavedModel or a .tflite file that does more than
    compute.

    Raises:
      ModelError: LOAD_UNKNOWN_OPERATION for operations that nothing registers, LOAD_UNSAFE for those that are not allowed.
    """
    if os.path.isdir(path):
        _refuse_unsafe_saved_model(path, allowed)
    else:
        with open(path, "rb") as file:
            refuse_unsafe_tflite(path, file.read(), trust=allowed.trust)


def _refuse_unsafe_saved_model(path: str, allowed: Allowed) -> None:
    from liteferry.loading import op_libraries

    saved_model = graph_scan.read(path)
    unregistered = {name for name in graph_scan.operations(saved_model) if not op_libraries.is_registered(name)}
    op_libraries.register_named(unregistered, [module for module in allowed.modules if not module.endswith(".py")])
    missing = {name for name in unregistered if not op_libraries.is_registered(name)}
    if missing:
        raise op_packages.unknown_operations(path, missing)
    graph_scan.refuse_shadowing(path, saved_model)
    graph_scan.refuse_links(path, os.path.realpath(path), saved_model, WRITTEN_OUT)
    config_trust.refuse(path, graph_scan.findings(saved_model, provided=unregistered.__contains__), trust=allowed.trust)


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
