"""Calls a model and names its answers for the second opinion as a user's script would: plain calls, the library's own names."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.types import TensorSpec

Answers = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


class NoOpinionError(Exception):
    """This kind of checkpoint has no second opinion. The message is a reason that docs/checkpoints.md lists."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnModel:
    """A checkpoint as its own library loads it.

    `answers`: arrays by input name, (rows, ...) each -> arrays by output name. `by`: the library, with its version.
    `corrections`: a sentence for each correction made. `signatures`: those of a SavedModel, by name, as `answers`; `inputs`: what
    the one takes that `answers` calls.
    """

    answers: Answers
    by: str
    corrections: tuple[str, ...] = ()
    signatures: Mapping[str, Answers] = dataclasses.field(default_factory=dict)
    inputs: tuple[str, ...] = ()


def of_keras(model: Any, library: Any, corrections: Sequence[str]) -> OwnModel:
    """A model of either Keras, called with `training=False`."""

    def answers(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        for layer in model._flatten_layers():  # a stateful layer begins at zeros, as docs/checkpoints.md says
            for reset in ("reset_states", "reset_state"):
                if getattr(layer, "stateful", False) and layer is not model and hasattr(layer, reset):
                    getattr(layer, reset)()
                    break
        return named(_call(model, library, inputs), _output_names(model))

    return OwnModel(answers=answers, by=f"{library.__name__} {library.__version__}", corrections=tuple(corrections))


def _call(model: Any, library: Any, inputs: Mapping[str, np.ndarray]) -> Any:
    import tensorflow as tf

    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    inference = {"training": False}
    if library.__name__ == "tf_keras":
        library.backend.set_learning_phase(0)  # as tf_keras's own predict() does, for layers that get no `training` argument
        takes_training = "training" in _parameters(model.call) or getattr(model, "inputs", None)
        inference = {"training": False} if takes_training else {}
    if getattr(model, "inputs", None):
        return model(_in_its_structure(model, library, tensors), **inference)
    return _first_that_takes(lambda arguments, keywords: model(*arguments, **keywords, **inference), _forms(model, tensors))


Form = tuple[tuple[Any, ...], dict[str, Any]]


def _first_that_takes(call: Callable[[tuple[Any, ...], dict[str, Any]], Any], forms: Sequence[Form]) -> Any:
    problem: Exception | None = None
    for arguments, keywords in forms:
        try:
            return call(arguments, keywords)
        except Exception as error:  # noqa: BLE001  # a user's call may raise anything for inputs that it does not accept
            problem = problem or error
    assert problem is not None
    raise problem


def _forms(model: Any, tensors: Mapping[str, Any]) -> list[Form]:
    """Ways to call a subclassed model: by the argument names of `call`, in the structure it was built with, else with a dict, a
    list, or positional arguments.
    """
    names, parameters, built = list(tensors), _parameters(model.call), None
    with contextlib.suppress(Exception):
        built = (model.get_build_config() or {}).get("input_shape")
    as_dict: Form = ((dict(tensors),), {})
    as_list: Form = (([tensors[name] for name in names],), {})
    if len(names) == 1 and not isinstance(built, Mapping):
        return [((tensors[names[0]],), {}), as_dict]
    if set(names) <= set(parameters) and len(names) > 1:
        return [((), dict(tensors))]
    nested = _like(built, tensors) if isinstance(built, Mapping) else None
    if nested is not None:
        return [((nested,), {})]
    if parameters and parameters[0] in names and len(names) == 1:
        return [((tensors[names[0]],), {})]
    of_lists = isinstance(built, list | tuple) and bool(built) and all(isinstance(item, list | tuple) for item in built)
    return [*((as_list, as_dict) if of_lists else (as_dict, as_list)), (tuple(tensors.values()), {})]


def _like(built: Any, tensors: Mapping[str, Any]) -> Any:
    """A dict with the structure that the model was built with, filled by the leaves' keys; None where keys are missing."""
    made = {}
    for key, item in built.items():
        made[key] = _like(item, tensors) if isinstance(item, Mapping) else tensors.get(key)
        if made[key] is None:
            return None
    return made


def build(model: Any, library: Any, inputs: Sequence[TensorSpec]) -> None:
    """Calls a model once on zeros of these shapes, as a script does before it loads weights."""
    rows = {spec.name: np.zeros([dim or 1 for dim in spec.shape or ()], _numpy_dtype(spec.dtype)) for spec in inputs}
    with contextlib.suppress(Exception):  # then loading reports what is missing
        _call(model, library, rows)


def _numpy_dtype(name: str) -> Any:
    return object if name == "string" else name


def _in_its_structure(model: Any, library: Any, tensors: Mapping[str, Any]) -> Any:
    """Named tensors in the structure of a Functional or Sequential model's inputs."""
    structure = getattr(model, "_inputs_struct", None) if library.__name__ == "keras" else getattr(model, "_nested_inputs", None)
    if isinstance(structure, Mapping) and set(tensors) <= set(structure):
        return {key: tensors.get(key) for key in structure}
    names = _unique([str(tensor.name) for tensor in model.inputs])
    if not set(tensors) <= set(names):
        names = _unique([str(name) for name in getattr(model, "input_names", None) or names])
    if len(names) == len(tensors) == 1:
        tensors = dict(zip(names, tensors.values(), strict=True))
    if not set(tensors) <= set(names):
        raise ValueError(f"the model's inputs are {', '.join(names)}, the exported ones {', '.join(tensors)}")
    flat = [tensors.get(name) for name in names]
    if structure is None:
        return flat[0] if len(flat) == 1 else flat
    return _packed(structure, iter(flat))


def _packed(structure: Any, flat: Iterator[Any]) -> Any:
    if isinstance(structure, Mapping):
        made = {key: _packed(structure[key], flat) for key in sorted(structure)}  # Keras flattens a dict by its sorted keys
        return {key: made[key] for key in structure}
    if isinstance(structure, list | tuple):
        return [_packed(item, flat) for item in structure]
    return next(flat)


def _parameters(call: Any) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(call).parameters)
    except (TypeError, ValueError):
        return ()


