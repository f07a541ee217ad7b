"""Keras 3 and tf_keras models as `LoadedModel`: names, structures, and inference whatever the layers' defaults are."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.checkpoints.config_layers import Statistics
from liteferry.checkpoints.model import LoadedModel, Tensors
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.types import CustomObject, Signature, TensorSpec


def wrap(
    model: Any, *, sample_columns: Sequence[TensorSpec], custom: tuple[CustomObject, ...] = (), warnings: tuple[str, ...] = ()
) -> LoadedModel:
    """A Keras model with its weights -> LoadedModel.

    Args:
      model: a `keras.Model` or a `tf_keras.Model`, built or not.
      sample_columns: the sample columns bound to inputs, under the inputs' names, batch dimension None first. They give the
      shapes of a
        subclassed model that was saved without ever being called.
    """
    library = library_of(model)
    warnings = (*warnings, *_make_stateless(model))
    template = _input_template(model, library)
    if template is None:
        template = _template_from_samples(model, sample_columns)
    pack, specs = template
    infer = _inference_call(model, library)
    output_names = _output_names(model)

    def call(inputs: Tensors) -> Tensors:
        arguments, keywords = pack([inputs[spec.name] for spec in specs])
        return named_outputs(infer(*arguments, **keywords), output_names)

    return LoadedModel(
        call=call,
        signature=Signature(inputs=tuple(specs), outputs=()),
        oracle=f"{library.__name__} {library.__version__}",
        keep=model,
        custom=custom,
        warnings=warnings,
    )


def _output_names(model: Any) -> list[str]:
    """The names of the layers that end a Functional or Sequential model; none for a subclassed one. Keras 3's Sequential
    keeps them inside.
    """
    names = getattr(model, "output_names", None) or getattr(getattr(model, "_functional", None), "output_names", None)
    return [str(name) for name in names or []]


def _make_stateless(model: Any) -> tuple[str, ...]:
    """State that layers keep between calls would mix one request's rows with the next one's: each call starts from zeros instead,
    as training does after `reset_states()`.
    """
    stateful = [layer for layer in model._flatten_layers() if layer is not model and _keeps_state(layer)]
    for layer in stateful:
        layer.stateful = False
    if not stateful:
        return ()
    names = ", ".join(layer.name for layer in stateful)
    return (f"stateful layers ({names}) start from zeros in every call, as after reset_states()",)


def _keeps_state(layer: Any) -> bool:
    """Of RNN layers and their wrappers only: a model's and a preprocessing layer's `stateful` means something else."""
    return bool(getattr(layer, "stateful", False)) and (hasattr(layer, "reset_states") or hasattr(layer, "reset_state"))


def normalization_statistics(model: Any) -> dict[str, Statistics]:
    """Layer name -> (mean, variance) of the Normalization layers in a loaded model; none for what is no Keras model."""
    found: dict[str, Statistics] = {}
    for layer in model._flatten_layers() if is_keras_model(model) else ():
        mean, variance = getattr(layer, "mean", None), getattr(layer, "variance", None)
        if type(layer).__name__ == "Normalization" and mean is not None and variance is not None:
            found[layer.name] = (np.asarray(mean).ravel().tolist(), np.asarray(variance).ravel().tolist())
    return found


def is_keras_model(value: Any) -> bool:
    """Whether a value is a model of one of the two libraries."""
    import keras
    import tf_keras

    return isinstance(value, keras.Model | tf_keras.Model)


def build_from_samples(model: Any, columns: Sequence[TensorSpec]) -> None:
    """Calls a model that was never called on one row of zeros shaped as the samples, so that its variables exist.

    Nothing happens to a model that has its variables, or when there are no samples: loading says what is missing.
    """
    import tensorflow as tf

    if not columns or (getattr(model, "built", False) and model.weights):
        return
    pack, specs = _template_from_samples(model, columns)
    rows = [tf.zeros([1, *((dim or 1) for dim in spec.shape[1:])], spec.dtype) for spec in specs]
    arguments, keywords = pack(rows)
    with contextlib.suppress(Exception):  # a user's call may do anything; without variables, loading fails and says so
        model(*arguments, **keywords)


def library_of(model: Any) -> Any:
    """The module, keras or tf_keras, that a model is made of.

    Raises:
      ModelError: LOAD_FAILED when it is no Keras model.
    """
    import keras
    import tf_keras

    if isinstance(model, tf_keras.Model):
        return tf_keras
    if isinstance(model, keras.Model):
        return keras
    raise ModelError(
        ReasonCode.LOAD_FAILED,
        Stage.LOAD,
        f"the builder returned {type(model).__module__}.{type(model).__qualname__}, not a keras.Model or a tf_keras.Model",
    )


def _inference_call(model: Any, library: Any) -> Callable[..., Any]:
    """Calls the model so that every layer in it computes inference.

    Keras 3 takes `training=False` whether or not the model's `call` names it, and hands it down. tf_keras passes unknown
    keywords on to `call`; there the learning phase reaches the layers inside.
    """
    if library.__name__ == "tf_keras" and not model._call_spec.expects_training_arg:
        from tf_keras.src import backend

        def infer(*args: Any, **kwargs: Any) -> Any:
            with backend.deprecated_internal_learning_phase_scope(0):
                return model(*args, **kwargs)

        return infer
    return lambda *args, **kwargs: model(*args, **kwargs, training=False)


def in_inference(owner: Any, function: Callable[[], Any]) -> Any:
    """What `function` returns when every layer of `owner`'s library that it calls computes inference, whatever the layers'
    defaults are. Anything but a Keras model calls it as it is.
    """
    import keras
    import tf_keras

    if isinstance(owner, tf_keras.Model):
        from tf_keras.src import backend

        with backend.deprecated_internal_learning_phase_scope(0):
            return function()
    if not isinstance(owner, keras.Model):
        return function()

    class Around(keras.layers.Layer):  # type: ignore[misc]
        """Keras 3 hands `training` down from the outermost layer of a call."""

        def call(self, training: bool | None = None) -> Any:
            return function()

    return Around()(training=False)


Packer = Callable[[list[Any]], tuple[tuple[Any, ...], dict[str, Any]]]


def _spec(name: str, shape: Sequence[Any], dtype: Any) -> TensorSpec:
    dims = tuple(None if dim is None else int(dim) for dim in shape)
    return TensorSpec(name=name, shape=dims, dtype=str(getattr(dtype, "name", dtype)))


def _input_template(model: Any, library: Any) -> tuple[Packer, list[TensorSpec]] | None:
    """How flat tensors become the model's arguments, read off a Functional or Sequential model; None for a subclassed one."""
    tree = library.tree if hasattr(library, "tree") else _tf_nest()
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return _template_from_build_config(model, tree)
    structure = getattr(model, "_inputs_struct", None) if library.__name__ == "keras" else getattr(model, "_nested_inputs", None)
    if structure is None:
        structure = inputs[0] if len(inputs) == 1 else list(inputs)
    flat = tree.flatten(structure)
    if isinstance(structure, Mapping) and len(structure) == len(flat):
        names = sorted(str(key) for key in structure)
    else:
        names = [str(name) for name in getattr(model, "input_names", None) or [tensor.name for tensor in flat]]
        if len(names) != len(flat):
            names = [tensor.name for tensor in flat]
    specs = [_spec(name, tensor.shape, tensor.dtype) for name, tensor in zip(_unique(names), flat, strict=True)]
    return (lambda tensors: ((tree.pack_sequence_as(structure, tensors),), {})), specs


