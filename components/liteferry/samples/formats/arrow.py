"""Arrow columns -> rows: tensors as fixed-shape tensors, fixed-size lists, lists or lists of lists; numbers, text, bytes.

Shared by the readers of Parquet, Arrow IPC and TFRecord files. Imports pyarrow, so only those modules import it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from liteferry.samples.formats.rows import ColumnSpec, Rows, mismatch

_PANDAS_INDEX = re.compile(r"__index_level_\d+__")  # the row numbers of a DataFrame, which pandas writes as a column


class _BadRowError(Exception):
    """`row` counts from the start of the array that was read."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(problem)
        self.row = int(row)


def columns_of(schema: pa.Schema, path: str) -> dict[str, ColumnSpec]:
    """The spec of each column. Raises SamplesError for names that occur twice."""
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise mismatch(f"{path}: has several columns named {repeated[0]!r}; give every column its own name")
    return {field.name: _column_spec(field.type) for field in schema if not _PANDAS_INDEX.fullmatch(field.name)}


def _column_spec(arrow_type: pa.DataType) -> ColumnSpec:
    types = pa.types
    if isinstance(arrow_type, pa.FixedShapeTensorType):
        return ColumnSpec(dtype=_column_spec(arrow_type.value_type).dtype, shape=_tensor_shape(arrow_type))
    if isinstance(arrow_type, pa.BaseExtensionType):
        return _column_spec(arrow_type.storage_type)
    if types.is_dictionary(arrow_type):
        return _column_spec(arrow_type.value_type)
    if types.is_list(arrow_type) or types.is_large_list(arrow_type) or types.is_fixed_size_list(arrow_type):
        inner = _column_spec(arrow_type.value_type)
        size = arrow_type.list_size if types.is_fixed_size_list(arrow_type) else None
        return ColumnSpec(dtype=inner.dtype, shape=(size, *inner.shape))
    if _is_encoded(arrow_type):
        return ColumnSpec(dtype="string", shape=(), is_image=True)
    if types.is_integer(arrow_type) or types.is_floating(arrow_type) or types.is_boolean(arrow_type):
        return ColumnSpec(dtype=np.dtype(arrow_type.to_pandas_dtype()).name, shape=())
    return ColumnSpec(dtype="string" if _is_text(arrow_type) else str(arrow_type), shape=())


def _is_encoded(arrow_type: pa.DataType) -> bool:
    """Whether a column is Hugging Face's `Image`: the bytes of a file beside its path."""
    if not pa.types.is_struct(arrow_type):
        return False
    fields = {arrow_type.field(number).name: arrow_type.field(number).type for number in range(arrow_type.num_fields)}
    return fields.keys() == {"bytes", "path"} and pa.types.is_binary(fields["bytes"])


def _is_text(arrow_type: pa.DataType) -> bool:
    types = pa.types
    checks = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    views = (types.is_string_view, types.is_binary_view)  # Polars writes these
    return any(check(arrow_type) for check in (*checks, *views))


def _tensor_shape(tensor_type: pa.FixedShapeTensorType) -> tuple[int, ...]:
    """The shape as written; Arrow stores the axes in another order if there is a permutation."""
    shape, order = tensor_type.shape, tensor_type.permutation
    return tuple(shape) if order is None else tuple(shape[axis] for axis in order)


