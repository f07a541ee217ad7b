"""Wraps Keras 3 and tf_keras models as `LoadedModel`: names, structures, and inference regardless of the layers' defaults."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.checkpoints.architecture_facts import Statistics
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import call_arguments
from liteferry.loading.call_arguments import Template
from liteferry.loading.model import LoadedModel, Tensors
from liteferry.loading.output_names import named_outputs, unique
from liteferry.types import CustomObject, Signature, TensorSpec

_NO_SCOPE = re.compile(r"[^A-Za-z0-9_.\\/>-]")  # characters that TensorFlow rejects in scope names


def wrap(
    model: Any, *, sample_columns: Sequence[TensorSpec], custom: tuple[CustomObject, ...] = (), warnings: tuple[str, ...] = ()
) -> LoadedModel:
    """A Keras model with its weights -> LoadedModel.

    Args:
      model: a `keras.Model` or a `tf_keras.Model`, built or not.
      sample_columns: the sample columns bound to inputs, under the inputs' names, batch dimension None first. They give the
        dtypes and free lengths of a subclassed model, and decide which optional inputs are used.
    """
    library = library_of(model)
    warnings = (*warnings, *_make_stateless(model))
    template = _input_template(model, library, sample_columns) or call_arguments.of_subclassed(model, sample_columns)
    infer = _inference_call(model, library)
    output_names = _output_names(model)
    unscoped = _layers_without_scope(model)

    def call(inputs: Tensors) -> Tensors:
        arguments, keywords = template.pack([inputs[spec.name] for spec in template.specs])
        with _renamed(unscoped):
            return named_outputs(infer(*arguments, **keywords), output_names)

    return LoadedModel(
        call=call,
        signature=Signature(inputs=template.specs, outputs=()),
        oracle=f"{library.__name__} {library.__version__}",
        keep=model,
        custom=custom,
        warnings=(*warnings, *template.warnings),
    )


def _layers_without_scope(model: Any) -> list[Any]:
    """Layers of a Keras 3 model whose names TensorFlow rejects as graph scopes ("flat it"); called eagerly, they run."""
    return [] if hasattr(model, "_call_spec") else [layer for layer in model._flatten_layers() if _NO_SCOPE.search(layer.name)]


@contextlib.contextmanager
def _renamed(layers: Sequence[Any]) -> Iterator[None]:
    """Gives those layers valid names while the model is traced: weights and reports use the original names."""
    names = [layer.name for layer in layers]
    try:
        for layer in layers:
            layer.name = _NO_SCOPE.sub("_", layer.name)
        yield
    finally:
        for layer, name in zip(layers, names, strict=True):
            layer.name = name


def _output_names(model: Any) -> list[str]:
    """The names of the layers that end a Functional or Sequential model; none for a subclassed one. Keras 3's Sequential keeps
    them in an inner model.
    """
    names = getattr(model, "output_names", None) or getattr(getattr(model, "_functional", None), "output_names", None)
    return [str(name) for name in names or []]


def _make_stateless(model: Any) -> tuple[str, ...]:
    """Makes stateful layers start from zeros in every call, as training does after `reset_states()`: state kept between calls
    would mix the rows of one request with those of the next.
    """
    stateful = [layer for layer in model._flatten_layers() if layer is not model and _keeps_state(layer)]
    for layer in stateful:
        layer.stateful = False
    if not stateful:
        return ()
    names = ", ".join(layer.name for layer in stateful)
    return (f"stateful layers ({names}) start from zeros in every call, as after reset_states()",)


def _keeps_state(layer: Any) -> bool:
    """Only for RNN layers and their wrappers: `stateful` means something else for a model or a preprocessing layer."""
    return bool(getattr(layer, "stateful", False)) and (hasattr(layer, "reset_states") or hasattr(layer, "reset_state"))


def normalization_statistics(model: Any) -> dict[str, Statistics]:
    """Layer name -> (mean, variance) of the Normalization layers in a loaded model; empty for anything but a Keras model."""
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


def build_from_samples(model: Any, columns: Sequence[TensorSpec]) -> bool:
    """Calls a subclassed model on one row of zeros shaped as the samples, so that all of its variables exist.

    A file records shapes of the first argument only, or none: layers fed by other arguments are then not built when the model is
    loaded, and their weights are not read. Models with symbolic inputs, models whose layers are all built, and calls without
    samples are left alone.

    Returns:
      Whether new variables were made: their weights still have to be read from the file.
    """
    import tensorflow as tf

    if not columns or is_built(model) or getattr(model, "inputs", None):
        return False
    library = library_of(model)
    infer = _inference_call(model, library)  # an augmenting layer's default would train other layers on these zeros
    before = len(model.weights) if getattr(model, "built", False) else 0
    template = call_arguments.of_subclassed(model, columns)
    rows = [tf.zeros([1, *((dim or 1) for dim in (spec.shape or ())[1:])], spec.dtype) for spec in template.specs]
    arguments, keywords = template.pack(rows)
    with contextlib.suppress(Exception):  # a user's call may raise anything; if variables are then missing, loading reports it
        if isinstance(model, library.Sequential) and len(template.specs) == 1:
            model.build((None, *(template.specs[0].shape or ())[1:]))  # the call would fix the batch size at one row
        infer(*arguments, **keywords)
    return getattr(model, "built", False) and len(model.weights) > before


def is_built(model: Any) -> bool:
    """Whether a model and every layer in it have all of their variables; a model that has none then needs none."""
    return getattr(model, "built", False) and all(layer.built for layer in model._flatten_layers())


def library_of(model: Any) -> Any:
    """The module, keras or tf_keras, that a model belongs to.

    Raises:
      ModelError: LOAD_FAILED when it is not a Keras model.
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

    Keras 3 accepts `training=False` whether or not the model's `call` names it, and passes it down. tf_keras passes unknown
    keywords on to `call`; there the learning phase reaches the inner layers.
    """
    if library.__name__ == "tf_keras" and not model._call_spec.expects_training_arg:
        from tf_keras.src import backend

        def infer(*args: Any, **kwargs: Any) -> Any:
            with backend.deprecated_internal_learning_phase_scope(0):
                return model(*args, **kwargs)

        return infer
    return lambda *args, **kwargs: model(*args, **kwargs, training=False)


def in_inference(owner: Any, function: Callable[[], Any]) -> Any:
    """Calls `function` so that every layer of `owner`'s library in it computes inference, whatever the layers' defaults are. If
    `owner` is not a Keras model, the function is called unchanged.
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
        """Keras 3 passes `training` down from the outermost layer of a call; this layer is that outermost one."""

        def call(self, training: bool | None = None) -> Any:
            return function()

    return Around()(training=False)


