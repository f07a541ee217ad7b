"""Reads a column's first rows in a child process, for what `check` says about the preparation of rows: the range of numbers, the
sizes of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from liteferry.errors import LiteFerryError
from liteferry.samples import images
from liteferry.samples.formats.registry import read_rows
from liteferry.samples.formats.rows import ColumnSpec, RowRange
from liteferry.samples.sample_set import SampleSet
from liteferry.sandbox import reader
from liteferry.sandbox.reader import NoAnswer

ROWS, IMAGES = 256, 64

Range = tuple[float, float]


Size = tuple[int, int]  # (height, width)


def ranges(wanted: Sequence[tuple[SampleSet, str]]) -> list[Range | None]:
    """The least and the largest finite number among the first rows of a column, for each (set, column); None for texts, for
    unreadable columns, and for a set on a store.
    """
    requests = [_request(sample_set, column, ROWS, is_image=False) for sample_set, column in wanted]
    return [None if found is None or found["range"] is None else tuple(found["range"]) for found in _asked(range_of, requests)]


def image_sizes(wanted: Sequence[tuple[SampleSet, str]]) -> list[list[Size]]:
    """The different sizes of the first images of a column, for each (set, column); none where they cannot be read, and for a set
    on a store.
    """
    requests = [_request(sample_set, column, IMAGES, is_image=True) for sample_set, column in wanted]
    return [
        [] if found is None else [(height, width) for height, width in found["sizes"]] for found in _asked(sizes_of, requests)
    ]


def _asked(
    function: Callable[[dict[str, Any]], dict[str, Any]], requests: Sequence[dict[str, Any] | None]
) -> Iterator[dict[str, Any] | None]:
    """The reader's answers; None for no request, and for one that the reader did not survive."""
    asked = [request for request in requests if request is not None]
    answers = iter(list(reader.ask(function, asked, readable=[request["path"] for request in asked])) if asked else [])
    for request in requests:
        found = None if request is None else next(answers)
        yield None if isinstance(found, NoAnswer) else found


def _request(sample_set: SampleSet, column: str, most_rows: int, *, is_image: bool) -> dict[str, Any] | None:
    shard, spec = sample_set.shards[0], sample_set.columns.get(column)
    if "://" in shard.path or spec is None or (spec.dtype == "string") != is_image:
        return None
    told = {"dtype": spec.dtype, "shape": list(spec.shape), "is_flat": spec.is_flat, "default": spec.default}
    rows = min(most_rows, shard.row_count)
    return {
        "path": shard.path,
        "column": column,
        "spec": told,
        "origin": list(spec.origin),
        "start": shard.row_in_file,
        "rows": rows,
    }


def range_of(request: dict[str, Any]) -> dict[str, Any]:
    """Runs in the reader. Returns {range: [low, high]}, or {range: null}."""
    values = _values(request)
    if values.dtype.kind not in "biuf":
        return {"range": None}
    finite = values[np.isfinite(values)]
    return {"range": [float(finite.min()), float(finite.max())] if finite.size else None}


def sizes_of(request: dict[str, Any]) -> dict[str, Any]:
    """Runs in the reader. Returns {sizes: [[height, width], ...]}, each once, in the order of the rows."""
    try:
        return {"sizes": list(dict.fromkeys(images.size_of(content) for content in _values(request)))}
    except Exception:  # noqa: BLE001  # Pillow's decoders may raise anything for damaged files; the run reports them, with the row
        return {"sizes": []}


def _values(request: dict[str, Any]) -> np.ndarray:
    """The values of the first rows, one after the other; empty where they cannot be read: the run reports that, with the row."""
    spec = ColumnSpec(**{**request["spec"], "shape": tuple(request["spec"]["shape"])}, origin=tuple(request["origin"]))
    wanted = RowRange(start=request["start"], count=request["rows"], first_row=0, block_rows=request["rows"])
    try:
        block = next(iter(read_rows(request["path"], {request["column"]: spec}, wanted)), None)
    except LiteFerryError:
        return np.empty(0)
    return np.empty(0) if block is None else block[request["column"]].values
