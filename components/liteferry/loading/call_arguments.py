"""Decides which sample column feeds which argument of a subclassed model's `call`, and builds those arguments from flat
tensors.

A Functional model declares its inputs. A subclassed one has only the names of `call`'s arguments and the shapes it was built
with; no file holds dtypes. So columns are matched by name; dtypes and free lengths come from the columns.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading.output_names import unique
from liteferry.types import SampleColumn, TensorSpec

Packer = Callable[[list[Any]], tuple[tuple[Any, ...], dict[str, Any]]]

# Optional arguments that are not inputs in most models: fed only if `inputs` says so.
_NOT_INPUTS = ("mask", "label", "labels", "target", "targets", "y", "y_true", "id", "sample_weight", "sample_weights", "weight")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Template:
    """`pack`: flat tensors in the order of `specs` -> positional and keyword arguments of a call. `warnings`: for the report."""

    pack: Packer
    specs: tuple[TensorSpec, ...]
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Leaf:
    """One tensor of an argument: the keys that lead to it, and the shape it was built with, if known."""

    path: tuple[Any, ...]
    shape: tuple[int | None, ...] | None

    def is_named(self) -> bool:
        return bool(self.path) and isinstance(self.path[-1], str)


@dataclasses.dataclass
class _Argument:
    """One argument of `call`. `columns`: one for each leaf, None if no column has its name."""

    name: str
    kind: Any
    structure: Any
    leaves: list[_Leaf]
    columns: list[TensorSpec | None]


def of_subclassed(model: Any, columns: Sequence[TensorSpec]) -> Template:
    """The arguments of a model that has no symbolic inputs.

    Args:
      columns: sample columns under the names of the inputs they may feed, batch dimension None first.

    Raises:
      ModelError: LOAD_FAILED if neither the file nor the columns show the model's inputs.
    """
    parameters, told = _parameters(model, columns)
    built = _built_shapes(model, parameters)
    first, *others = parameters
    by_name = {column.name: column for column in columns}
    arguments = [
        _Argument(other.name, other.kind, (), [_Leaf((), _shape(built.get(other.name)))], [by_name.get(other.name)])
        for other in others
        if other.name in by_name or other.default is other.empty or (not columns and built.get(other.name))
    ]
    used = {argument.name for argument in arguments}
    left = [column for column in columns if column.name not in used and column.name not in told]
    head, more = _first_argument(model, first, built.get(first.name), left)
    every = [head, *arguments]
    is_alone = len(every) == 1 and len(head.leaves) == 1
    specs = tuple(spec for argument in every for spec in _specs(model, argument, is_alone=is_alone))
    names = unique([spec.name for spec in specs])
    specs = tuple(dataclasses.replace(spec, name=name) for spec, name in zip(specs, names, strict=True))
    return Template(pack=_packer(every), specs=specs, warnings=(*told.values(), *more))


def likely(columns: Sequence[TensorSpec]) -> list[TensorSpec]:
    """The columns to feed if the model declares no inputs: those that the job's `inputs` names, else all."""
    mapped = [column for column in columns if isinstance(column, SampleColumn) and column.is_mapped]
    return [*mapped] or [*columns]


def _parameters(model: Any, columns: Sequence[TensorSpec]) -> tuple[list[inspect.Parameter], dict[str, str]]:
    """The arguments of `call` that may be inputs, and a sentence for each argument that is left out although a column has its
    name.
    """
    mapped = {column.name for column in columns if isinstance(column, SampleColumn) and column.is_mapped}
    there = {column.name for column in columns}
    kept: list[inspect.Parameter] = []
    told: dict[str, str] = {}
    for number, one in enumerate(inspect.signature(model.call).parameters.values()):
        is_input = one.name not in ("training", *_NOT_INPUTS) or one.name in mapped
        is_needed = one.default is one.empty and one.name not in ("training", "mask")
        if one.kind is one.VAR_KEYWORD and kept:
            continue
        if number == 0 or is_input or is_needed:
            kept.append(one)
        elif one.name in there:
            told[one.name] = (
                f"column {one.name!r} has the name of an optional argument of {type(model).__name__}.call that is seldom an "
                f"input; it is not fed: say inputs: {{{one.name}: {one.name}}} under the samples if it is one"
            )
    if not kept:
        raise ModelError(ReasonCode.LOAD_FAILED, Stage.LOAD, f"{type(model).__name__}.call takes no argument to feed rows to")
    return kept, told


def _built_shapes(model: Any, parameters: Sequence[inspect.Parameter]) -> dict[str, Any]:
    """Argument -> structure of the shapes of the call that built the model, as far as its file records them."""
    with contextlib.suppress(Exception):  # a user's get_build_config may raise anything; then the samples decide
        config = model.get_build_config() or {}
        if "shapes_dict" in config:
            return {name.removesuffix("_shape"): shape for name, shape in config["shapes_dict"].items()}
        if config.get("input_shape") is not None:
            return {parameters[0].name: config["input_shape"]}
    return {}


def _shape(value: Any) -> tuple[int | None, ...] | None:
    """A built shape with a free batch dimension; None for anything that is not a shape."""
    if not isinstance(value, list | tuple) or not value or not all(dim is None or isinstance(dim, int) for dim in value):
        return None
    return (None, *value[1:])


def _leaves(structure: Any, path: tuple[Any, ...] = ()) -> Iterator[_Leaf]:
    if _is_leaf(structure):
        yield _Leaf(path, _shape(structure))
        return
    for key, value in structure.items() if isinstance(structure, Mapping) else enumerate(structure):
        yield from _leaves(value, (*path, key if isinstance(key, int) else str(key)))