def _spec(name: str, shape: Sequence[Any], dtype: Any) -> TensorSpec:
    dims = tuple(None if dim is None else int(dim) for dim in shape)
    return TensorSpec(name=name, shape=dims, dtype=str(getattr(dtype, "name", dtype)))


def _input_template(model: Any, library: Any, columns: Sequence[TensorSpec]) -> Template | None:
    """How flat tensors become the arguments of a Functional or Sequential model; None for a subclassed one.

    An optional input without a column is left out.
    """
    tree = library.tree if hasattr(library, "tree") else _tf_nest()
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return None
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
    names = unique(names)
    fed = {column.name for column in columns}
    away = [name for name, tensor in zip(names, flat, strict=True) if fed and name not in fed and _is_optional(tensor)]
    specs = [_spec(name, tensor.shape, tensor.dtype) for name, tensor in zip(names, flat, strict=True) if name not in away]

    def pack(tensors: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        values = dict(zip((spec.name for spec in specs), tensors, strict=True))
        return (tree.pack_sequence_as(structure, [values.get(name) for name in names]),), {}

    told = (f"optional inputs that no column of the samples feeds are left out: {', '.join(away)}",) if away else ()
    return Template(pack=pack, specs=tuple(specs), warnings=told)


def _is_optional(tensor: Any) -> bool:
    """Whether a symbolic input may be None; Keras 3 alone has such inputs."""
    return bool(getattr(getattr(getattr(tensor, "_keras_history", None), "operation", None), "optional", False))


def _tf_nest() -> Any:
    import tensorflow as tf

    return tf.nest
