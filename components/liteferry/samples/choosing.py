"""Chooses the columns that feed each model input: by the job's `inputs`, then by name, then the only one that fits. Never
guesses between two.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from liteferry.samples.formats.rows import RECORD, ColumnSpec
from liteferry.types import Signature, TensorSpec

if TYPE_CHECKING:
    from liteferry.config.job import SamplesSpec

NOTE = "rows: "  # the beginning of a report's warnings about columns that LiteFerry chose
# Inputs that graphs of TFX, estimators and TensorFlow's own exporters give serialized tf.Examples.
_RECORD_INPUTS = frozenset({"examples", "example", "serialized", "input_example_tensor", "tf_example", "tf_examples"})
# Columns of these names are rarely inputs: they are never chosen only because they fit.
_ROLE_NAMES = frozenset(
    (
        *("label", "labels", "target", "targets", "class", "y", "id", "ids", "index", "key", "split"),
        *("weight", "weights", "sample_weight", "example_weight"),
    )
)

Fits = Callable[[TensorSpec, str], bool]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """`columns` that feed an input: one, or several that are stacked. `note`: how they were chosen, if the job does not say."""

    columns: tuple[str, ...]
    note: str | None = None


def choose(
    signature: Signature, columns: Mapping[str, ColumnSpec], spec: SamplesSpec, *, has_records: bool, fits: Fits
) -> dict[str, Choice]:
    """Input -> the columns that feed it; inputs without columns are left out.

    Args:
      columns: of the files, without `@record`.
      has_records: the files are TFRecord files.
      fits: whether a column may feed an input, by shape and dtype.
    """
    found: dict[str, Choice] = {}
    for tensor in signature.inputs:
        said = spec.inputs.get(tensor.name)
        if said is not None:
            found[tensor.name] = Choice(columns=(said,) if isinstance(said, str) else tuple(said))
        elif tensor.name in columns:
            found[tensor.name] = Choice(columns=(tensor.name,))
    if not found and len(signature.inputs) == 1:
        only = _for_only_input(signature.inputs[0], columns, spec, has_records=has_records, fits=fits)
        found.update({} if only is None else {signature.inputs[0].name: only})
    left = [tensor for tensor in signature.inputs if tensor.name not in found]
    taken = {column for choice in found.values() for column in choice.columns} | set(spec.role_columns())
    free = [name for name in columns if name not in taken]
    by_name = _unique(
        {tensor.name: [name for name in free if _alike(tensor.name, name) and fits(tensor, name)] for tensor in left}
    )
    found.update({name: _noted(name, column, "which has its name in another spelling") for name, column in by_name.items()})
    left = [tensor for tensor in left if tensor.name not in by_name]
    free = [name for name in free if name not in by_name.values()]
    alone = _unique({tensor.name: _fitting(tensor, free, columns, fits) for tensor in left})
    found.update(
        {
            name: _noted(name, column, "the only one that fits in shape and dtype")
            for name, column in alone.items()
            if column.lower() not in _ROLE_NAMES
        }
    )
    return found


def _fitting(tensor: TensorSpec, free: Sequence[str], columns: Mapping[str, ColumnSpec], fits: Fits) -> list[str]:
    """The columns that fit an input, without those that have the names of labels and the like where others fit. For numbers,
    columns that are known to be images go before other texts, which `decode` would take for images, too: a folder of images has
    the names of its files and classes beside them.
    """
    every = [name for name in free if fits(tensor, name)]
    found = [name for name in every if name.lower() not in _ROLE_NAMES] or every
    images = [name for name in found if columns[name].is_image]
    return images if images and tensor.dtype != "string" else found


def stackable(tensor: TensorSpec, columns: Mapping[str, ColumnSpec], spec: SamplesSpec) -> tuple[str, ...]:
    """As many columns of single numbers as an input (batch, width) has values, in the order of the file; () where there are
    more or fewer. Only the user knows whether they are meant.
    """
    width = tensor.shape[1] if tensor.shape is not None and len(tensor.shape) == 2 else None
    if width is None or width < 2 or tensor.dtype == "string" or tensor.name in spec.inputs:
        return ()
    said = [(at,) if isinstance(at, str) else at for at in spec.inputs.values()]
    left_out = {*spec.role_columns(), *(name for columns_of in said for name in columns_of)}
    numbers = [
        name
        for name, column in columns.items()
        if column.shape == () and column.dtype not in ("string", "bool") and name not in left_out
    ]
    for found in (numbers, [name for name in numbers if name.lower() not in _ROLE_NAMES]):
        if len(found) == width:
            return tuple(found)
    return ()


def takes_records(tensor: TensorSpec) -> bool:
    """Whether an input is a vector of texts, one for each row."""
    return tensor.dtype == "string" and (tensor.shape is None or len(tensor.shape) == 1)


def _for_only_input(
    tensor: TensorSpec, columns: Mapping[str, ColumnSpec], spec: SamplesSpec, *, has_records: bool, fits: Fits
) -> Choice | None:
    """The columns for a model's only input: the only column, or the records of TFRecord files."""
    features = [name for name in columns if name not in spec.role_columns()]
    may_be_records = has_records and takes_records(tensor)
    is_for_records = may_be_records and tensor.name.lower() in _RECORD_INPUTS
    if len(features) == 1 and not is_for_records and (fits(tensor, features[0]) or not may_be_records):
        return Choice(columns=(features[0],))
    is_named = any(_alike(tensor.name, name) and fits(tensor, name) for name in features)
    if may_be_records and not is_named:
        note = f"input {tensor.name!r} is fed by the serialized records of the TFRecord files"
        return Choice(columns=(RECORD,), note=f"{NOTE}{note} (the same as {said(tensor.name, RECORD)})")
    return None


def said(name: str, column: str) -> str:
    """The flag, and the job file's lines, that map a column to an input."""
    return f"--inputs {name}={column}, or inputs: {{{name}: {column!r}}} of the samples entry"


def _noted(name: str, column: str, why: str) -> Choice:
    note = f"{NOTE}input {name!r} is fed by column {column!r}, {why} (the same as {said(name, column)})"
    return Choice(columns=(column,), note=note)


def _unique(candidates: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Input -> its only candidate, if it is not also the candidate of another input."""
    uses = [column for found in candidates.values() for column in found]
    return {name: found[0] for name, found in candidates.items() if len(found) == 1 and uses.count(found[0]) == 1}


def _alike(one: str, other: str) -> bool:
    """Whether two names are one in other spellings, or one is the last part of the other, a path such as `0/observation`."""
    (whole, last), (other_whole, other_last) = [(_plain(name), _plain(name.rpartition("/")[2])) for name in (one, other)]
    return bool(last and other_last) and (whole in (other_whole, other_last) or last == other_whole)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().removesuffix(":0"))
