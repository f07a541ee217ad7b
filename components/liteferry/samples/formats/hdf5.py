"""Sample rows in HDF5 files: every dataset is a column, by its path in the file; rows along the first axis, all of one length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np

from liteferry.checkpoints.h5_files import refuse_unsafe
from liteferry.errors import ModelError
from liteferry.samples.formats.rows import ColumnSpec, FileFacts, RowRange, Rows, changed, mismatch, one_length, rows_of_array

_CONVERT = "pandas.read_hdf(PATH).to_parquet('rows.parquet')"


def describe_hdf5(path: str) -> FileFacts:
    with h5py.File(path, "r") as file:
        try:
            refuse_unsafe(path, file, stored_bytes=file.id.get_filesize())
        except ModelError as error:
            raise mismatch(error.reason.message) from error
        if "pandas_version" in file.attrs or any("pandas_type" in file[name].attrs for name in file):
            raise mismatch(f"{path}: is pandas' own HDF5, which only PyTables reads; convert it: {_CONVERT}")
        datasets = _datasets(file)
        columns = {name: _spec(path, name, dataset) for name, dataset in datasets.items()}
        lengths = {name: len(dataset) for name, dataset in datasets.items()}
    if not columns:
        raise mismatch(f"{path}: holds no arrays; save one dataset for each model input")
    rows = one_length(path, lengths, kind="dataset", opened="h5py.File(PATH)")
    return FileFacts(columns=columns, range_sizes=(rows,))


def read_hdf5(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """Memory: one block."""
    stop = wanted.start + wanted.count
    with h5py.File(path, "r") as file:
        for name in columns:
            if name not in file or len(file[name]) < stop:
                raise changed(path, f"no {stop} rows of {name!r}")
        for begin in range(wanted.start, stop, wanted.block_rows):
            end = min(begin + wanted.block_rows, stop)
            yield {name: _rows(file[name], begin, end) for name in columns}


def _datasets(file: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(visit)
    return found


def _spec(path: str, name: str, dataset: Any) -> ColumnSpec:
    if not dataset.ndim:
        raise mismatch(f"{path}: dataset {name!r} is a single value; its first axis must be the rows")
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return ColumnSpec(dtype="string", shape=tuple(dataset.shape[1:]))
    if dataset.dtype.hasobject or dataset.dtype.names:
        raise mismatch(f"{path}: dataset {name!r} is {dataset.dtype}, which is no plain array; store its parts as datasets")
    return ColumnSpec(dtype=dataset.dtype.name, shape=tuple(dataset.shape[1:]))


def _rows(dataset: Any, begin: int, end: int) -> Rows:
    values = dataset[begin:end]
    if values.dtype.kind == "O":
        flat = np.empty(values.size, object)
        flat[:] = [item.encode() if isinstance(item, str) else bytes(item) for item in values.ravel()]
        values = flat.reshape(values.shape)
    return rows_of_array(values)