def _is_leaf(structure: Any) -> bool:
    """Whether a value is a shape, or stands for an unknown one: None, or an object of a library's own."""
    is_nested = isinstance(structure, Mapping | list | tuple) and len(structure) > 0
    return not is_nested or _shape(structure) is not None


def _first_argument(
    model: Any, parameter: inspect.Parameter, built: Any, columns: Sequence[TensorSpec]
) -> tuple[_Argument, list[str]]:
    """The first argument may be a tensor, or a dict or list of tensors: as it was built, else as the columns suggest."""
    name, by_name = parameter.name, {column.name: column for column in columns}
    structure: Any = () if built is None else built
    if built is None and name not in by_name:
        candidates = likely(columns)
        if not candidates:
            raise _unknown_inputs(model)
        is_dict = len(candidates) > 1 or parameter.kind is parameter.VAR_KEYWORD
        structure = {column.name: () for column in candidates} if is_dict else ()
        by_name, columns = {column.name: column for column in candidates}, candidates
    leaves = list(_leaves(structure))
    if not any(isinstance(key, int) for leaf in leaves for key in leaf.path):
        found = [by_name.get(str(leaf.path[-1]) if leaf.path else name) for leaf in leaves]
        if len(leaves) == 1 and found == [None] and len(columns) == 1:
            found = [columns[0]]
        return _Argument(name, parameter.kind, structure, leaves, found), []
    found, told = _of_list(name, leaves, columns)
    return _Argument(name, parameter.kind, structure, leaves, found), told


def _of_list(name: str, leaves: Sequence[_Leaf], columns: Sequence[TensorSpec]) -> tuple[list[TensorSpec | None], list[str]]:
    """Columns for an argument that holds a list: by name where possible, the others in the order of the columns."""
    by_name = {column.name: column for column in columns}
    found = [next((by_name[key] for key in _names_of(name, leaf) if key in by_name), None) for leaf in leaves]
    missing = [place for place, column in enumerate(found) if column is None]
    left = likely([column for column in columns if column not in found])
    if not missing or len(left) != len(missing):
        return found, []
    for place, column in zip(missing, left, strict=True):
        found[place] = column
    order = ", ".join(column.name for column in left)
    told = (
        f"argument {name!r} of the model's call is a list without names: columns {order} feed it in this order; list them under "
        "inputs of the samples in another one if that is wrong"
    )
    return found, [told]


def _names_of(name: str, leaf: _Leaf) -> list[str]:
    if leaf.is_named():
        return [str(leaf.path[-1])]
    index = "_".join(str(key) for key in leaf.path)
    return [f"{name}_{index}", f"input_{index}", index]


def _unknown_inputs(model: Any) -> ModelError:
    return ModelError(
        ReasonCode.LOAD_FAILED,
        Stage.LOAD,
        f"{type(model).__name__} was saved without ever being called, so its inputs are unknown; "
        "give `samples` whose columns it takes, or map them under samples.<name>.inputs",
    )


def _specs(model: Any, argument: _Argument, *, is_alone: bool) -> Iterator[TensorSpec]:
    """`is_alone`: whether it is the only input; the only column then feeds it whatever their names."""
    for leaf, column in zip(argument.leaves, argument.columns, strict=True):
        name = _names_of(argument.name, leaf)[0] if leaf.path else argument.name
        if column is None:
            if leaf.shape is None:
                raise ModelError(
                    ReasonCode.LOAD_FAILED,
                    Stage.LOAD,
                    f"{type(model).__name__}.call takes {name!r}, of which the file tells no shape, and no sample column has its "
                    "name; map one under samples.<name>.inputs",
                )
            yield TensorSpec(name=name, shape=leaf.shape, dtype=_float_of(model))
            continue
        shape = column.shape if leaf.shape is None or len(column.shape or ()) == len(leaf.shape) else leaf.shape
        keeps_name = is_alone and (leaf.path or leaf.shape)
        yield TensorSpec(name=name if keeps_name else column.name, shape=shape, dtype=_dtype(model, column))


def _float_of(model: Any) -> str:
    return str(getattr(model, "input_dtype", None) or getattr(model, "compute_dtype", None) or "float32")


def _dtype(model: Any, column: TensorSpec) -> str:
    """The column's dtype. float64 becomes float32, unless the model computes in float64: it is only NumPy's default."""
    return column.dtype if column.dtype != "float64" or _float_of(model) == "float64" else "float32"


def _packer(arguments: Sequence[_Argument]) -> Packer:
    def pack(tensors: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        values = iter(tensors)
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for number, argument in enumerate(arguments):
            value = _rebuilt(argument.structure, values)
            if argument.kind is inspect.Parameter.VAR_KEYWORD:
                keywords.update(value)
            elif argument.kind is inspect.Parameter.VAR_POSITIONAL:
                positional += value if isinstance(value, list | tuple) else [value]
            elif number == 0 and argument.kind is not inspect.Parameter.KEYWORD_ONLY:
                positional.append(value)
            else:
                keywords[argument.name] = value
        return tuple(positional), keywords

    return pack


def _rebuilt(structure: Any, values: Iterator[Any]) -> Any:
    if _is_leaf(structure):
        return next(values)
    if isinstance(structure, Mapping):
        return {key: _rebuilt(value, values) for key, value in structure.items()}
    return [_rebuilt(value, values) for value in structure]