def regroup(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[list[pa.RecordBatch]]:
    """Regroups batches so that their lengths add up to `size`; files end their own batches early, where a dictionary or a
    buffer ends.
    """
    parts: list[pa.RecordBatch] = []
    missing = size
    for batch in batches:
        while batch.num_rows:
            parts.append(batch.slice(0, missing))
            missing -= parts[-1].num_rows
            batch = batch.slice(parts[-1].num_rows)
            if not missing:
                yield parts
                parts, missing = [], size
    if parts:
        yield parts


def rows_of(
    parts: Sequence[pa.RecordBatch], name: str, first_row: int, path: str, *, default: str | float | bytes | None = None
) -> Rows:
    """A column of several batches together; `default` stands in for nulls. SamplesError names the row that is null or no
    tensor.
    """
    done: list[Rows] = []
    for part in parts:
        column, filled = part.column(name), None
        try:
            if default is not None:
                column, filled = with_default(column, default)
            rows = _flatten(column, np.arange(part.num_rows))
        except _BadRowError as error:
            raise mismatch(f"{path}: column {name!r}, row {first_row + error.row}: {error}") from None
        done.append(rows if filled is None else dataclasses.replace(rows, filled=filled))
        first_row += part.num_rows
    return Rows.join(done)


def with_default(array: pa.Array, default: str | float | bytes, *, width: int = 1) -> tuple[pa.Array, np.ndarray]:
    """The array with `default`, or a list of `width` of it, in place of nulls and of empty lists; and where that was."""
    missing = array.is_null().to_numpy(zero_copy_only=False)
    is_list = pa.types.is_list(array.type) or pa.types.is_large_list(array.type)
    if is_list and width:
        missing = missing | (array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False) == 0)
    if not missing.any():
        return array, missing
    leaf = array.type.value_type if is_list else array.type
    try:
        if pa.types.is_large_binary(leaf) or pa.types.is_binary(leaf):
            default = default.encode("utf-8", "surrogateescape") if isinstance(default, str) else default
        stand_in = pa.array([[default] * width if is_list else default], type=array.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, AttributeError) as error:
        row = int(np.flatnonzero(missing)[0])
        raise _BadRowError(row, f"has no value, and its default {default!r} is no {leaf}; correct it under defaults") from error
    places = np.where(missing, len(array), np.arange(len(array)))
    return pa.concat_arrays([array, stand_in]).take(pa.array(places)), missing


def _flatten(array: pa.Array, owners: np.ndarray) -> Rows:
    """Flat values and the shape of each item of `array`; `owners`, (items,), is the row each item belongs to."""
    if isinstance(array.type, pa.BaseExtensionType) and not isinstance(array.type, pa.FixedShapeTensorType):
        return _flatten(array.storage, owners)
    if pa.types.is_dictionary(array.type):
        return _flatten(array.dictionary_decode(), owners)
    if array.null_count:
        nulls = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))
        raise _BadRowError(
            owners[nulls[0]],
            "is null or holds a null; LiteFerry fills nothing in, so write a value, drop the row, or give one under defaults",
        )
    if _is_encoded(array.type):
        return _flatten(array.field("bytes"), owners)
    if isinstance(array.type, pa.FixedShapeTensorType):
        return _flatten_tensors(array, owners)
    if pa.types.is_fixed_size_list(array.type):
        lengths = np.full(len(array), array.type.list_size, np.int64)
    elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        lengths = array.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    else:
        return Rows(_leaf_values(array), np.zeros((len(array), 0), np.int64))
    owners = np.repeat(owners, lengths)
    items = _flatten(array.flatten(), owners)
    # An empty row has no items; its inner sizes come from the type, 0 if the type leaves them open.
    inner = np.tile([size or 0 for size in _column_spec(array.type).shape[1:]], (len(array), 1)).astype(np.int64)
    filled = lengths > 0
    inner[filled] = items.shapes[(np.cumsum(lengths) - lengths)[filled]]
    uneven = np.flatnonzero((items.shapes != np.repeat(inner, lengths, axis=0)).any(axis=1))
    if len(uneven):
        raise _BadRowError(
            owners[uneven[0]], "its inner lists differ in length, so it is no tensor; make them equal or drop the row"
        )
    return Rows(items.values, np.concatenate([lengths[:, None], inner], axis=1))


def _flatten_tensors(array: pa.FixedShapeTensorArray, owners: np.ndarray) -> Rows:
    flat = _flatten(array.storage.flatten(), np.repeat(owners, array.type.storage_type.list_size))
    order = array.type.permutation or range(len(array.type.shape))
    stored = flat.values.reshape(len(array), *array.type.shape)
    values = np.ascontiguousarray(stored.transpose(0, *(axis + 1 for axis in order)))
    return Rows(values.reshape(-1), np.broadcast_to(np.array(values.shape[1:], np.int64), (len(array), values.ndim - 1)))


def _leaf_values(array: pa.Array) -> np.ndarray:
    """(items,): numbers as they are, possibly read-only; text and bytes as an object array of bytes."""
    if not _is_text(array.type):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    values = np.empty(len(array), object)
    values[:] = [item.encode() if isinstance(item, str) else item for item in array.to_pylist()]
    return values
