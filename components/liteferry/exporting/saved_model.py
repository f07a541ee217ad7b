"""A traced model -> SavedModel directory: serving_default, only the weights that it uses, metadata as a tracked asset, and
warm-up rows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import call_groups
from liteferry.loading.tracing import TracedModel

SIGNATURE_NAME = "serving_default"
_WARMUP_FILE = "tf_serving_warmup_requests"
_NO_SCOPE = r"[^A-Za-z0-9_.\\/>:-]"
_SCOPE = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\\/>:-]*$")  # what TensorFlow takes as a name, with the number of the output


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServedBeside:
    """What a SavedModel serves besides serving_default: ConcreteFunctions by name, and the tables that they alone use."""

    functions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    resources: Iterable[Any] = ()


def write(
    traced: TracedModel, directory: str, *, keep: Any, metadata: Mapping[str, Any], beside: ServedBeside | None = None
) -> None:
    """Writes a SavedModel that plain TensorFlow loads: no Keras, no user code, no optimizer.

    Args:
      traced: the inference graph; its own variables are what is saved.
      directory: created by this call.
      keep: what loaded the model; searched for tables and other resources the graph uses.
      metadata: JSON-friendly; becomes `assets/metadata.json`.
      beside: what is served besides serving_default.

    Raises:
      ModelError: EXPORT_FAILED with TensorFlow's words.
    """
    import tensorflow as tf

    beside = beside or ServedBeside()
    signatures = {SIGNATURE_NAME: traced.function, **beside.functions}
    with tempfile.TemporaryDirectory() as folder:
        metadata_path = os.path.join(folder, "metadata.json")
        with open(metadata_path, "w", encoding="utf-8") as file:
            json.dump(metadata, file, indent=2, sort_keys=True)
        module = tf.Module()
        module.graph_variables = list(_variables(signatures))
        owners = {id(owner): owner for owner in _resources(keep, signatures.values())}
        owners.update({id(owner): owner for owner in beside.resources})
        module.resources = list(owners.values())
        module.metadata = tf.saved_model.Asset(metadata_path)
        try:
            with _scope_names(module.graph_variables):
                tf.saved_model.save(module, directory, signatures=signatures)
        except Exception as error:
            raise ModelError(
                ReasonCode.EXPORT_FAILED,
                Stage.EXPORT,
                f"TensorFlow cannot save the traced model: {type(error).__name__}: {error}",
            ) from error


@contextlib.contextmanager
def _scope_names(variables: Iterable[Any]) -> Iterator[None]:
    """Replaces names that TensorFlow cannot save while the context lasts: names of layers may hold blanks or letters of any
    language.
    """
    named = [
        (variable, name) for variable in variables if (name := getattr(variable, "_handle_name", "")) and not _SCOPE.match(name)
    ]
    try:
        for variable, name in named:
            variable._handle_name = f"x{re.sub(_NO_SCOPE, '_', name)}"
        yield
    finally:
        for variable, name in named:
            variable._handle_name = name


def _variables(signatures: Mapping[str, Any]) -> Iterator[Any]:
    """The variables that the signatures read, serving_default's first and in its graph's order."""
    seen: set[int] = set()
    for function in signatures.values():
        for variable in function.graph.variables:
            if id(variable) not in seen:
                seen.add(id(variable))
                yield variable


def _resources(keep: Any, functions: Iterable[Any]) -> Iterator[Any]:
    """Lookup tables and the like. A graph refers to them but does not own them, so their owners have to
    be tracked to be saved.
    """
    captured = {id(tensor) for function in functions for tensor in function.captured_inputs}
    for owner in _owners(keep):
        # A model of TensorFlow 1 holds its tables in the graph; what fills them is not captured by anything. Its files must be
        # tracked beside it: else their places on this machine would be constants of the export.
        if type(owner).__name__ == "_Initializer":
            yield owner
            yield from owner._asset_paths
        elif id(owner.resource_handle) in captured:
            yield owner


def _owners(keep: Any) -> Iterator[Any]:
    """Every resource below a Keras model, or below whatever else loaded the model."""
    from tensorflow.python.checkpoint.trackable_view import TrackableView
    from tensorflow.python.trackable.resource import CapturableResource

    if hasattr(keep, "_flatten_layers"):
        objects = [value for layer in keep._flatten_layers() for value in list(vars(layer).values())]
    else:
        root = keep[0] if isinstance(keep, tuple) else keep
        objects = TrackableView(root).descendants() if hasattr(root, "_trackable_children") else []
    for value in objects:
        if isinstance(value, CapturableResource):
            yield value


def read_warmup_requests(directory: str) -> list[dict[str, np.ndarray]]:
    """The requests that a SavedModel of LiteFerry's carries: one dict of arrays for each, with a first axis of one row, or of as
    many as the model takes in a call.

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
    return [{name: tf.make_ndarray(tensor) for name, tensor in log.predict_log.request.inputs.items()} for log in logs]


def write_warmup_requests(directory: str, inputs: Mapping[str, np.ndarray], *, batch: int = 1) -> None:
    """Writes real sample rows as `assets.extra/tf_serving_warmup_requests`, a TFRecord of PredictionLog.

    Args:
      directory: the version directory of a SavedModel.
      inputs: arrays of a few rows, named as the signature's inputs.
      batch: rows in a request; as many as a model with a fixed batch takes, which TensorFlow Serving would not load else.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    folder = os.path.join(directory, "assets.extra")
    os.makedirs(folder, exist_ok=True)
    with tf.io.TFRecordWriter(os.path.join(folder, _WARMUP_FILE)) as writer:
        for rows, _ in call_groups.groups(inputs, batch):
            request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(signature_name=SIGNATURE_NAME))
            for name, value in rows.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
