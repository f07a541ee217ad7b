"""A float32 twin of a Keras model that computes in another format: the same layers on the same variables, for LiteRT, which has
kernels for float32 and hardly any others.

The twin is not a copy. While it is called, every layer computes in float32, and quantised layers do not round their inputs,
unless the twin would be too far from the model without that; afterwards the layers' settings are restored. So a twin needs no
memory, siblings share its trace as they share the model's, and no weight can be lost in a copy. The difference between twin and
model is measured on all rows, and has a limit.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from liteferry.loading import rounded_inputs
from liteferry.loading.model import LoadedModel, Tensors
from liteferry.types import Signature, TensorSpec, TwinFacts

_FLOAT32 = "float32"
_WIDE = ("float16", "bfloat16", "float64")
_NO_INPUT_OF_LITERT = ("bfloat16",)
TWIN_MAX_REL: Mapping[str, float] = {"float64": 1e-4, "float16": 2e-3, "bfloat16": 1e-2, "quantized": 2e-2}
"""How far a twin may be from its model, relative to the largest answer; docs/gates.md explains the numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FloatTwin:
    """`model`: the twin, called like the model. `facts`: the model's other formats, and how far the twin may be from the model.
    `holds_weights`: its trace contains weights, so siblings cannot share it. `may_round`: there are layers that round their
    inputs, which this twin does only if `facts.rounds_inputs`.
    """

    model: LoadedModel
    facts: TwinFacts
    holds_weights: bool
    may_round: bool


def of(model: LoadedModel, *, rounds_inputs: bool = False) -> FloatTwin | None:
    """The twin of a loaded Keras model; None if all layers compute in float32 already and LiteRT takes the inputs'
    formats, or if it is not a Keras model.

    Args:
      rounds_inputs: whether quantised layers round what they are given. A file of such a twin is nearer to the model, and int8
        can hardly hold its arithmetic.
    """
    layers = model.keep._flatten_layers() if hasattr(model.keep, "_flatten_layers") else []
    formats = sorted(
        {found for layer in layers if (found := _format(layer)) is not None}
        | ({spec.dtype for spec in model.signature.inputs if spec.dtype in _NO_INPUT_OF_LITERT} if layers else set())
    )
    if not formats:
        return None
    limit = max(TWIN_MAX_REL.get(found, TWIN_MAX_REL["quantized"]) for found in formats)

    def call(inputs: Tensors) -> Tensors:
        import tensorflow as tf

        with _in_float32(model.keep, rounds_inputs):
            outputs = model.call(_as_the_model_takes_them(inputs, model.signature))
            return {name: tf.cast(value, tf.float32) if _is_wide(value) else value for name, value in outputs.items()}

    inputs = tuple(_narrowed(spec) for spec in model.signature.inputs)
    twin = dataclasses.replace(model, call=call, signature=dataclasses.replace(model.signature, inputs=inputs))
    return FloatTwin(
        model=twin,
        facts=TwinFacts(of=", ".join(formats), max_rel_limit=limit, rounds_inputs=rounds_inputs),
        holds_weights=not {*formats} <= {*_WIDE},
        may_round=any(rounded_inputs.rounding_of(layer) is not None for layer in layers),
    )


def as_the_twin_takes_them(rows: Mapping[str, np.ndarray], signature: Signature) -> dict[str, np.ndarray]:
    """Converts the model's rows to the twin's: float32 if an input of the model is in another float format."""
    wanted = {spec.name: spec.dtype for spec in signature.inputs}
    return {
        name: value.astype(np.float32) if wanted.get(name) == _FLOAT32 and value.dtype != np.float32 else value
        for name, value in rows.items()
    }


def _narrowed(spec: TensorSpec) -> TensorSpec:
    return dataclasses.replace(spec, dtype=_FLOAT32) if spec.dtype in _WIDE else spec


def _as_the_model_takes_them(inputs: Tensors, signature: Signature) -> Tensors:
    import tensorflow as tf

    dtypes = {spec.name: spec.dtype for spec in signature.inputs}
    return {name: tf.cast(value, dtypes[name]) if dtypes.get(name) in _WIDE else value for name, value in inputs.items()}


def _is_wide(tensor: Any) -> bool:
    return getattr(tensor.dtype, "name", str(tensor.dtype)) in _WIDE


