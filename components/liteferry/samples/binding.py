"""Decides which column feeds which model input, once for a signature; the result is used for every batch."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from liteferry.errors import ReasonCode, SamplesError, did_you_mean
from liteferry.samples import images
from liteferry.samples.choosing import Choice, choose, stackable, takes_records
from liteferry.samples.dtypes import can_cast, dtype_of, is_usable, lost
from liteferry.samples.formats.rows import RECORD, ColumnSpec
from liteferry.samples.images import ImageDecoding
from liteferry.samples.reshaping import reshaping
from liteferry.types import SampleColumn, Signature, TensorSpec, keyword_of

if TYPE_CHECKING:
    from liteferry.config.job import SamplesSpec
    from liteferry.samples.sample_set import SampleSet

_UNKNOWN = ColumnSpec(dtype="unknown", shape=())
_RECORDS = ColumnSpec(dtype="string", shape=())
_COLUMNS_TOLD = 30
_OF_FLAGS = "samples.samples"  # the name of the entry that flags make


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoundInput:
    """One model input and the column that feeds it. `is_scalar`: one value per row, fed as (batch, 1). `row_shape`: that of the
    input, for a column of flat lists. `image`: the column holds encoded images. `stacked`: the columns that lie side by side in
    the input, in this order; `column` is then their names together, for errors.
    """

    input: TensorSpec
    column: str
    is_scalar: bool = False
    row_shape: tuple[int, ...] | None = None
    image: ImageDecoding | None = None
    stacked: tuple[str, ...] = ()

    def columns(self) -> tuple[str, ...]:
        """The columns to read for it."""
        return self.stacked or (self.column,)

    def side_by_side(self) -> tuple[BoundInput, ...]:
        """Each of the stacked columns as if it fed an input of its own, of any width."""
        part = dataclasses.replace(self.input, shape=(None, None))
        return tuple(BoundInput(input=part, column=name) for name in self.stacked)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Binding:
    """A model's inputs in the signature's order, the columns of labels and row names, if any, and columns to read besides.
    `specs`: what each column of the set holds. `unused`: columns that feed no input and have no other role. `notes`: a sentence
    on each input whose column nobody named.
    """

    samples_name: str
    inputs: tuple[BoundInput, ...]
    label: str | None = None
    id: str | None = None
    extras: tuple[str, ...] = ()
    specs: Mapping[str, ColumnSpec] = dataclasses.field(default_factory=dict)
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def columns(self) -> dict[str, ColumnSpec]:
        """Every column to read, each once."""
        names = [*(name for bound in self.inputs for name in bound.columns()), self.label, self.id, *self.extras]
        return {name: self.specs.get(name, _UNKNOWN) for name in names if name is not None}


def bind(sample_set: SampleSet, spec: SamplesSpec, signature: Signature, *, samples_name: str) -> Binding:
    """Finds what feeds every input, see `choosing.choose`.

    A dimension that is None on either side fits anything here; `read_batches` checks the rows. All misfits are reported in one
    SamplesError (SAMPLES_MISMATCH).
    """
    columns = sample_set.columns
    key = f"samples.{samples_name}"
    spec = _by_own_names(spec, signature.input_names())
    problems = _key_problems(columns, spec, signature, key)
    bound: list[BoundInput] = []
    chosen = choose(
        signature,
        columns,
        spec,
        has_records=sample_set.has_records,
        fits=lambda tensor, column: not _bind_one(tensor, column, columns[column], spec, key)[1],
    )
    known = {**columns, RECORD: _RECORDS} if sample_set.has_records else dict(columns)
    for tensor in signature.inputs:
        choice = chosen.get(tensor.name)
        missing = [tensor.name] if choice is None else [name for name in choice.columns if name not in known]
        if choice is None or missing:
            problems.append(_no_column(tensor, missing[0], columns, spec, key))
            continue
        entry, found = _bound(tensor, choice, known, spec, key)
        problems += found
        bound.append(entry)
    if problems:
        numbered = problems if len(problems) == 1 else [f"({number}) {text}" for number, text in enumerate(problems, 1)]
        message = f"{sample_set.path}: {'; '.join(numbered)}. Columns: {_columns_text(columns)}"
        raise SamplesError(ReasonCode.SAMPLES_MISMATCH, message)
    used = {*(name for entry in bound for name in entry.columns()), *spec.role_columns(), *itertools.chain(*spec.slices)}
    return Binding(
        samples_name=samples_name,
        inputs=tuple(bound),
        label=spec.label,
        id=spec.id,
        specs=known,
        unused=() if RECORD in used else tuple(name for name in columns if name not in used),
        notes=tuple(choice.note for choice in chosen.values() if choice.note is not None),
    )


def _by_own_names(spec: SamplesSpec, names: Sequence[str]) -> SamplesSpec:
    """The entry with inputs by their own names, where it says the keywords that TensorFlow makes of them, `arg_0_reward`."""
    own = {keyword_of(name): name for name in names}
    if all(name in names or name not in own for name in spec.inputs):
        return spec
    inputs = {name if name in names else own.get(name, name): said for name, said in spec.inputs.items()}
    return spec.model_copy(update={"inputs": inputs})


def _bound(
    tensor: TensorSpec, choice: Choice, columns: Mapping[str, ColumnSpec], spec: SamplesSpec, key: str
) -> tuple[BoundInput, list[str]]:
    if choice.columns == (RECORD,):
        takes = f"input {tensor.name!r} takes {_input_text(tensor)}, and {RECORD} is one serialized record a row"
        problems = [] if takes_records(tensor) else [f"{takes}, for an input (batch) string; map a column under {key}.inputs"]
        return BoundInput(input=tensor, column=RECORD), problems
    if len(choice.columns) == 1:
        return _bind_one(tensor, choice.columns[0], columns[choice.columns[0]], spec, key)
    return _bind_stacked(tensor, choice.columns, columns, key)


def _bind_stacked(
    tensor: TensorSpec, names: Sequence[str], columns: Mapping[str, ColumnSpec], key: str
) -> tuple[BoundInput, list[str]]:
    """Columns of numbers or texts side by side: one value a row each, or vectors of a known length."""
    together = ", ".join(names)
    problems = []
    for name in names:
        shape = columns[name].shape
        if len(shape) > 1 or None in shape:
            held = f"column {name!r} holds {_column_text(columns[name])}"
            problems.append(
                f"{held}; only single values and vectors of one length can be stacked, see {key}.inputs.{tensor.name}"
            )
        problems += _dtype_problems(tensor, name, columns[name], key)
    if problems:
        return BoundInput(input=tensor, column=together, stacked=tuple(names)), problems
    width = sum((columns[name].shape or (1,))[0] or 0 for name in names)
    side_by_side = ColumnSpec(dtype=tensor.dtype, shape=(width,))
    if tensor.shape is None:
        tensor = dataclasses.replace(tensor, shape=(None, width))
    return BoundInput(input=tensor, column=together, stacked=tuple(names)), _shape_problems(tensor, together, side_by_side, key)


def _bind_one(tensor: TensorSpec, column: str, found: ColumnSpec, spec: SamplesSpec, key: str) -> tuple[BoundInput, list[str]]:
    """One input, its column, and the misfits. An input of any rank takes the column's rank."""
    if tensor.shape is None:
        tensor = dataclasses.replace(tensor, shape=_as_input(tensor.name, found, spec).shape)
    if (spec.decode is not None or found.is_image) and found.dtype == "string" and tensor.dtype != "string":
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
    """The input's own shape, for flat lists of as many values: such lists carry no shape."""
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
    """The inputs that columns may feed, for models without declared inputs: columns mapped under `inputs`, under the input's
    name, then all other columns that have no role. Decoded images count as RGB.
    """
    columns = sample_set.columns
    said_columns = {name: (said,) if isinstance(said, str) else tuple(said) for name, said in spec.inputs.items()}
    mapped = [
        _as_input(name, _together([columns[column] for column in listed]), spec, is_mapped=True)
        for name, listed in said_columns.items()
        if all(column in columns for column in listed)
    ]
    taken = {*spec.inputs, *itertools.chain(*said_columns.values()), *spec.role_columns()}
    return (*mapped, *(_as_input(name, column, spec) for name, column in columns.items() if name not in taken))


