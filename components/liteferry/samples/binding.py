"""Which column feeds which model input: decided once against the signature, then held to for every batch."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from liteferry.errors import ReasonCode, SamplesError, did_you_mean
from liteferry.samples import images
from liteferry.samples.dtypes import can_cast, dtype_of, is_usable, lost
from liteferry.samples.formats.rows import ColumnSpec
from liteferry.samples.images import ImageDecoding
from liteferry.types import SampleColumn, Signature, TensorSpec

if TYPE_CHECKING:
    from liteferry.config.job import SamplesSpec
    from liteferry.samples.sample_set import SampleSet

_UNKNOWN = ColumnSpec(dtype="unknown", shape=())
_COLUMNS_TOLD = 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoundInput:
    """One model input and the column that feeds it. `is_scalar`: one value per row, fed as (batch, 1). `row_shape`: that of the
    input, for a column of flat lists. `image`: the column holds encoded images.
    """

    input: TensorSpec
    column: str
    is_scalar: bool = False
    row_shape: tuple[int, ...] | None = None
    image: ImageDecoding | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Binding:
    """A model's inputs in the signature's order, the columns of labels and row names, if any, and columns to read besides.
    `specs`: what each column of the set holds. `unused`: columns that feed no input and have no other role.
    """

    samples_name: str
    inputs: tuple[BoundInput, ...]
    label: str | None = None
    id: str | None = None
    extras: tuple[str, ...] = ()
    specs: Mapping[str, ColumnSpec] = dataclasses.field(default_factory=dict)
    unused: tuple[str, ...] = ()

    def columns(self) -> dict[str, ColumnSpec]:
        """Every column to read, each once."""
        names = [*(bound.column for bound in self.inputs), self.label, self.id, *self.extras]
        return {name: self.specs.get(name, _UNKNOWN) for name in names if name is not None}


def bind(sample_set: SampleSet, spec: SamplesSpec, signature: Signature, *, samples_name: str) -> Binding:
    """Finds a column for every input: the one under `inputs`, else the one of the same name, else the only one there is.

    A dimension that is None on either side fits anything now; `read_batches` checks the rows. One SamplesError
    (SAMPLES_MISMATCH) holds everything that does not fit.
    """
    columns = sample_set.columns
    key = f"samples.{samples_name}"
    problems = _key_problems(columns, spec, signature, key)
    bound: list[BoundInput] = []
    for tensor in signature.inputs:
        column = _column_for(tensor, columns, spec, signature)
        if column is None:
            problems.append(_no_column(tensor, columns, spec, key))
            continue
        entry, found = _bind_one(tensor, column, columns[column], spec, key)
        problems += found
        bound.append(entry)
    if problems:
        numbered = problems if len(problems) == 1 else [f"({number}) {text}" for number, text in enumerate(problems, 1)]
        message = f"{sample_set.path}: {'; '.join(numbered)}. Columns: {_columns_text(columns)}"
        raise SamplesError(ReasonCode.SAMPLES_MISMATCH, message)
    known = {*(entry.column for entry in bound), *spec.role_columns(), *itertools.chain(*spec.slices)}
    return Binding(
        samples_name=samples_name,
        inputs=tuple(bound),
        label=spec.label,
        id=spec.id,
        specs=columns,
        unused=tuple(name for name in columns if name not in known),
    )


def _bind_one(tensor: TensorSpec, column: str, found: ColumnSpec, spec: SamplesSpec, key: str) -> tuple[BoundInput, list[str]]:
    """One input and its column, and what does not fit. An input of any rank takes the column's."""
    if tensor.shape is None:
        tensor = dataclasses.replace(tensor, shape=_as_input(tensor.name, found, spec).shape)
    if spec.decode is not None and found.dtype == "string" and tensor.dtype != "string":
        image, problems = _image_of(tensor, column, found, spec, key)
        if image is None:
            return BoundInput(input=tensor, column=column), problems
        decoded = ColumnSpec(dtype=image.dtype(), shape=image.row_shape())
        problems = _shape_problems(tensor, column, decoded, key) + _dtype_problems(tensor, column, decoded, key)
        return BoundInput(input=tensor, column=column, image=image), problems
    is_scalar = found.shape == () and _row_shape(tensor) == (1,)
    row_shape = _flat_shape(tensor, found)
    problems = [] if is_scalar or row_shape is not None else _shape_problems(tensor, column, found, key)
    problems += _dtype_problems(tensor, column, found, key)
    return BoundInput(input=tensor, column=column, is_scalar=is_scalar, row_shape=row_shape), problems


