"""More named signatures for the SavedModel: a model's methods, the user's functions around it, and one that parses tf.Example.

All of them are traced around the same inference graph as serving_default, so that none can compute another function.
"""

from __future__ import annotations

import gc
import inspect
import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.exporting import serve_examples as serve_examples_signature
from liteferry.exporting.serve_examples import SERVE_EXAMPLES
from liteferry.loading import tracing, user_code
from liteferry.loading.keras_model import in_inference
from liteferry.loading.model import LoadedModel
from liteferry.loading.output_names import named_outputs
from liteferry.loading.tracing import TracedModel
from liteferry.types import SignatureSpec, TensorSpec


class Inference:
    """The first argument of a signature function: the model in inference.

    Attributes:
      model: the loaded Keras model, or a SavedModel's object, for its layers and methods.
      assets: name -> path of each file under `assets`, for lookup tables and the like.
    """

    def __init__(self, traced: TracedModel, model: Any, assets: Mapping[str, str]) -> None:
        self.model = model
        self.assets = dict(assets)
        self._traced = traced

    def __call__(self, *tensors: Any, **inputs: Any) -> dict[str, Any]:
        """Tensors in the order of the model's inputs or by their names -> the model's outputs by name, as serving_default
        computes them.
        """
        names = self._traced.signature.input_names()
        given = {self._traced.renamed.get(name, name): value for name, value in inputs.items()}
        if len(tensors) > len(names) or given.keys() & set(names[: len(tensors)]):
            raise TypeError(f"the model takes {', '.join(names)}, each once")
        given.update(zip(names, tensors, strict=False))
        if given.keys() != set(names):
            raise TypeError(f"the model takes {', '.join(names)}; given: {', '.join(sorted(given)) or 'nothing'}")
        outputs: dict[str, Any] = self._traced.function(**given)
        return outputs


def add(
    model: LoadedModel, traced: TracedModel, specs: tuple[SignatureSpec, ...], *, serve_examples: bool, scratch: str
) -> dict[str, Any]:
    """Every signature besides serving_default, as TensorFlow ConcreteFunctions by name: the checkpoint's own and the job's.

    Args:
      model, traced: the checkpoint and its inference graph.
      specs: what the job asks for.
      serve_examples: whether to add one that parses serialized tf.Examples, named by the model's own input names.
      scratch: a folder for copies of the assets; must stay until the SavedModel is written.

    Raises:
      ModelError: EXPORT_FAILED, naming the signature, when it cannot be traced.
    """
    functions: dict[str, Any] = dict(model.more_signatures)
    for spec in specs:
        if spec.name in functions:
            raise _failed(spec.name, "the checkpoint is a SavedModel that has a signature of this name; choose another name")
        functions[spec.name] = _trace(spec, model, traced, scratch)
    if serve_examples and SERVE_EXAMPLES not in functions:
        functions[SERVE_EXAMPLES] = serve_examples_signature.trace(traced)
    return functions


def _failed(name: str, message: str) -> ModelError:
    return ModelError(ReasonCode.EXPORT_FAILED, Stage.EXPORT, f"signatures.{name}: {message}")


def _trace(spec: SignatureSpec, model: LoadedModel, traced: TracedModel, scratch: str) -> Any:
    import tensorflow as tf

    owner = model.keep[0] if isinstance(model.keep, tuple) else model.keep
    inference = Inference(traced, owner, _copy_assets(spec, scratch))
    inputs = {tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in _inputs(spec, traced)}
    try:
        function = _method(spec, owner, list(inputs)) if spec.method else _function(spec, inference)

        def signature(**tensors: Any) -> dict[str, Any]:
            outputs = named_outputs(in_inference(owner, lambda: function(tensors)), ())
            return {name: tf.convert_to_tensor(value) for name, value in outputs.items()}

        concrete = tf.function(signature).get_concrete_function(**inputs)
    except ModelError as error:
        raise _failed(spec.name, error.reason.message) from error
    except Exception as error:
        raise _failed(spec.name, f"cannot be traced: {type(error).__name__}: {error}") from error
    if not concrete.structured_outputs:
        raise _failed(spec.name, "returns no tensor; return a tensor or a dict of tensors")
    _refuse_paths_of_this_machine(spec, concrete, scratch)
    return concrete