def first_that_takes(loaded: Any, tensors: Sequence[Any]) -> Any:
    """The outputs of a SavedModel without a signature, called as an object; in inference where it has a training argument."""
    function = loaded if callable(loaded) else loaded.serve
    forms: list[Form] = [(tuple(tensors), {"training": False}), (tuple(tensors), {})]
    return _first_that_takes(lambda arguments, keywords: function(*arguments, **keywords), forms)


def _output_names(model: Any) -> list[str]:
    names = getattr(model, "output_names", None) or getattr(getattr(model, "_functional", None), "output_names", None)
    return _unique([str(name) for name in names or ()])


def _unique(names: Sequence[str]) -> list[str]:
    """Equal names get a number; the result never repeats an existing name, as docs/checkpoints.md says."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in range(1, len(names) + 1))
        free = (other for other in numbered if other not in names and other not in found)
        found.append(next(free) if name in found else name)
    return found


def named(outputs: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Outputs in any structure, by name: keys of dicts, `names` if there are as many, else output_0, output_1, ..."""
    leaves = list(_leaves(outputs, ""))
    of_model = not isinstance(outputs, Mapping) and len(names) == len(leaves)
    found = _unique(names if of_model else [path for path, _ in leaves])
    return {name: _array(value) for name, (_, value) in zip(found, leaves, strict=True)}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    value = value._asdict() if hasattr(value, "_asdict") else _parts(value)
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}/{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}/{number}" if path else f"output_{number}")
    elif value is not None:
        yield path or "output_0", value


def _parts(value: Any) -> Any:
    """The components of a ragged or sparse tensor, under the names that docs/checkpoints.md gives them."""
    import tensorflow as tf

    if isinstance(value, tf.SparseTensor):
        return {"indices": value.indices, "values": value.values, "dense_shape": value.dense_shape}
    if isinstance(value, tf.RaggedTensor):
        splits = {f"row_splits_{axis}": one for axis, one in enumerate(value.nested_row_splits, 1)}
        return {"values": value.flat_values, **(splits if len(splits) > 1 else {"row_splits": value.row_splits})}
    return value


def _array(value: Any) -> np.ndarray:
    import tensorflow as tf

    found = tf.convert_to_tensor(value).numpy()
    return found if isinstance(found, np.ndarray) else np.asarray(found, object if isinstance(found, bytes) else None)


def paths(outputs: Any) -> dict[str, Any]:
    """The leaves of any structure of outputs, by name."""
    return dict(_leaves(outputs, ""))
