"""Reads the range of a column's first rows in a child process, for the hints of `check` about the preparation of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from liteferry.errors import LiteFerryError
from liteferry.samples.formats.registry import read_rows
from liteferry.samples.formats.rows import ColumnSpec, RowRange
from liteferry.samples.sample_set import SampleSet
from liteferry.sandbox import reader
from liteferry.sandbox.reader import NoAnswer

ROWS = 256

Range = tuple[float, float]


def ranges(wanted: Sequence[tuple[SampleSet, str]]) -> list[Range | None]:
    """The least and the largest finite number among the first rows of a column, for each (set, column); None for texts, for
    unreadable columns, and for a set on a store.
    """
    requests = [_request(sample_set, column) for sample_set, column in wanted]
    asked = [request for request in requests if request is not None]
    answers = iter(list(reader.ask(answer, asked, readable=[request["path"] for request in asked])) if asked else [])
    return [None if request is None else _range(next(answers)) for request in requests]


def _request(sample_set: SampleSet, column: str) -> dict[str, Any] | None:
    shard, spec = sample_set.shards[0], sample_set.columns.get(column)
    if "://" in shard.path or spec is None or spec.dtype == "string":
        return None
    told = {"dtype": spec.dtype, "shape": list(spec.shape), "is_flat": spec.is_flat, "default": spec.default}
    rows = min(ROWS, shard.row_count)
    return {
        "path": shard.path,
        "column": column,
        "spec": told,
        "origin": list(spec.origin),
        "start": shard.row_in_file,
        "rows": rows,
    }


def _range(found: dict[str, Any] | NoAnswer) -> Range | None:
    told = None if isinstance(found, NoAnswer) else found["range"]
    return None if told is None else (float(told[0]), float(told[1]))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Runs in the reader. Returns {range: [low, high]}, or {range: null}."""
    spec = ColumnSpec(**{**request["spec"], "shape": tuple(request["spec"]["shape"])}, origin=tuple(request["origin"]))
    wanted = RowRange(start=request["start"], count=request["rows"], first_row=0, block_rows=request["rows"])
    try:
        block = next(iter(read_rows(request["path"], {request["column"]: spec}, wanted)), None)
    except LiteFerryError:  # the run reports it, with the row
        return {"range": None}
    values = np.empty(0) if block is None else block[request["column"]].values
    if values.dtype.kind not in "biuf":
        return {"range": None}
    finite = values[np.isfinite(values)]
    return {"range": [float(finite.min()), float(finite.max())] if finite.size else None}