def _inputs(spec: SignatureSpec, traced: TracedModel) -> tuple[TensorSpec, ...]:
    return spec.inputs or traced.signature.inputs


def _copy_assets(spec: SignatureSpec, scratch: str) -> dict[str, str]:
    """Copies the assets into a private folder: a graph that stores this path would look for the file on the exporting machine."""
    copies = {}
    for name, path in spec.assets.items():
        folder = os.path.join(scratch, f"asset-{spec.name}-{name}")
        os.makedirs(folder, exist_ok=True)
        try:
            copies[name] = shutil.copy(path, folder)
        except OSError as error:
            raise _failed(spec.name, f"assets.{name}: {path} cannot be read: {error.strerror or error}") from error
    return copies


def _refuse_paths_of_this_machine(spec: SignatureSpec, concrete: Any, scratch: str) -> None:
    graph = concrete.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    wanted = os.path.abspath(scratch).encode()
    for node in nodes:
        if node.op == "Const" and any(wanted in value for value in node.attr["value"].tensor.string_val):
            raise _failed(
                spec.name,
                "reads an asset by its path, which exists on this machine only; build what needs the file eagerly (a lookup "
                "table with tf.lookup.TextFileInitializer), in a function that takes `inference` alone and returns the function "
                "to serve",
            )


Call = Callable[[Mapping[str, Any]], Any]


def _method(spec: SignatureSpec, owner: Any, names: list[str]) -> Call:
    method = getattr(owner, str(spec.method), None)
    if not callable(method):
        raise _failed(spec.name, f"{type(owner).__name__} has no method {spec.method!r}")
    try:
        parameters = inspect.signature(getattr(method, "python_function", method)).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]
    by_keyword = all(name in parameters for name in names) or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    keywords = {"training": False} if "training" in parameters else {}
    if by_keyword:
        return lambda tensors: method(**tensors, **keywords)
    return lambda tensors: method(*(tensors[name] for name in names), **keywords)


def _function(spec: SignatureSpec, inference: Inference) -> Call:
    """The user's function with the model as its first argument. A function with no other argument returns the function to
    serve.
    """
    function = user_code.resolve(str(spec.function), key="function")
    if len(inspect.signature(function).parameters) > 1:
        return lambda tensors: function(inference, **tensors)
    made = function(inference)
    if not callable(made):
        raise _failed(
            spec.name,
            f"{spec.function} takes nothing but the model and returned {type(made).__name__}; it must return the function to "
            "serve, or take the inputs itself",
        )
    return lambda tensors: made(**tensors)


def check(functions: Mapping[str, Any], traced: TracedModel, inputs: Mapping[str, np.ndarray]) -> None:
    """Proves what sample rows can prove: a signature that takes them answers twice the same, and `serve_examples` answers as
    serving_default does.

    Raises:
      ModelError: EXPORT_NONDETERMINISTIC or EXPORT_MISMATCH, naming the signature.
    """
    for name, function in functions.items():
        _, keywords = function.structured_input_signature
        if all(key in inputs and _takes(spec, inputs[key]) for key, spec in keywords.items()) and keywords:
            arguments = {key: inputs[key] for key in keywords}
            differing = tracing.differing_outputs(
                tracing.run_function(function, arguments), tracing.run_function(function, arguments)
            )
            if differing:
                raise ModelError(
                    ReasonCode.EXPORT_NONDETERMINISTIC,
                    Stage.EXPORT,
                    f"signatures.{name}: two runs on the same rows differ in {', '.join(differing)}: something in it is random "
                    "at inference; call layers with training=False",
                )
    if SERVE_EXAMPLES in functions:
        serve_examples_signature.check(functions[SERVE_EXAMPLES], traced, inputs)


def _takes(spec: Any, value: np.ndarray) -> bool:
    dtype = "string" if value.dtype.kind in "OSU" else value.dtype.name
    return spec.dtype.name == dtype and bool(spec.shape.is_compatible_with(value.shape))


def resources_of(functions: Mapping[str, Any]) -> list[Any]:
    """Lookup tables that a user's function made and the graphs refer to: found by their handle, wherever the user keeps them."""
    from tensorflow.python.trackable.resource import CapturableResource

    captured = {id(tensor) for function in functions.values() for tensor in function.captured_inputs}
    return [
        value for value in gc.get_objects() if isinstance(value, CapturableResource) and id(value.resource_handle) in captured
    ]
