"""One artifact -> its facts, as JSON-friendly dicts. Runs in the reader process; `contained` says why."""

from __future__ import annotations

import glob
import os
from typing import Any

from liteferry.checkpoints import config_scan
from liteferry.checkpoints.archives import MOST_UNPACKED_BYTES
from liteferry.checkpoints.detection import CheckpointFacts, Kind, detect, look
from liteferry.commands.inspect import config_facts, saved_model_facts, stored_arrays, tflite_facts
from liteferry.commands.inspect.next_step import next_step
from liteferry.errors import ModelError, ReasonCode

Facts = dict[str, Any]
_LOADERS = {True: "tf_keras", False: "keras"}


def describe(path: str) -> Facts:
    """The facts of a checkpoint or a .tflite file. A key is None or empty where the artifact does not say.

    Raises:
      ModelError: LOAD_CORRUPT, LOAD_UNSUPPORTED. What would be LOAD_UNSAFE in a run is no error here: it is listed under the
        findings.
    """
    if not os.path.exists(path) and os.path.isfile(f"{path}.index"):
        path = f"{path}.index"  # a TensorFlow checkpoint by its prefix
    facts: Facts = {"artifact": path, "bytes": _size(path)}
    if tflite_facts.is_tflite(path):
        facts |= {"kind": "tflite", **tflite_facts.describe(path)}
    else:
        facts |= _checkpoint(path)
    return facts | {"next_step": next_step(facts)}


def _size(path: str) -> int:
    """Bytes of a file or folder; for a TensorFlow checkpoint its data files are included."""
    if not os.path.isdir(path):
        parts = glob.glob(f"{glob.escape(path.removesuffix('.index'))}.data-*") if path.endswith(".index") else []
        return sum(map(os.path.getsize, [path, *parts]))
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def _checkpoint(path: str) -> Facts:
    try:
        examined = look(path, most_bytes=MOST_UNPACKED_BYTES)
        place = examined.path or path
        facts = _by_kind(place, examined)
    except ModelError as error:
        if error.reason.code is not ReasonCode.LOAD_UNSAFE:
            raise
        kind = detect(path)
        return {"kind": kind.value if kind else None, "findings": [{"what": error.reason.message, "opened_by": None}]}
    if place != path:
        facts["inside"] = os.path.basename(place)
    return facts


def _by_kind(place: str, examined: CheckpointFacts) -> Facts:
    facts: Facts = {"kind": examined.kind.value, "keras_version": examined.keras_version}
    if examined.kind in (Kind.SAVED_MODEL, Kind.SAVED_MODEL_KERAS):
        return facts | {"loaded_by": "tensorflow"} | saved_model_facts.describe(place)
    facts["weights"] = stored_arrays.summary(stored_arrays.arrays(place, examined.kind))
    if examined.config is None:
        return facts | {"loaded_by": "builder", "weights_layout": examined.weights_layout, "needs_builder": True}
    statistics = stored_arrays.normalization_statistics(place, examined)
    return facts | {
        "loaded_by": _LOADERS[examined.written_before_keras_3()],
        "architecture_digest": config_scan.architecture_digest(examined.config),
        **config_facts.describe(examined.config, statistics),
    }
