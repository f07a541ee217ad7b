"""A traced model -> SavedModel directory: serving_default, only the weights that it uses, metadata as a tracked asset, and
warm-up rows.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import call_groups, saved_functions, together
from liteferry.loading.tracing import TracedModel

SIGNATURE_NAME = "serving_default"
_WARMUP_FILE = "tf_serving_warmup_requests"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServedBeside:
    """The signatures of a SavedModel besides the inference graph: ConcreteFunctions by name, and the tables that they alone
    use. `name`: the signature that the inference graph is.
    """

    functions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    resources: Iterable[Any] = ()
    name: str = SIGNATURE_NAME


def write(
    traced: TracedModel, directory: str, *, keep: Any, metadata: Mapping[str, Any], beside: ServedBeside | None = None
) -> None:
    """Writes a SavedModel that plain TensorFlow loads: no Keras, no user code, no optimizer.

    Args:
      traced: the inference graph; its own variables are what is saved.
      directory: created by this call.
      keep: the object that loaded the model; searched for tables and other resources that the graph uses.
      metadata: JSON-friendly; becomes `assets/metadata.json`.
      beside: the signatures besides serving_default.

    Raises:
      ModelError: EXPORT_FAILED with TensorFlow's words.
    """
    import tensorflow as tf

    beside = beside or ServedBeside()
    signatures = {beside.name: traced.function, **beside.functions}
    with tempfile.TemporaryDirectory() as folder:
        metadata_path = os.path.join(folder, "metadata.json")
        with open(metadata_path, "w", encoding="utf-8") as file:
            json.dump(metadata, file, indent=2, sort_keys=True)
        try:
            tracked = {"metadata": tf.saved_model.Asset(metadata_path)}
            saved_functions.write(signatures, directory, keep=keep, resources=beside.resources, tracked=tracked)
        except Exception as error:
            raise ModelError(
                ReasonCode.EXPORT_FAILED,
                Stage.EXPORT,
                f"TensorFlow cannot save the traced model: {type(error).__name__}: {error}",
            ) from error


def read_warmup_requests(directory: str) -> list[dict[str, np.ndarray]]:
    """The requests that a SavedModel of LiteFerry's carries: one dict of arrays for each, with a first axis of one row, or of as
    many as the model takes in a call. Requests of several signatures that belong together are one, by the names of
    `loading.together`.

    Raises:
      ModelError: EXPORT_FAILED when it carries none.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path = os.path.join(directory, "assets.extra", _WARMUP_FILE)
    try:
        records = [record.numpy() for record in tf.data.TFRecordDataset([path])]
        logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    except Exception as error:
        raise ModelError(ReasonCode.EXPORT_FAILED, Stage.EVALUATE, f"{path}: no warm-up rows can be read: {error}") from error
    if not logs:
        raise ModelError(ReasonCode.EXPORT_FAILED, Stage.EVALUATE, f"{path}: holds no warm-up rows")
    names = together.names_in(saved_functions.read_metadata(directory))
    requests: dict[str, list[dict[str, np.ndarray]]] = {}
    for log in logs:
        request = log.predict_log.request
        given = names.get(request.model_spec.signature_name, {})
        rows = {given.get(name, name): tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        requests.setdefault(request.model_spec.signature_name, []).append(rows)
    counts = [len(found) for found in requests.values()]
    return [
        {name: value for found in requests.values() if at < len(found) for name, value in found[at].items()}
        for at in range(max(counts))
    ]


def write_warmup_requests(directory: str, rows: Mapping[str, Mapping[str, np.ndarray]], *, batch: int = 1) -> None:
    """Writes real sample rows as `assets.extra/tf_serving_warmup_requests`, a TFRecord of PredictionLog.

    Args:
      directory: the version directory of a SavedModel.
      rows: signature -> arrays of a few rows, named as its inputs.
      batch: rows in a request; as many as a model with a fixed batch takes, which TensorFlow Serving would not load else.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    folder = os.path.join(directory, "assets.extra")
    os.makedirs(folder, exist_ok=True)
    with tf.io.TFRecordWriter(os.path.join(folder, _WARMUP_FILE)) as writer:
        for signature_name, inputs in rows.items():
            for piece, _ in call_groups.groups(inputs, batch):
                request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(signature_name=signature_name))
                for name, value in piece.items():
                    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
                log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
                writer.write(log.SerializeToString())
