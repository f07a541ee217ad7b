"""The rows of one plan: binds columns to its signature, reads batches, and keeps few rows in memory. Also names the model's
work folders.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from liteferry.loading import call_groups
from liteferry.plan.model_plan import ModelPlan
from liteferry.samples import slice_columns
from liteferry.types import Signature

if TYPE_CHECKING:
    from liteferry.samples.binding import Binding
    from liteferry.samples.sample_set import Batch, Shard


from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from liteferry.samples.binding import Binding
    from liteferry.samples.sample_set import Batch, Shard

_REMEMBERED_BYTES = 64 * 2**20
_REMEMBERED: list[tuple[Any, list[Batch]]] = []  # of at most one shard: its key, and its batches


def directory(plan: ModelPlan) -> str:
    """The folder of this model's reference answers during a run; beside the staging folder, never published."""
    return os.path.join(plan.work_root(), "reference", plan.model_id, plan.attempt or "0")


def work_directories(plan: ModelPlan) -> tuple[str, ...]:
    """The folders that processes working on this model may write to: its staging directory and its reference answers."""
    return plan.staging_directory(), directory(plan)


def shard_directory(plan: ModelPlan, shard_index: int) -> str:
    return os.path.join(directory(plan), f"{shard_index:05d}")


def is_done_while_exporting(plan: ModelPlan) -> bool:
    """Whether the exporting process also runs the reference. It does with one shard, so that the model is loaded and traced once;
    several shards run in parallel processes.
    """
    return plan.samples.sample_set is not None and len(plan.samples.sample_set.shards) == 1


def bind(plan: ModelPlan, signature: Signature, renamed: Mapping[str, str]) -> Binding:
    """Binds sample columns to a model's inputs, under the names that its artifacts use.

    Args:
      signature: with the model's own input names, which the job file uses.
      renamed: own name -> name in the artifacts, where they differ.

    Raises:
      SamplesError: SAMPLES_MISMATCH with every problem.
    """
    from liteferry.samples.binding import bind as bind_to_signature

    assert plan.samples.sample_set is not None and plan.samples.spec is not None and plan.samples.name is not None
    binding = bind_to_signature(plan.samples.sample_set, plan.samples.spec, signature, samples_name=plan.samples.name)
    bound = tuple(
        dataclasses.replace(entry, input=dataclasses.replace(entry.input, name=renamed.get(entry.input.name, entry.input.name)))
        for entry in binding.inputs
    )
    slices, _ = slice_columns.columns_of_slices(plan.samples.spec, plan.samples.sample_set)
    metrics = plan.metrics.readable_columns() if plan.metrics else ()
    targets = [column for column in plan.samples.spec.labels.values() if column in plan.samples.sample_set.columns]
    extras = dict.fromkeys([*metrics, *targets, *itertools.chain(*slices)])
    unused = tuple(name for name in binding.unused if name not in extras)
    return dataclasses.replace(binding, inputs=bound, extras=tuple(extras), unused=unused)


def batches(plan: ModelPlan, binding: Binding, *, shard_index: int) -> Iterator[Batch]:
    """The batches of one shard. Batch boundaries depend on the job alone.

    A shard of less than 64 MB stays in memory after this process has read it to its end, until it reads another shard: siblings
    that follow each other in one sandbox share their rows, and decoding images may cost more than running a small model on
    them.
    """
    if is_remembered(plan, binding, shard_index=shard_index):
        yield from _REMEMBERED[0][1]
        return
    yield from _read_and_remember(_key(plan, binding, shard_index))


def is_remembered(plan: ModelPlan, binding: Binding, *, shard_index: int) -> bool:
    """Whether `batches` would read the rows from memory."""
    return bool(_REMEMBERED) and _REMEMBERED[0][0] == _key(plan, binding, shard_index)


def forget() -> None:
    """Releases the rows in memory."""
    _REMEMBERED.clear()


def _key(plan: ModelPlan, binding: Binding, shard_index: int) -> tuple[str, Shard, Binding, int]:
    assert plan.samples.sample_set is not None
    batch = call_groups.fixed_batch(bound.input for bound in binding.inputs) or 1
    whole_calls = -(-plan.batch_size // batch) * batch  # so that only the last call is padded
    return plan.samples.sample_set.digest, plan.samples.sample_set.shards[shard_index], binding, whole_calls


def _read_and_remember(key: tuple[str, Shard, Binding, int]) -> Iterator[Batch]:
    from liteferry.samples.batches import read_batches

    _, shard, binding, batch_size = key
    read: list[Batch] | None = []
    size = 0
    for batch in read_batches(shard, binding, batch_size):
        size += sum(array.nbytes for array in (*batch.inputs.values(), *batch.extras.values()))
        if read is not None:
            holds_objects = any(array.dtype.hasobject for array in (*batch.inputs.values(), *batch.extras.values()))
            read.append(batch)
            read = None if size > _REMEMBERED_BYTES or holds_objects else read
        yield batch
    if read is not None:
        _REMEMBERED[:] = [(key, read)]


def calibration_rows(plan: ModelPlan, binding: Binding | None, *, batch: int | None) -> list[dict[str, np.ndarray]]:
    """The first rows of the samples in batches that the converted file takes; empty without samples. A smaller last batch is
    padded with its own last row, which changes no range.
    """
    if binding is None:
        return []
    found: list[dict[str, np.ndarray]] = []
    missing = plan.quantization.calibration_rows
    for rows in batches(plan, binding, shard_index=0):
        take = min(missing, len(rows.ids))
        taken = {name: value[:take] for name, value in rows.inputs.items()}
        found += [piece for piece, _ in call_groups.groups(taken, batch)]
        missing -= take
        if missing <= 0:
            break
    return found