def _tf_nest() -> Any:
    import tensorflow as tf

    return tf.nest


def _template_from_build_config(model: Any, tree: Any) -> tuple[Packer, list[TensorSpec]] | None:
    """A subclassed model that was called before it was saved remembers the shapes of that call."""
    with contextlib.suppress(Exception):  # a user's get_build_config may do anything; the samples decide then
        shapes = (model.get_build_config() or {}).get("input_shape")
        if shapes is None:
            return None
        first_argument = next(iter(inspect.signature(model.call).parameters))
        if _is_shape(shapes):
            spec = _spec(first_argument, [None, *shapes[1:]], getattr(model, "input_dtype", None) or "float32")
            return (lambda tensors: ((tensors[0],), {})), [spec]
        if isinstance(shapes, Mapping) and all(_is_shape(shape) for shape in shapes.values()):
            names = sorted(shapes)
            specs = [_spec(name, [None, *shapes[name][1:]], "float32") for name in names]
            return (lambda tensors: ((dict(zip(names, tensors, strict=True)),), {})), specs
    return None


def _is_shape(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(dim is None or isinstance(dim, int) for dim in value)


def _template_from_samples(model: Any, columns: Sequence[TensorSpec]) -> tuple[Packer, list[TensorSpec]]:
    """A model that says nothing of its inputs takes what the samples hold: one tensor, keyword arguments of `call`, or a dict."""
    if not columns:
        raise ModelError(
            ReasonCode.LOAD_FAILED,
            Stage.LOAD,
            f"{type(model).__name__} was saved without ever being called, so its inputs are unknown; "
            "give `samples` whose columns it takes, "
            "or map them under samples.<name>.inputs",
        )
    names = [column.name for column in columns]
    parameters = list(inspect.signature(model.call).parameters)
    if len(columns) == 1:
        return (lambda tensors: ((tensors[0],), {})), list(columns)
    if all(name in parameters for name in names):
        return (lambda tensors: ((), dict(zip(names, tensors, strict=True)))), list(columns)
    return (lambda tensors: ((dict(zip(names, tensors, strict=True)),), {})), list(columns)


def named_outputs(outputs: Any, output_names: Sequence[str]) -> dict[str, Any]:
    """Any structure of outputs -> names: a dict's own keys, else the model's `output_names`, else output_0, output_1, ..."""
    flat: list[tuple[str, Any]] = []

    def visit(node: Any, path: str) -> None:
        if isinstance(node, Mapping):
            for key in node:
                visit(node[key], f"{path}/{key}" if path else str(key))
        elif isinstance(node, list | tuple):
            for index, item in enumerate(node):
                visit(item, f"{path}/{index}" if path else f"output_{index}")
        elif node is not None:
            flat.append((path or "output_0", node))

    visit(outputs, "")
    if not isinstance(outputs, Mapping) and len(output_names) == len(flat):
        return dict(zip(_unique(output_names), (tensor for _, tensor in flat), strict=True))
    return dict(flat)


def _unique(names: Sequence[str]) -> list[str]:
    """Equal names (one layer called twice) get a counting suffix, as tf_keras does."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        count = seen.get(name, 0)
        seen[name] = count + 1
        result.append(f"{name}_{count}" if count else name)
    return result
