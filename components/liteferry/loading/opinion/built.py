"""The second opinion on weights without an architecture: calls the builder, and loads the weights with the library's own
reader.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.checkpoints.detection import CheckpointFacts, Kind
from liteferry.errors import ModelError
from liteferry.loading import as_found, cudnn_weights, user_code
from liteferry.loading.model import LoadSpec
from liteferry.loading.opinion import calls, weights
from liteferry.loading.opinion.calls import NoOpinionError, OwnModel
from liteferry.types import TensorSpec


def load(path: str, facts: CheckpointFacts, spec: LoadSpec, *, inputs: Sequence[TensorSpec]) -> OwnModel:
    """The builder's model with the file's weights: Keras's own `load_weights`, TensorFlow's own checkpoints."""
    import keras
    import tf_keras

    for module in spec.modules:
        with contextlib.suppress(ModelError):  # raises if the builder cannot be found
            user_code.import_module(module)
    assert spec.builder is not None
    builder, arguments = user_code.resolve(spec.builder, key="builder"), dict(spec.builder_args)
    with contextlib.suppress(TypeError, ValueError):  # built-in code has no signature
        if "checkpoint" in inspect.signature(builder).parameters:
            arguments.setdefault("checkpoint", as_found.linked(path, facts, spec.reads))
    built = builder(**arguments)
    if not isinstance(built, keras.Model | tf_keras.Model):
        return _plain(path, built, inputs)
    library = tf_keras if isinstance(built, tf_keras.Model) else keras
    if not (built.built and built.weights):
        calls.build(built, library, inputs)
    if facts.kind is Kind.TF_CHECKPOINT:
        corrections = weights.restore(path, built) + weights.finalised(built, library, facts)
    else:
        corrections = _weights(path, facts, spec, built, library)
    return calls.of_keras(built, library, corrections)


def _weights(path: str, facts: CheckpointFacts, spec: LoadSpec, model: Any, library: Any) -> tuple[str, ...]:
    try:
        return weights.load(_named_for(path, facts), model, library, facts, by_position=_by_position(spec))
    except Exception as error:
        is_legacy = facts.kind is Kind.H5_MODEL or facts.weights_layout == "legacy"
        if library.__name__ == "keras" and is_legacy and cudnn_weights.portable_copy(path):
            raise NoOpinionError("the weights are in CuDNN's layout, which Keras 3 does not read") from error
        raise


def _by_position(spec: LoadSpec) -> bool:
    return spec.weights == "by_position"


def _named_for(path: str, facts: CheckpointFacts) -> str:
    """A link whose name selects the right Keras reader, if the file's own name does not."""
    if facts.kind is Kind.KERAS:
        return path
    ending = ".weights.h5" if facts.weights_layout == "keras_v3" else ".h5"
    is_right = path.endswith(ending) and (ending == ".weights.h5" or not path.endswith(".weights.h5"))
    if is_right:
        return path
    link = os.path.join(tempfile.mkdtemp(), f"file{ending}")
    os.symlink(os.path.abspath(path), link)
    return link


def _plain(path: str, built: Any, inputs: Sequence[TensorSpec]) -> OwnModel:
    """Loads a `tf.Module`, or a TensorFlow 1 style function, which creates its variables in a graph and runs in a session."""
    import tensorflow as tf

    if inspect.isfunction(built):
        return OwnModel(answers=lambda rows: _in_a_session(path, built, rows), by=f"tensorflow {tf.__version__}")
    corrections = weights.restore(path, built)
    parameters = list(inspect.signature(type(built).__call__).parameters)[1:]

    def answers(rows: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        tensors = {name: tf.constant(value) for name, value in rows.items()}
        by_name = set(tensors) <= set(parameters)
        return calls.named(built(**tensors) if by_name else built(*tensors.values()), ())

    return OwnModel(answers=answers, by=f"tensorflow {tf.__version__}", corrections=corrections)


def _in_a_session(path: str, function: Any, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        fed = {name: tf.compat.v1.placeholder(tf.as_dtype(value.dtype), value.shape) for name, value in rows.items()}
        outputs = function(**fed)
        tf.compat.v1.train.Saver().restore(session, weights.prefix_of(path))
        tables = tf.compat.v1.tables_initializer()
        session.run(tables)
        names = calls.paths(outputs)
        values = session.run(list(names.values()), {fed[name]: value for name, value in rows.items()})
    return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}