def _together(columns: Sequence[ColumnSpec]) -> ColumnSpec:
    """The combined spec of stacked columns; a single column's own spec."""
    if len(columns) == 1:
        return columns[0]
    kinds = [column.dtype for column in columns]
    is_numbers = all(kind != "string" and is_usable(kind) for kind in kinds)
    dtype = np.result_type(*(dtype_of(kind) for kind in kinds)).name if is_numbers else kinds[0]
    sizes = [(column.shape or (1,))[0] for column in columns]
    return ColumnSpec(dtype=dtype, shape=(None if None in sizes else sum(size or 0 for size in sizes),))


def _as_input(name: str, column: ColumnSpec, spec: SamplesSpec, *, is_mapped: bool = False) -> SampleColumn:
    if (spec.decode is not None or column.is_image) and column.dtype == "string":
        shape: tuple[int | None, ...] = (None, *(spec.size or (None, None)), 3)
        return SampleColumn(name=name, shape=shape, dtype="float32", is_mapped=is_mapped)
    return SampleColumn(name=name, shape=(None, *column.shape), dtype=column.dtype, is_mapped=is_mapped)


def _key_problems(columns: Mapping[str, ColumnSpec], spec: SamplesSpec, signature: Signature, key: str) -> list[str]:
    """Mistakes in the samples entry itself: unknown inputs, and label or id columns that do not exist."""
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
        return [f"{key}: column {column!r} is {_column_text(spec)}; a row's name is one text or whole number"]
    return []


