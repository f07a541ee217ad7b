"""A loaded checkpoint -> one traced inference function with safe names. SavedModel, converter and reference all run this
trace.
"""

from __future__ import annotations

import dataclasses
import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.checkpoints.model import LoadedModel
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.types import Signature, TensorSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class TracedModel:
    """An inference graph.

    Attributes:
      function: a TensorFlow ConcreteFunction; keyword tensors named as `signature.inputs`, a dict named as `signature.outputs`.
      signature: names as the artifacts carry them. Input names are Python identifiers (TensorFlow's rule); `renamed` maps
      own -> given.
      output_order: the output names in the order of `function.outputs`.
    """

    function: Any
    signature: Signature
    renamed: Mapping[str, str]
    output_order: tuple[str, ...]

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One batch through the graph. Arrays named as `signature.inputs`, in its dtypes; returns arrays named as
        `signature.outputs`.
        """
        import tensorflow as tf

        outputs = self.function(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}


def safe_names(names: Sequence[str]) -> dict[str, str]:
    """Own name -> a Python identifier, unique; names that are identifiers already stay."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        safe = re.sub(r"\W", "_", name, flags=re.ASCII)
        if not safe or safe[0].isdigit() or keyword.iskeyword(safe):
            safe = f"input_{safe}"
        unique, count = safe, 1
        while unique in taken:
            unique, count = f"{safe}_{count}", count + 1
        taken.add(unique)
        result[name] = unique
    return result


def trace(model: LoadedModel, *, batch: int | None = None) -> TracedModel:
    """Traces inference once.

    Args:
      model: the loaded checkpoint.
      batch: None keeps the batch dimension as the model has it (free, for most); a number fixes it.

    Raises:
      ModelError: EXPORT_FAILED with TensorFlow's own words when the model cannot be traced.
    """
    import tensorflow as tf

    renamed = safe_names([spec.name for spec in model.input_specs()])
    specs = {
        renamed[spec.name]: tf.TensorSpec(_with_batch(spec.shape, batch), spec.dtype, name=renamed[spec.name])
        for spec in model.input_specs()
    }

    def serving_default(**inputs: Any) -> dict[str, Any]:
        outputs = model.call({own: inputs[given] for own, given in renamed.items()})
        return {name: tf.convert_to_tensor(value) for name, value in outputs.items()}

    try:
        function = tf.function(serving_default).get_concrete_function(**specs)
    except Exception as error:
        raise ModelError(
            ReasonCode.EXPORT_FAILED, Stage.EXPORT, f"the model cannot be traced for inference: {type(error).__name__}: {error}"
        ) from error
    outputs = function.structured_outputs
    if not outputs:
        raise ModelError(
            ReasonCode.EXPORT_FAILED, Stage.EXPORT, "the model returns no tensor when it is called with training=False"
        )
    return TracedModel(
        function=function,
        signature=Signature(
            inputs=tuple(_describe(name, spec) for name, spec in specs.items()),
            outputs=tuple(_describe(name, spec) for name, spec in outputs.items()),
        ),
        renamed={own: given for own, given in renamed.items() if own != given},
        output_order=tuple(sorted(outputs)),  # TensorFlow flattens a dict by its sorted keys
    )


def _with_batch(shape: tuple[int | None, ...], batch: int | None) -> tuple[int | None, ...]:
    if batch is None or not shape or shape[0] is not None:
        return shape
    return (batch, *shape[1:])


def _describe(name: str, spec: Any) -> TensorSpec:
    shape = () if spec.shape.rank is None else tuple(spec.shape.as_list())
    return TensorSpec(name=name, shape=shape, dtype=spec.dtype.name)


def differing_outputs(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The outputs that are not the same to the last bit (NaN equals NaN) in two runs on the same rows."""
    return tuple(
        name
        for name in first
        if not np.array_equal(first[name], second[name], equal_nan=np.issubdtype(first[name].dtype, np.inexact))
    )