def _format(layer: Any) -> str | None:
    """The format other than float32 in which a layer computes, or holds its weights; None where there is none."""
    mode = getattr(layer, "quantization_mode", None)
    if mode is not None:
        return str(mode)
    if getattr(layer, "weights", None) or not _is_input(layer):
        for dtype in (getattr(layer, "compute_dtype", None), getattr(layer, "variable_dtype", None)):
            if dtype in _WIDE:
                return str(dtype)
    return None


def _is_input(layer: Any) -> bool:
    return type(layer).__name__ == "InputLayer"


@contextlib.contextmanager
def _in_float32(model: Any, rounds_inputs: bool) -> Iterator[None]:
    """While the context lasts, every layer computes in float32."""
    with contextlib.ExitStack() as stack:
        for layer in model._flatten_layers():
            of_tf_keras = hasattr(layer, "_call_spec")
            stack.enter_context(_with_attributes(layer, _of_tf_keras() if of_tf_keras else _of_keras(layer, rounds_inputs)))
        if not hasattr(model, "_call_spec"):  # Keras 3: variables of another format are read in float32
            from keras.src import backend

            stack.enter_context(backend.AutocastScope(_FLOAT32))
        yield


@contextlib.contextmanager
def _with_attributes(layer: Any, changed: Mapping[str, Any]) -> Iterator[None]:
    """Replaces attributes while the context lasts, bypassing Keras's `__setattr__`. A method that was the class's is so again."""
    before, own = {name: getattr(layer, name) for name in changed}, set(vars(layer))
    try:
        for name, value in changed.items():
            object.__setattr__(layer, name, value)
        yield
    finally:
        for name, value in before.items():
            if name in own or name not in vars(layer):
                object.__setattr__(layer, name, value)
            else:
                object.__delattr__(layer, name)


def _of_tf_keras() -> dict[str, Any]:
    import tensorflow as tf
    from tf_keras.mixed_precision import Policy

    return {"_dtype_policy": Policy(_FLOAT32), "_compute_dtype_object": tf.float32}


def _of_keras(layer: Any, rounds_inputs: bool) -> dict[str, Any]:
    """Attributes of a Keras 3 layer -> their values in the twin."""
    from keras import dtype_policies

    mode = getattr(layer, "quantization_mode", None)
    rounding = rounded_inputs.rounding_of(layer) if rounds_inputs else None
    changed: dict[str, Any] = {"_dtype_policy": dtype_policies.get(_FLOAT32)}
    if mode not in (None, "float8"):
        weights = _dequantized(layer)
        if not weights:  # the layer computes with its integer weights; its inputs stay float
            del changed["_dtype_policy"]
            stand_in = None if rounding is None else rounded_inputs.quantizer_of(layer)
            changed |= {"inputs_quantizer": stand_in} if hasattr(layer, "inputs_quantizer") else {}
        elif rounding is not None:
            changed |= {"call": _after(rounding, layer.call)}
        changed |= weights
    elif mode == "float8" and hasattr(layer, "kernel_scale"):
        changed["_kernel"] = _rounded_to_float8(layer)
        changed |= {} if rounding is None else {"call": _after(rounding, layer.call)}
    elif not getattr(layer, "autocast", True) and getattr(layer, "variable_dtype", None) in _WIDE:
        changed["autocast"] = True  # otherwise an embedding would read its table in the other format
    return changed


def _after(rounding: rounded_inputs.Rounding, call: Any) -> Any:
    """A layer's call on inputs that are rounded first."""
    return lambda inputs, *arguments, **keywords: call(rounding(inputs), *arguments, **keywords)


def _rounded_to_float8(layer: Any) -> Any:
    """The kernel as the layer computes with it: in float8, widened again."""
    import tensorflow as tf
    from keras.src.quantizers import quantizers

    with tf.init_scope():
        return quantizers.quantize_and_dequantize(layer._kernel, layer.kernel_scale, "float8_e4m3fn", _FLOAT32)


def _dequantized(layer: Any) -> dict[str, Any]:
    """The float weights of a quantised layer, as it computes with them; none if the layer offers no simple way to get them."""
    import keras
    import tensorflow as tf

    with tf.init_scope():  # a trace may be in progress; these must be constants in it
        if type(layer) is keras.layers.Dense:
            rows = np.eye(layer.input_spec.axes[-1], dtype=np.float32)
            with _with_attributes(layer, {"inputs_quantizer": None, "activation": keras.activations.linear, "bias": None}):
                return {"_kernel": tf.cast(layer(rows), tf.float32)}
        if type(layer) is keras.layers.Embedding:
            return {"_embeddings": tf.cast(layer(np.arange(layer.input_dim, dtype=np.int32)), tf.float32)}
    return {}
