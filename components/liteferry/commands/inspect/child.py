"""The reader process's side of `inspect`: reads an untrusted file; see `sandbox.reader`."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
import types
from typing import TYPE_CHECKING, Any

from liteferry.checkpoints.archives import MOST_UNPACKED_BYTES
from liteferry.checkpoints.known import Known
from liteferry.errors import ModelError, Reason, ReasonCode, Stage, StorageError
from liteferry.sandbox.reader_main import MEMORY_BYTES

if TYPE_CHECKING:
    from liteferry.checkpoints.detection import CheckpointFacts

_KNOWN = Known()  # of this process


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

        looked = look(path, most_bytes=MOST_UNPACKED_BYTES, has_builder=request["has_builder"], known=_KNOWN)
        return {"kind": looked.kind.value, **_said_of_itself(path, looked)}
    except Exception as error:  # noqa: BLE001  # as above
        reason = _reason(path, error)
        return {"kind": reason.code.value, "error": {"code": reason.code.value, "message": reason.message}}


def _said_of_itself(path: str, looked: CheckpointFacts) -> dict[str, Any]:
    if looked.config is not None:
        from liteferry.checkpoints import newer_keras

        facts = _of_config(looked.config)
        has_bytecode = any(finding["opened_by"] == "lambda" for finding in facts["findings"])
        newer = newer_keras.in_words(looked) if facts["findings"] or facts["custom_objects"] else ""
        return {**facts, "foreign_lambdas": _foreign_lambdas(path, looked.config) if has_bytecode else [], "newer": newer}
    from liteferry.checkpoints.detection import Kind

    if looked.kind in (Kind.SAVED_MODEL, Kind.SAVED_MODEL_KERAS) and looked.path is not None:
        return _of_graph(looked.path)
    return {"findings": [], "needs_builder": True}


def _of_graph(path: str) -> dict[str, Any]:
    """Operations of packages that are known by name are told apart from what would be refused."""
    from liteferry.checkpoints import graph_scan, op_packages
    from liteferry.commands.inspect import saved_model_facts

    saved_model = graph_scan.read(path)
    found = graph_scan.findings(saved_model, provided=lambda name: op_packages.package_of(name) is not None)
    return {
        "findings": [dataclasses.asdict(finding) for finding in found],
        "signatures": saved_model_facts.signatures(saved_model),
        "foreign_operations": sorted(name for name in graph_scan.operations(saved_model) if op_packages.package_of(name)),
    }


def _of_config(config: dict[str, Any]) -> dict[str, Any]:
    from liteferry.checkpoints import architecture_facts, row_ranges
    from liteferry.checkpoints.config_nodes import judge
    from liteferry.checkpoints.config_objects import Finding, Users
    from liteferry.commands.inspect import config_facts

    known = _KNOWN.facts_of(config)
    if known is not None:
        return known
    verdicts = list(judge(config, Users()))
    custom = list(config_facts.custom_objects(config, verdicts))
    ranges = architecture_facts.input_range(config)
    facts = {
        "findings": [dataclasses.asdict(found) for found in dict.fromkeys(verdicts) if isinstance(found, Finding)],
        "inputs": config_facts.inputs(config) if config_facts.names_its_inputs(config) else None,
        "outputs": config_facts.outputs(config),
        "custom_objects": custom,
        "input_ranges": {name: dataclasses.asdict(found) for name, found in ranges.items()},
        "may_scale": bool(custom or config_facts.classes(config) & row_ranges.SCALING),
    }
    _KNOWN.keep(config, facts)
    return facts


def _foreign_lambdas(path: str, config: dict[str, Any]) -> list[str]:
    from liteferry.checkpoints import bytecode

    return bytecode.foreign_lambdas(path, config)


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
