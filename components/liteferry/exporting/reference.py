"""The reference: the checkpoint's own answers on every sample row, written to disk batch by batch, to compare candidates with.

Files are used instead of pipes, so that the process with the user's code and the one that must not have it never run at the same
time, memory is bounded by a batch, and either may crash alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from liteferry.exporting.throughput import Throughput
from liteferry.loading import float_twin
from liteferry.parity import noise
from liteferry.plan.bound_rows import batches, shard_directory
from liteferry.plan.model_plan import ModelPlan
from liteferry.sandbox import arrays_file

if TYPE_CHECKING:
    from liteferry.loading.tracing import TracedModel
    from liteferry.samples.binding import Binding


_PACE = "rows_per_s.json"
_NOISE = "noise.json"
_TWIN = "twin"


def write(traced: TracedModel, plan: ModelPlan, binding: Binding, *, shard_index: int) -> None:
    """Runs the checkpoint on every row of a shard and keeps its answers."""
    folder = shard_directory(plan, shard_index)
    os.makedirs(folder, exist_ok=True)
    names = traced.signature.output_names()
    with open(os.path.join(folder, "outputs.json"), "w", encoding="utf-8") as file:
        json.dump([name for name in names if name not in traced.calls.without_rows()], file)
    pace = Throughput()
    first: Mapping[str, np.ndarray] = {}
    for number, batch in enumerate(batches(plan, binding, shard_index=shard_index)):
        if shard_index == 0 and number == 0:
            first = batch.inputs
        outputs = pace.run(traced.run, batch.inputs)
        arrays_file.write(_batch_path(folder, number), {name: outputs[name] for name in names})
    with open(os.path.join(folder, _PACE), "w", encoding="utf-8") as file:
        json.dump(pace.rows_per_s(), file)
    with open(os.path.join(folder, _NOISE), "w", encoding="utf-8") as file:
        floor = noise.of_batch_size(traced.run, first, traced.signature, per_call=traced.calls.per_call)
        json.dump(floor and floor.to_json(), file)


def write_twin(traced: TracedModel, plan: ModelPlan, binding: Binding, *, shard_index: int) -> None:
    """Runs the checkpoint's float32 twin on every row of a shard and keeps its answers beside the checkpoint's."""
    folder = os.path.join(shard_directory(plan, shard_index), _TWIN)
    os.makedirs(folder, exist_ok=True)
    for number, batch in enumerate(batches(plan, binding, shard_index=shard_index)):
        rows = float_twin.as_the_twin_takes_them(batch.inputs, traced.signature)
        arrays_file.write(_batch_path(folder, number), traced.run(rows))


def batch_noise(plan: ModelPlan) -> noise.NoiseFloor | None:
    """How much the checkpoint's answers to the first rows change with the batch size; None if not measured."""
    try:
        with open(os.path.join(shard_directory(plan, 0), _NOISE), encoding="utf-8") as file:
            return noise.NoiseFloor.from_json(json.load(file))
    except (OSError, ValueError):
        return None


def rows_per_s(plan: ModelPlan, *, shard_index: int) -> float | None:
    """Rows per second of the checkpoint's own traced function on this shard; None where that was not measured."""
    try:
        with open(os.path.join(shard_directory(plan, shard_index), _PACE), encoding="utf-8") as file:
            return cast("float | None", json.load(file))
    except (OSError, ValueError):
        return None


def _batch_path(folder: str, number: int) -> str:
    return os.path.join(folder, f"{number:08d}.npz")


def output_names(plan: ModelPlan, *, shard_index: int) -> list[str]:
    """The names of the reference's outputs that have an answer for each row."""
    with open(os.path.join(shard_directory(plan, shard_index), "outputs.json"), encoding="utf-8") as file:
        return list(json.load(file))


def read(plan: ModelPlan, number: int, *, shard_index: int) -> dict[str, np.ndarray]:
    """The reference's answers to one batch, by output name."""
    return arrays_file.read(_batch_path(shard_directory(plan, shard_index), number))


def read_twin(plan: ModelPlan, number: int, *, shard_index: int) -> dict[str, np.ndarray]:
    """The answers of its float32 twin, likewise."""
    return arrays_file.read(_batch_path(os.path.join(shard_directory(plan, shard_index), _TWIN), number))