def _flat_shape(tensor: TensorSpec, column: ColumnSpec) -> tuple[int, ...] | None:
    """The input's own shape for flat lists of as many values, which say nothing of their shape themselves."""
    shape = tuple(size for size in _row_shape(tensor) if size is not None)
    is_known = len(shape) > 1 and len(shape) == len(_row_shape(tensor))
    if not (column.is_flat and is_known and len(column.shape) <= 1):
        return None
    length = column.shape[0] if column.shape else 1
    return shape if length in (None, math.prod(shape)) else None


def _image_of(
    tensor: TensorSpec, column: str, found: ColumnSpec, spec: SamplesSpec, key: str
) -> tuple[ImageDecoding | None, list[str]]:
    """How a column of encoded images is decoded for an input; channels are the input's, 3 where it takes any."""
    rank = 1 + len(_row_shape(tensor))
    channels = 1 if rank == 3 else (_row_shape(tensor)[2] or 3) if rank == 4 else 0
    if found.shape != () or not images.can_decode(channels):
        both = f"input {tensor.name!r} takes {_input_text(tensor)}, column {column!r} holds {_column_text(found)}"
        takes = "images are decoded from one value a row for inputs (batch, height, width, channels) with 1, 3 or 4 channels"
        return None, [f"{both}; {takes}; map another column under {key}.inputs or remove {key}.decode"]
    return (
        ImageDecoding(channels=channels, has_channel_axis=rank == 4, size=spec.size, scale=spec.scale, offset=spec.offset),
        [],
    )


def _row_shape(tensor: TensorSpec) -> tuple[int | None, ...]:
    return (tensor.shape or ())[1:]


def columns_as_inputs(sample_set: SampleSet, spec: SamplesSpec) -> tuple[SampleColumn, ...]:
    """What the columns may feed, for models that do not say what they take: those under `inputs`, under the input's name, then
    all others that have no role. Encoded images that are decoded are taken for RGB.
    """
    columns = sample_set.columns
    mapped = [_as_input(name, columns[column], spec, is_mapped=True) for name, column in spec.inputs.items() if column in columns]
    taken = {*spec.inputs, *spec.inputs.values(), *spec.role_columns()}
    return (*mapped, *(_as_input(name, column, spec) for name, column in columns.items() if name not in taken))


def _as_input(name: str, column: ColumnSpec, spec: SamplesSpec, *, is_mapped: bool = False) -> SampleColumn:
    if spec.decode is not None and column.dtype == "string":
        shape: tuple[int | None, ...] = (None, *(spec.size or (None, None)), 3)
        return SampleColumn(name=name, shape=shape, dtype="float32", is_mapped=is_mapped)
    return SampleColumn(name=name, shape=(None, *column.shape), dtype=column.dtype, is_mapped=is_mapped)


def _column_for(tensor: TensorSpec, columns: Mapping[str, ColumnSpec], spec: SamplesSpec, signature: Signature) -> str | None:
    wanted = spec.inputs.get(tensor.name, tensor.name)
    if wanted in columns:
        return wanted
    features = [name for name in columns if name not in spec.role_columns()]
    if tensor.name not in spec.inputs and len(signature.inputs) == 1 and len(features) == 1:
        return features[0]
    return None


def _key_problems(columns: Mapping[str, ColumnSpec], spec: SamplesSpec, signature: Signature, key: str) -> list[str]:
    """What is wrong with the entry itself: inputs the model has not, label and id columns that are not there."""
    problems = []
    names = signature.input_names()
    for name in spec.inputs:
        if name not in names:
            hint = did_you_mean(name, names)
            problems.append(f"{key}.inputs.{name}: the model has no such input{hint}; its inputs: {', '.join(names)}")
    for role, column in (("label", spec.label), ("id", spec.id)):
        if column is not None:
            problems += _role_problems(role, column, columns, f"{key}.{role}")
    return problems


def _role_problems(role: str, column: str, columns: Mapping[str, ColumnSpec], key: str) -> list[str]:
    if column not in columns:
        return [f"{key}: no column {column!r}{did_you_mean(column, columns)}; name one that is there or remove the key"]
    spec = columns[column]
    if role == "label" and not is_usable(spec.dtype):
        return [f"{key}: column {column!r} is {spec.dtype}; labels are numbers or text"]
    names_rows = spec.shape == () and is_usable(spec.dtype) and (spec.dtype == "string" or np.dtype(spec.dtype).kind in "iu")
    if role == "id" and not names_rows:
        return [f"{key}: column {column!r} is {_column_text(spec)}; one text or whole number names a row"]
    return []


