"""The inputs of the rows on which artifacts are furthest off, small enough to look at: numbers, words, thumbnails.

For people who read the report; nothing is judged by them. What cannot be shown or read again is left out.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry import reference, storage
from liteferry.evaluation_results import Evaluation
from liteferry.evaluation_units import own_signature
from liteferry.parity import MOST_SHOWN, text_of
from liteferry.plan import ModelPlan
from liteferry.sample_take import NamedRows
from liteferry.samples import Binding, Shard, read_batches
from liteferry.types import ExportedModel

_MOST_ROWS = 6
_PER_ARTIFACT = 2
_THUMBNAIL_PIXELS = 96
_LEAST_SIDE, _MOST_SIDE = 4, 2048  # smaller is a matrix, larger takes too long
_BLOCK_ROWS = 1024
_MOST_NPZ_BYTES = 64 * 2**20  # reading one row of it reads all


def collect(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> list[dict[str, Any]]:
    """At most six rows, two for each artifact, as `{id, row, inputs: {name: what `show` says}}`; [] when there are none or
    nothing of them can be shown.
    """
    wanted = _wanted(evaluation)
    sample_set, saved = plan.samples.sample_set, exported.saved_model
    if not wanted or sample_set is None or saved is None:
        return []
    found = []
    with contextlib.suppress(Exception):  # they were read once; whatever keeps them from being read again, the report stands
        signature = own_signature(saved.signature, saved.renamed_inputs)
        binding = dataclasses.replace(reference.bind(plan, signature, saved.renamed_inputs), extras=())
        for row, inputs in sorted(_read(sample_set.shards, tuple(wanted), binding), key=lambda found: found[0]):
            shown = {key: show(value) for key, value in inputs.items()}
            if any(one["values"] or one["image"] for one in shown.values()):
                found.append({"id": wanted[row], "row": row, "inputs": shown})
    return found


def _wanted(evaluation: Evaluation) -> dict[int, str]:
    """Row -> id, the worst of each artifact first."""
    rows: dict[int, str] = {}
    for result in evaluation.candidates.values():
        worst = sorted(
            (example for stats in result.stats.values() for example in stats.worst), key=lambda example: example.order()
        )
        of_artifact: dict[int, str] = {}
        for example in worst:
            of_artifact.setdefault(example.row, example.id)
        rows.update(list(of_artifact.items())[:_PER_ARTIFACT])
    return dict(sorted(list(rows.items())[:_MOST_ROWS]))


def _read(shards: Sequence[Shard], rows: tuple[int, ...], binding: Binding) -> Iterator[tuple[int, Mapping[str, np.ndarray]]]:
    """Number and inputs of each row: a shard that holds some is read once, and only those are decoded."""
    for shard in _parts(shards):
        named = NamedRows(rows=rows)
        if not named.chosen(shard.first_row, shard.row_count).any():
            continue
        if shard.path.endswith(".npz") and storage.size_bytes(shard.path) > _MOST_NPZ_BYTES:
            continue
        for batch in read_batches(dataclasses.replace(shard, selection=named, more=()), binding, _BLOCK_ROWS):
            assert batch.rows is not None
            for place, row in enumerate(batch.rows.tolist()):
                yield row, {name: value[place] for name, value in batch.inputs.items()}


def _parts(shards: Sequence[Shard]) -> Iterator[Shard]:
    for shard in shards:
        yield shard
        yield from _parts(shard.more)


def show(value: np.ndarray) -> dict[str, Any]:
    """One row of one input: `{values: [text], image: data URI, shape, dtype}`; values if it is short, else an image if it looks
    like one, else neither.
    """
    value = np.asarray(value)
    is_short = value.size <= MOST_SHOWN
    return {
        "values": [text_of(item) for item in value.ravel().tolist()] if is_short else [],
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
    """0 to 255 as they are, 0 to 1 as 0 to 255; anything else from its least to its greatest value."""
    if pixels.dtype == np.uint8:
        return pixels
    values = np.nan_to_num(pixels.astype(np.float64), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255:
        values = (values - low) / max(high - low, 1e-300) * 255
    elif high <= 1:
        values = values * 255
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
