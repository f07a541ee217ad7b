"""What a reader process does with an untrusted file; see `sandbox.reader`."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
import types
from typing import TYPE_CHECKING, Any

from liteferry.checkpoints.archives import MOST_UNPACKED_BYTES
from liteferry.errors import ModelError, Reason, ReasonCode, Stage, StorageError
from liteferry.sandbox.reader_main import MEMORY_BYTES

if TYPE_CHECKING:
    from liteferry.checkpoints.config_trust import Finding
    from liteferry.checkpoints.detection import CheckpointFacts


def answer(path: str) -> dict[str, Any]:
    """{"facts": ...} or {"error": {code, stage, message}}, whatever the bytes are."""
    try:
        protobufs_alone()
        from liteferry.commands.inspect.facts import describe

        return {"facts": describe(path)}
    except Exception as error:  # noqa: BLE001  # readers written in Python may raise anything on crafted bytes
        reason = _reason(path, error)
        return {"error": {"code": reason.code.value, "stage": reason.stage.value, "message": reason.message}}


def outline(request: dict[str, Any]) -> dict[str, Any]:
    """The entry of `contained.outlines` for one checkpoint."""
    path = request["path"]
    try:
        protobufs_alone()
        from liteferry.checkpoints.detection import look

        looked = look(path, most_bytes=MOST_UNPACKED_BYTES, has_builder=request["has_builder"])
        findings = [dataclasses.asdict(found) for found in _findings(looked)]
        return {"kind": looked.kind.value, "findings": findings, **_said_of_itself(looked)}
    except Exception as error:  # noqa: BLE001  # as above
        reason = _reason(path, error)
        return {"kind": reason.code.value, "error": {"code": reason.code.value, "message": reason.message}}


def _said_of_itself(looked: CheckpointFacts) -> dict[str, Any]:
    from liteferry.checkpoints import graph_scan
    from liteferry.checkpoints.detection import Kind
    from liteferry.commands.inspect import config_facts, saved_model_facts

    if looked.kind in (Kind.SAVED_MODEL, Kind.SAVED_MODEL_KERAS) and looked.path is not None:
        return {"signatures": saved_model_facts.signatures(graph_scan.read(looked.path))}
    if looked.config is None:
        return {"needs_builder": True}
    return {
        "inputs": config_facts.inputs(looked.config) if config_facts.names_its_inputs(looked.config) else None,
        "outputs": config_facts.outputs(looked.config),
        "custom_objects": list(config_facts.custom_objects(looked.config)),
    }


def _findings(looked: CheckpointFacts) -> list[Finding]:
    from liteferry.checkpoints import config_trust, graph_scan
    from liteferry.checkpoints.detection import Kind

    if looked.config is not None:
        return config_trust.findings(looked.config)
    if looked.kind in (Kind.SAVED_MODEL, Kind.SAVED_MODEL_KERAS) and looked.path is not None:
        return graph_scan.findings(graph_scan.read(looked.path))
    return []


def _reason(path: str, error: Exception) -> Reason:
    if isinstance(error, ModelError):
        return error.reason
    if isinstance(error, MemoryError):
        what = f"{path}: reading it needs more than {MEMORY_BYTES / 2**30:g} GB; the file is very large, or claims to be"
        return Reason(code=ReasonCode.OUT_OF_MEMORY, stage=Stage.LOAD, message=what)
    if isinstance(error, StorageError) or (isinstance(error, OSError) and error.errno is not None):
        return Reason(code=ReasonCode.STORAGE_FAILED, stage=Stage.LOAD, message=str(error))
    size = os.path.getsize(path) if os.path.exists(path) else 0
    what = f"{path} ({size:,} bytes): cannot be read as what it claims to be ({type(error).__name__}: {error})"
    return Reason(code=ReasonCode.LOAD_CORRUPT, stage=Stage.LOAD, message=f"{what}; copy or save it again")


def protobufs_alone() -> None:
    """Lets `tensorflow.core.protobuf` be imported without TensorFlow: its messages are generated Python, which needs nothing of
    the package around it, and whose import takes 0.1 s instead of 4 s. In this process only.
    """
    spec = importlib.util.find_spec("tensorflow") if "tensorflow" not in sys.modules else None
    if spec is not None and spec.submodule_search_locations:
        package = types.ModuleType("tensorflow")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["tensorflow"] = package
