"""The ladder of lowerings: ways to bring a traced model to LiteRT, the one that keeps most of it first. The first that
converts is taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from liteferry import tflite, tracing
from liteferry.checkpoints.model import LoadedModel
from liteferry.errors import ModelError
from liteferry.tracing import TracedModel
from liteferry.types import Attempt


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lowered:
    """The rung that converted: what to convert a sibling with, its batch, and what was tried on the way. No `frozen`: none
    did.
    """

    frozen: tflite.FrozenGraph | None
    batch: int | None
    attempts: tuple[Attempt, ...]


def lower(
    model: LoadedModel, traced: TracedModel, *, sibling: Lowered | None, metadata: Mapping[str, Any]
) -> tuple[bytes | None, Lowered]:
    """A float flatbuffer and how it came about; the flatbuffer is None when no rung holds, and then every attempt has its error.

    Args:
      sibling: how an earlier sibling of the same trace was lowered; the same way is taken at once, with the variables'
      present values.
    """
    if sibling is not None and sibling.frozen is not None:
        try:
            sibling.frozen.refresh()
            return sibling.frozen.convert(metadata=metadata), sibling
        except ModelError:
            pass  # other weights, another fate: from the first rung on its own
    attempts: list[Attempt] = []
    for lowering, batch in _rungs(traced):
        try:
            frozen = tflite.FrozenGraph(traced if batch is None else tracing.trace(model, batch=batch))
            content = frozen.convert(metadata=metadata)
        except ModelError as error:
            attempts.append(Attempt(lowering=lowering, error=error.reason))
        else:
            done = (*attempts, Attempt(lowering=lowering))
            return content, Lowered(frozen=frozen, batch=batch or _own_batch(traced), attempts=done)
    return None, Lowered(frozen=None, batch=None, attempts=tuple(attempts))


def _own_batch(traced: TracedModel) -> int | None:
    """The batch size the model fixes itself, None where it is free."""
    sizes = {spec.shape[0] for spec in traced.signature.inputs if spec.shape}
    return None if None in sizes or len(sizes) != 1 else sizes.pop()


def _rungs(traced: TracedModel) -> list[tuple[str, int | None]]:
    """What to try: a name for the report, and the batch to trace with, None for the trace that is there."""
    own = _own_batch(traced)
    if own is not None:
        return [(f"the model's own batch of {own}", None)]
    return [("dynamic batch", None), ("batch fixed at 1", 1)]