def _no_column(tensor: TensorSpec, columns: Mapping[str, ColumnSpec], spec: SamplesSpec, key: str) -> str:
    wanted = spec.inputs.get(tensor.name, tensor.name)
    hint = did_you_mean(wanted, columns)
    return f"no column {wanted!r} for input {tensor.name!r}, which takes {_input_text(tensor)}{hint}; map it under {key}.inputs"


def _shape_problems(tensor: TensorSpec, column: str, spec: ColumnSpec, key: str) -> list[str]:
    if not tensor.shape:
        return [f"input {tensor.name!r} has no batch axis, so no column can feed it; export the model with a batched input"]
    if _fits(spec.shape, _row_shape(tensor)):
        return []
    both = f"input {tensor.name!r} takes {_input_text(tensor)}, column {column!r} holds {_column_text(spec)}"
    return [f"{both}; store rows of the input's shape, or map another column under {key}.inputs"]


def _fits(row_shape: Sequence[int | None], input_shape: Sequence[int | None]) -> bool:
    pairs = zip(row_shape, input_shape, strict=False)
    return len(row_shape) == len(input_shape) and all(have is None or want is None or have == want for have, want in pairs)


def _dtype_problems(tensor: TensorSpec, column: str, spec: ColumnSpec, key: str) -> list[str]:
    if not is_usable(tensor.dtype):
        return [f"input {tensor.name!r} takes {tensor.dtype}, which no sample file can hold; export the model with another dtype"]
    if can_cast(spec.dtype, tensor.dtype):
        return []
    both = f"input {tensor.name!r} takes {_input_text(tensor)}, column {column!r} holds {_column_text(spec)}"
    fix = f"store it as {tensor.dtype}, or map another column under {key}.inputs"
    if spec.dtype == "string":
        fix += f", or say {key}.decode: image if it holds encoded images"
    return [f"{both}, and {spec.dtype} is never turned into {tensor.dtype}; {fix}"]


def cast_rows(rows: np.ndarray, bound: BoundInput, *, samples_name: str, numbers: np.ndarray, path: str) -> np.ndarray:
    """`rows`, (rows, ...), as its input takes them; `numbers`, (rows,), are theirs in the whole set. SamplesError names the
    column and row of what does not fit.
    """
    tensor = bound.input
    where = f"{path}: column {bound.column!r}, row"
    if bound.is_scalar:
        rows = rows.reshape(-1, 1)
    if bound.row_shape is not None and rows[:1].size == math.prod(bound.row_shape):
        rows = rows.reshape(-1, *bound.row_shape)
    if not _fits(rows.shape[1:], _row_shape(tensor)):
        raise SamplesError(
            ReasonCode.SAMPLES_MISMATCH,
            f"{where} {numbers[0]}: has shape {rows.shape[1:]}, input {tensor.name!r} takes {_input_text(tensor)}; "
            f"drop the row, or map another column under samples.{samples_name}.inputs",
        )
    if tensor.dtype == "string":
        return np.ascontiguousarray(rows)
    target = dtype_of(tensor.dtype)
    if rows.dtype == target:
        return np.ascontiguousarray(rows)
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(rows, dtype=target)
    places = np.argwhere(lost(rows, cast))
    if len(places):
        place = tuple(places[0])
        raise SamplesError(
            ReasonCode.SAMPLES_MISMATCH,
            f"{where} {numbers[place[0]]}: {rows[place]} does not fit into {tensor.dtype}, which input {tensor.name!r} takes; "
            f"correct or drop the row, or map another column under samples.{samples_name}.inputs",
        )
    return cast


def _input_text(tensor: TensorSpec) -> str:
    return f"{_shape_text(_row_shape(tensor)) if tensor.shape else '()'} {tensor.dtype}"


def _column_text(column: ColumnSpec) -> str:
    return f"{_shape_text(column.shape)} {column.dtype}"


def _shape_text(row_shape: Sequence[int | None]) -> str:
    return f"({', '.join(['batch', *('any' if size is None else str(size) for size in row_shape)])})"


def _columns_text(columns: Mapping[str, ColumnSpec]) -> str:
    texts = [f"{name} {_column_text(column)}" for name, column in sorted(columns.items())]
    more = [f"and {len(texts) - _COLUMNS_TOLD} more"] if len(texts) > _COLUMNS_TOLD else []
    return ", ".join(texts[:_COLUMNS_TOLD] + more)
