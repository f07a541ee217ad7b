"""Reads MLflow's facts of a model from its folder (signature, metadata and run), which are stored in the SavedModel and the
report.
"""

from __future__ import annotations

import json
from typing import Any

from liteferry import storage
from liteferry.config.parsing import safe_yaml
from liteferry.errors import StorageError
from liteferry.storage import beneath

KEY = "mlflow"  # key in the metadata of models that have them
# By mlflow.keras and mlflow.tensorflow, the latter for a tf.Module, an Estimator, and older versions.
PLACES = ("data/model.keras", "data/model.h5", "data/model", "tf2model", "tfmodel", "model")
_FILE = "MLmodel"
_MOST_BYTES = 2**18
_KEPT = ("signature", "metadata", "run_id", "model_uuid", "model_id", "utc_time_created", "mlflow_version")


def said_of(uri: str) -> dict[str, Any]:
    """The contents of the file MLmodel beside a checkpoint; {} if there is none, or if it cannot be read.

    Parses the inputs and outputs of a signature, which MLflow writes as JSON inside YAML.
    """
    folder = next((uri[: -len(place) - 1] for place in PLACES if uri.rstrip("/").endswith(f"/{place}")), None)
    if folder is None or not storage.exists(storage.join(folder, _FILE)):
        return {}
    try:
        told = safe_yaml(beneath.read_bytes(folder, _FILE, most_bytes=_MOST_BYTES))
        found = {name: told[name] for name in _KEPT if told.get(name) is not None} if isinstance(told, dict) else {}
        if isinstance(found.get("signature"), dict):
            found["signature"] = {name: _parsed(value) for name, value in found["signature"].items() if value is not None}
        kept: dict[str, Any] = json.loads(json.dumps(found, default=str, allow_nan=False))
        return kept
    except (StorageError, ValueError, TypeError, RecursionError):
        return {}  # the checkpoint beside it may still be complete


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
