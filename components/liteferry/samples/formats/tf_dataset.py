"""Sample rows in a folder that `tf.data.Dataset.save` wrote, read without TensorFlow: TFRecord files of TensorProtos.

Source of the layout: tensorflow/core/data/snapshot_utils.cc (file format version 2: each component of an element is a record) and
tensorflow/core/protobuf/struct.proto (`dataset_spec.pb`, the element's structure). Compressed ones need TensorFlow itself.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.samples.formats import proto_wire
from liteferry.samples.formats.record_files import records_of
from liteferry.samples.formats.rows import NAMED_BY_PLACE, ColumnSpec, FileFacts, RowRange, Rows, changed, mismatch, rows_of_array

_SPEC, _METADATA = "dataset_spec.pb", "snapshot.metadata"
_MOST_SPEC_BYTES = 2**24
# Fields of StructuredValue, and of what it holds.
_TENSOR_SPEC, _LIST, _TUPLE, _DICT = 33, 51, 52, 53
_CONVERT = "save dense tensors, without compression: dataset.map(...).save(PATH)"


def describe_dataset(path: str) -> FileFacts:
    """Columns are the keys of the element's dicts; without names `x`, `y` and `sample_weight`, as `Model.fit` takes a tuple."""
    columns, is_batched = _columns(path)
    rows = sum(len(next(iter(element.values()))) if is_batched else 1 for element in _elements(path, columns))
    specs = {name: _spec(dtype, shape[1:] if is_batched else shape) for name, (dtype, shape) in columns.items()}
    return FileFacts(columns=specs, range_sizes=(rows,))


def read_dataset(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """Memory: one block, and one element of the dataset."""
    known, is_batched = _columns(path)
    missing = [name for name in columns if name not in known]
    if missing:
        raise changed(path, f"no column {missing[0]!r}")
    rows = itertools.islice(_rows(path, known, is_batched), wanted.start, wanted.start + wanted.count)
    left = wanted.count
    while block := list(itertools.islice(rows, wanted.block_rows)):
        left -= len(block)
        yield {name: _joined([row[name] for row in block]) for name in columns}
    if left:
        raise changed(path, f"{wanted.start + wanted.count - left} rows, had {wanted.start + wanted.count} or more")


def _rows(path: str, columns: Mapping[str, Any], is_batched: bool) -> Iterator[dict[str, np.ndarray]]:
    for element in _elements(path, columns):
        if not is_batched:
            yield element
            continue
        lengths = {len(value) for value in element.values()}
        if len(lengths) > 1:
            raise mismatch(f"{path}: a batch has components of {sorted(lengths)} rows; save ds.unbatch()")
        for row in range(lengths.pop()):  # value[row] of a vector of texts would be no array
            yield {name: value[row : row + 1].reshape(value.shape[1:]) for name, value in element.items()}


def _joined(values: Sequence[np.ndarray]) -> Rows:
    shapes = np.array([value.shape for value in values], np.int64).reshape(len(values), -1)
    if (shapes == shapes[:1]).all():
        return rows_of_array(np.stack(values))
    return Rows(np.concatenate([value.reshape(-1) for value in values]), shapes)


def _spec(dtype: str, shape: tuple[int | None, ...]) -> ColumnSpec:
    return ColumnSpec(dtype=dtype, shape=shape)


def _elements(path: str, columns: Mapping[str, Any]) -> Iterator[dict[str, np.ndarray]]:
    files = _files(path)
    count = 0
    for file in files:
        records = records_of(file)
        while parts := list(itertools.islice(records, len(columns))):
            if len(parts) < len(columns):
                raise ValueError(f"{file} ends within an element")
            yield {name: proto_wire.tensor(part) for name, part in zip(columns, parts, strict=True)}
            count += 1


def _files(path: str) -> list[str]:
    """The newest run's shards; `snapshot.metadata` names it."""
    with open(os.path.join(path, _METADATA), "rb") as file:
        content = file.read(_MOST_SPEC_BYTES)
    run = next((value.decode() for number, value in proto_wire.fields(content) if number == 2 and isinstance(value, bytes)), "")
    run = os.path.basename(run)
    walked = os.walk(os.path.join(path, run)) if run not in ("", ".", "..") else ()
    found = [os.path.join(above, name) for above, _, names in walked for name in names if name.endswith(".snapshot")]
    if not found:
        raise mismatch(f"{path}: its snapshot.metadata names no run with files in it; save the dataset again")
    return sorted(found)


def _columns(path: str) -> tuple[dict[str, tuple[str, tuple[int | None, ...]]], bool]:
    """Name -> (dtype, shape) in the order of the components, and whether elements are batches."""
    with open(os.path.join(path, _SPEC), "rb") as file:
        found = list(_named(file.read(_MOST_SPEC_BYTES), path))
    columns = {name: (dtype, tuple(shape)) for name, dtype, shape in found}
    if len(columns) != len(found):
        raise mismatch(f"{path}: two components of an element have one name; save a dict with a key for each")
    return columns, all(shape and shape[0] is None for _, shape in columns.values())


def _named(structure: bytes, path: str, name: str = "") -> Iterator[tuple[str, str, Sequence[int | None]]]:
    for number, value in proto_wire.fields(structure):
        if not isinstance(value, bytes):
            continue
        if number == _TENSOR_SPEC:
            yield (name or NAMED_BY_PLACE[0], *proto_wire.tensor_spec(value))
        elif number in (_TUPLE, _LIST):
            inner = [part for at, part in proto_wire.fields(value) if at == 1 and isinstance(part, bytes)]
            for place, part in enumerate(inner):
                given = NAMED_BY_PLACE[place] if not name and place < len(NAMED_BY_PLACE) else f"{name}{place}"
                yield from _named(part, path, "" if _is_dict(part) else given)
        elif number == _DICT:
            yield from _of_dict(value, path)
        else:
            raise mismatch(f"{path}: holds more than dense tensors, ragged or sparse ones for example; {_CONVERT}")


def _is_dict(structure: bytes) -> bool:
    return any(number == _DICT for number, _ in proto_wire.fields(structure))


def _of_dict(value: bytes, path: str) -> Iterator[tuple[str, str, Sequence[int | None]]]:
    entries: dict[str, bytes] = {}
    for number, entry in proto_wire.fields(value):
        parts = dict(proto_wire.fields(entry)) if number == 1 and isinstance(entry, bytes) else {}
        key, inner = parts.get(1), parts.get(2)
        if isinstance(key, bytes) and isinstance(inner, bytes):
            entries[key.decode()] = inner
    for name in sorted(entries):  # as tf.nest flattens a dict
        yield from _named(entries[name], path, name)
