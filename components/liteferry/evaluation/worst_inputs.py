"""The inputs of the rows with the largest errors, as numbers, words or thumbnails.

They are for people who read the report; no verdict uses them. The process that evaluates a shard records the rows that may be
the worst of all; the report keeps those that are. Rows that cannot be shown or read again are left out.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from liteferry import storage
from liteferry.parity.output_stats import OutputStats
from liteferry.parity.worst_examples import MOST_SHOWN, format_value
from liteferry.plan import bound_rows
from liteferry.plan.model_plan import ModelPlan
from liteferry.samples.batches import read_batches
from liteferry.samples.binding import Binding
from liteferry.samples.sample_set import Shard
from liteferry.samples.subsampling import NamedRows

_PER_ARTIFACT = 2
_THUMBNAIL_PIXELS = 96
_LEAST_SIDE, _MOST_SIDE = 4, 2048  # smaller arrays are not images, larger ones take too long
_BLOCK_ROWS = 1024
_MOST_NPZ_BYTES = 64 * 2**20  # for these formats, reading one row reads all rows

Shown = dict[int, dict[str, Any]]
"""Row -> `{id, row, inputs: {name: result of `show`}}`."""


def worst_rows_of(stats: Mapping[str, OutputStats]) -> dict[int, str]:
    """Row -> id of the rows with the largest errors of an artifact, the worst first. `stats`: by output."""
    found: dict[int, str] = {}
    for example in sorted((example for one in stats.values() for example in one.worst), key=lambda example: example.order()):
        found.setdefault(example.row, example.id)
    return dict(list(found.items())[:_PER_ARTIFACT])


def shown(plan: ModelPlan, binding: Binding, named: Mapping[int, str], *, shard_index: int) -> Shown:
    """Rows of a shard whose every file is here. `named`: row -> id. Never raises: if the rows cannot be read a second time, the
    results are still valid.
    """
    found: Shown = {}
    with contextlib.suppress(Exception):
        for row, inputs in _read(plan, binding, named, shard_index):
            seen = {name: show(value) for name, value in inputs.items()}
            if any(one["values"] or one["image"] for one in seen.values()):
                found[row] = {"id": named[row], "row": row, "inputs": seen}
    return found


def _read(
    plan: ModelPlan, binding: Binding, rows: Collection[int], shard_index: int
) -> Iterator[tuple[int, Mapping[str, np.ndarray]]]:
    """The number and inputs of each row: from memory if the whole shard is cached, else only these rows are read and decoded."""
    assert plan.samples.sample_set is not None
    if bound_rows.is_remembered(plan, binding, shard_index=shard_index):
        for batch in bound_rows.batches(plan, binding, shard_index=shard_index):
            numbers = batch.rows.tolist() if batch.rows is not None else range(batch.first_row, batch.first_row + len(batch.ids))
            for place, row in enumerate(numbers):
                if row in rows:
                    yield row, {name: value[place] for name, value in batch.inputs.items()}
        return
    named, of_inputs = NamedRows(rows=tuple(sorted(rows))), dataclasses.replace(binding, extras=())
    for shard in _parts(plan.samples.sample_set.shards[shard_index]):
        if not named.chosen(shard.first_row, shard.row_count).any():
            continue
        if shard.path.endswith(".npz") and storage.size_bytes(shard.path) > _MOST_NPZ_BYTES:
            continue
        for batch in read_batches(dataclasses.replace(shard, selection=named, more=()), of_inputs, _BLOCK_ROWS):
            assert batch.rows is not None
            for place, row in enumerate(batch.rows.tolist()):
                yield row, {name: value[place] for name, value in batch.inputs.items()}


def _parts(shard: Shard) -> Iterator[Shard]:
    yield shard
    for one in shard.more:
        yield from _parts(one)


def show(value: np.ndarray) -> dict[str, Any]:
    """One row of one input: `{values: [text], image: data URI, shape, dtype}`; values if it is short, else an image if it looks
    like one, else neither.
    """
    value = np.asarray(value)
    is_short = value.size <= MOST_SHOWN
    return {
        "values": [format_value(item) for item in value.ravel().tolist()] if is_short else [],
        "image": _thumbnail(value) if _is_image(value) and not is_short else None,
        "shape": list(value.shape),
        "dtype": "string" if value.dtype.kind in "OSU" else value.dtype.name,
    }


def _is_image(value: np.ndarray) -> bool:
    is_grey = value.ndim == 2 or (value.ndim == 3 and value.shape[2] == 1)
    is_colour = value.ndim == 3 and value.shape[2] == 3
    sides = value.shape[:2]
    return (is_grey or is_colour) and value.dtype.kind in "fiu" and min(sides) >= _LEAST_SIDE and max(sides) <= _MOST_SIDE


def _thumbnail(value: np.ndarray) -> str:
    from PIL import Image

    pixels = value[..., 0] if value.ndim == 3 and value.shape[2] == 1 else value
    image = Image.fromarray(_as_bytes(pixels))
    image.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    content = io.BytesIO()
    image.save(content, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _as_bytes(pixels: np.ndarray) -> np.ndarray:
    """Scales values to 0..255: 0 to 255 unchanged, 0 to 1 times 255, anything else from its smallest to its largest value."""
    if pixels.dtype == np.uint8:
        return pixels
    values = np.nan_to_num(pixels.astype(np.float64), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255:
        values = (values - low) / max(high - low, 1e-300) * 255
    elif high <= 1:
        values = values * 255
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
