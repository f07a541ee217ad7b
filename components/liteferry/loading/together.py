"""Several signatures of one model called as one: on all their inputs, with their outputs side by side.

Whatever proves a model compares arrays by name. So where a .tflite file has to hold more than one signature, the proof is about
their union: output `code` of signature `encode` is called `encode.code` there. An input of a signature shares the rows of an
input of the same name, dtype and shape; where one of that name differs, it is called `encode.x`, and has rows of its own.

The names that a signature's inputs have in the union are written into every artifact (`KEY` of its metadata), so that whoever
runs the artifact feeds it the same rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import call_groups, tracing
from liteferry.loading.tracing import TracedModel
from liteferry.types import Signature, TensorSpec

KEY = "tflite_signatures"
EVERY = "all"
_UNCONVERTIBLE = "serve_examples"  # parses tf.Examples, for which LiteRT has no operator: never part of EVERY

Names = Mapping[str, Mapping[str, str]]
"""Signature -> its own input -> the name of that input in the union."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Union:
    """The signature of the union, and how the inputs of the signatures besides the first are called in it."""

    signature: Signature
    names: Names


def output_name(signature: str, output: str) -> str:
    """What an output of a signature besides the first is called in the union."""
    return f"{signature}.{output}"


def chosen(asked: str | Sequence[str], there: Sequence[str], *, first: Sequence[str]) -> list[str]:
    """The signatures besides the first that a job asks for, in the order of their names.

    Args:
      asked: `all`, or names.
      there: the signatures besides the first.
      first: the names by which the first one goes.

    Raises:
      ValueError: a name is not there.
    """
    if asked == EVERY:
        return sorted(name for name in there if name != _UNCONVERTIBLE)
    missing = sorted({*asked} - {*there, *first})
    if missing:
        listed = ", ".join(sorted({*there, *first}))
        raise ValueError(f"there is no signature {missing[0]!r}; the signatures: {listed}. Correct `{KEY}` of its models entry")
    return sorted({*asked} - {*first})


def union(first: Signature, more: Mapping[str, Signature]) -> Union:
    """The union of a first signature and others by name.

    Raises:
      ValueError: two outputs would have one name.
    """
    inputs = {spec.name: spec for spec in first.inputs}
    names: dict[str, dict[str, str]] = {}
    for signature in sorted(more):
        names[signature] = {}
        for spec in more[signature].inputs:
            same = inputs.get(spec.name)
            given = spec.name if same is None or _is_alike(same, spec) else output_name(signature, spec.name)
            names[signature][spec.name] = given
            inputs[given] = dataclasses.replace(_narrower(inputs.get(given), spec), name=given)
    outputs = [*first.outputs]
    for signature in sorted(more):
        outputs += [dataclasses.replace(spec, name=output_name(signature, spec.name)) for spec in more[signature].outputs]
    twice = sorted({spec.name for spec in outputs if sum(other.name == spec.name for other in outputs) > 1})
    if twice:
        raise ValueError(f"two outputs would be called {twice[0]!r}: rename the signature or the output")
    return Union(signature=Signature(inputs=tuple(inputs.values()), outputs=tuple(outputs)), names=names)


def _is_alike(one: TensorSpec, other: TensorSpec) -> bool:
    """Whether rows for one are rows for the other. The first axis counts rows, and may be fixed on one side alone."""
    if one.dtype != other.dtype or (one.shape is None) != (other.shape is None):
        return False
    if not one.shape or not other.shape:
        return one.shape == other.shape
    return one.shape[1:] == other.shape[1:] and (None in (one.shape[0], other.shape[0]) or one.shape[0] == other.shape[0])


def _narrower(one: TensorSpec | None, other: TensorSpec) -> TensorSpec:
    """The one whose number of rows is fixed."""
    return one if one is not None and one.shape and one.shape[0] is not None else other


def names_in(metadata: object) -> dict[str, dict[str, str]]:
    """The names that an artifact's metadata holds under `KEY`; empty for an artifact with one signature."""
    found = metadata.get(KEY) if isinstance(metadata, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {
        str(name): {str(own): str(given) for own, given in inputs.items()}
        for name, inputs in found.items()
        if isinstance(inputs, Mapping)
    }


def feed(rows: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    """The rows of the union that one signature takes, by its own input names."""
    return {own: rows[given] for own, given in inputs.items()}


class Function:
    """The signatures as one function of named tensors, as a ConcreteFunction is called."""

    def __init__(self, first: Callable[..., Any], inputs: Sequence[str], more: Mapping[str, Callable[..., Any]], names: Names):
        """`inputs`: the first signature's."""
        self._first = first
        self._inputs = tuple(inputs)
        self._more = more
        self._names = names

    def __call__(self, **tensors: Any) -> dict[str, Any]:
        outputs = dict(self._first(**{name: tensors[name] for name in self._inputs}))
        for signature, inputs in self._names.items():
            found = self._more[signature](**feed(tensors, inputs))
            outputs.update({output_name(signature, output): found[output] for output in sorted(found)})
        return outputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Together:
    """The signatures that one .tflite file holds.

    Attributes:
      traced: the union; its `function` calls all signatures, and has no graph of its own.
      functions: those besides the first, TensorFlow ConcreteFunctions by name.
      names: what their inputs are called in the union.
    """

    traced: TracedModel
    functions: Mapping[str, Any]
    names: Names

    def at_batch(self, batch: int | None) -> dict[str, Any]:
        """The functions besides the first with the number of rows fixed; None: as they are."""
        return dict(self.functions) if batch is None else {name: _at(one, batch) for name, one in self.functions.items()}


def of(first: TracedModel, functions: Mapping[str, Any]) -> Together:
    """A model's first signature and the others that go into the same file.

    Raises:
      ModelError: CONVERT_FAILED where one of them assigns to variables, so that its answers are no function of its inputs, or
        where names or numbers of rows do not go together.
    """
    for name, function in sorted(functions.items()):
        assigns = tracing.assigned_variables(function)
        if assigns:
            raise _refusal(
                f"signature {name!r} assigns to variables ({', '.join(assigns[:5])}), and in a .tflite file variables are "
                "constants; list the signatures that only read them"
            )
    try:
        found = union(first.signature, {name: tracing.describe_function(one) for name, one in functions.items()})
        batch = call_groups.fixed_batch(found.signature.inputs)
    except ValueError as error:
        raise _refusal(str(error)) from error
    calls = call_groups.decide(lambda _: {}, None, batch=batch, outputs=found.signature.outputs)
    function = Function(first.function, first.signature.input_names(), functions, found.names)
    traced = dataclasses.replace(first, function=function, signature=found.signature, calls=calls)
    return Together(traced=traced, functions=dict(sorted(functions.items())), names=found.names)


def _refusal(words: str) -> ModelError:
    return ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, f"{KEY}: {words}")


def _at(function: Any, batch: int) -> Any:
    import tensorflow as tf

    _, keywords = function.structured_input_signature
    specs = {
        name: tf.TensorSpec(tracing.with_batch(tracing.describe_tensor(name, spec).shape, batch), spec.dtype, name=name)
        for name, spec in keywords.items()
    }
    return tf.function(lambda **tensors: dict(function(**tensors))).get_concrete_function(**specs)