def _no_column(tensor: TensorSpec, wanted: str, columns: Mapping[str, ColumnSpec], spec: SamplesSpec, key: str) -> str:
    hint = did_you_mean(wanted, columns)
    if wanted == RECORD:
        return f"input {tensor.name!r}: {RECORD} is for TFRecord files; map a column under {key}.inputs"
    takes = f"no column {wanted!r} for input {tensor.name!r}, which takes {_input_text(tensor)}{hint}"
    side_by_side = stackable(tensor, columns, spec)
    flag = f" (--inputs {tensor.name}={','.join(side_by_side) or 'COLUMN'})" if key == _OF_FLAGS else ""
    if side_by_side:
        listed = f"[{', '.join(side_by_side)}]"
        fix = f"say so: {key}.inputs: {{{tensor.name}: {listed}}}{flag}"
        return f"{takes}; if its {len(side_by_side)} values are these columns side by side, {fix}"
    return f"{takes}{'' if hint else _nearly(tensor, columns, spec)}; map it under {key}.inputs{flag}"


def _nearly(tensor: TensorSpec, columns: Mapping[str, ColumnSpec], spec: SamplesSpec) -> str:
    """A clause about the only column that would fit in another shape; "" if there is none, or more than one."""
    free = [name for name in columns if name not in (*spec.inputs, *spec.role_columns()) and is_usable(columns[name].dtype)]
    lines = {
        name: reshaping(columns[name].shape, _row_shape(tensor)) for name in free if can_cast(columns[name].dtype, tensor.dtype)
    }
    (name, line), *more = [*((name, line) for name, line in lines.items() if line is not None), ("", None)]
    return "" if len(more) != 1 else f"; column {name!r} holds {_column_text(columns[name])}: {line}"


def _shape_problems(tensor: TensorSpec, column: str, spec: ColumnSpec, key: str) -> list[str]:
    if not tensor.shape:
        return [f"input {tensor.name!r} has no batch axis, so no column can feed it; export the model with a batched input"]
    if _fits(spec.shape, _row_shape(tensor)):
        return []
    both = f"input {tensor.name!r} takes {_input_text(tensor)}, column {column!r} holds {_column_text(spec)}"
    fix = reshaping(spec.shape, _row_shape(tensor)) or "store rows of the input's shape"
    return [f"{both}; {fix}, or map another column under {key}.inputs"]


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
        flag = " (--decode image)" if key == _OF_FLAGS else ""
        fix += f", or say {key}.decode: image{flag} if it holds encoded images"
    return [f"{both}, and {spec.dtype} is never turned into {tensor.dtype}; {fix}"]


def cast_rows(rows: np.ndarray, bound: BoundInput, *, samples_name: str, numbers: np.ndarray, path: str) -> np.ndarray:
    """`rows`, (rows, ...), in the input's dtype and shape; `numbers`, (rows,), are their numbers in the whole set. SamplesError
    names the column and row of a misfit.
    """
    tensor = bound.input
    where = f"{path}: column {bound.column!r}, row"
    if bound.is_scalar:
        rows = rows.reshape(-1, 1)
    if bound.row_shape is not None and rows[:1].size == math.prod(bound.row_shape):
        rows = rows.reshape(-1, *bound.row_shape)
    if not _fits(rows.shape[1:], _row_shape(tensor)):
        fix = images.resize_fix(tensor) if bound.image else "drop the row"
        raise SamplesError(
            ReasonCode.SAMPLES_MISMATCH,
            f"{where} {numbers[0]}: has shape {rows.shape[1:]}, input {tensor.name!r} takes {_input_text(tensor)}; "
            f"{fix}, or map another column under samples.{samples_name}.inputs",
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
