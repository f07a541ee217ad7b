"""The ladder of lowerings: ways to convert a traced model to LiteRT, the one that preserves most of it first.

The first rung that converts *and* computes the same on a few rows is used; the verdict on all rows comes later, from the
evaluation.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.errors import ModelError, Reason, ReasonCode, Stage
from liteferry.loading import call_groups, tracing
from liteferry.loading.model import LoadedModel
from liteferry.loading.together import Together
from liteferry.loading.tracing import TracedModel
from liteferry.tflite import converter_errors, frozen_graph, runners, saved_model_graph
from liteferry.types import Attempt

SELECT_TF_OPS = "Select TF ops"
SAVED_MODEL = "by way of a SavedModel"
# A conversion through a SavedModel keeps what freezing removes, but does not help with operators that LiteRT lacks.
_MAY_BE_FREEZING = (ReasonCode.CONVERT_FAILED, ReasonCode.CONVERT_UNSUPPORTED_OP)

Graph = frozen_graph.FrozenGraph | saved_model_graph.SavedModelGraph


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoweringOptions:
    """`fixed_batch`: the batch to fix where it cannot stay free. `allow_select_tf_ops`: allows, as the last rung, a file that
    nothing here can run.
    """

    fixed_batch: int = 1
    allow_select_tf_ops: bool = False


# Far above float noise, and small enough to detect the usual errors: clipped cell states, state kept between calls, swapped
# tensors.
_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lowered:
    """The rung that was used: how to convert a sibling, its batch, and what was tried before. No `frozen`: no rung converts.

    `flex`: why the file needs Select TF ops; None when it does not.
    """

    frozen: Graph | None
    batch: int | None
    attempts: tuple[Attempt, ...]
    flex: Reason | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """The input of a lowering: the model, its trace, and a few sample rows (named as the trace's inputs) on which a conversion
    is checked. Without rows (None) the first rung that converts is used. `together`: the signatures that the file holds, if
    more than the one that is traced.
    """

    model: LoadedModel
    traced: TracedModel
    rows: Mapping[str, np.ndarray] | None
    together: Together | None = None

    @property
    def proven(self) -> TracedModel:
        """What the file has to compute."""
        return self.traced if self.together is None else self.together.traced


def lower(
    source: Source, *, options: LoweringOptions, sibling: Lowered | None, metadata: Mapping[str, Any]
) -> tuple[bytes | None, Lowered]:
    """A float flatbuffer and a record of how it was made. The flatbuffer is None when no rung converts; every attempt then has
    its error.

    Args:
      options: the job's settings for the ladder.
      sibling: how an earlier sibling of the same trace was lowered; that rung is tried first, with the current weights.
      metadata: JSON-friendly; written into the file.
    """
    proven, rows = source.proven, source.rows
    if sibling is not None and sibling.frozen is not None:
        try:
            sibling.frozen.refresh()
            content = sibling.frozen.convert(metadata=metadata, select_tf_ops=sibling.flex is not None)
            if sibling.flex is not None or _deviation(content, proven, rows) is None:
                return content, sibling
        except ModelError:
            pass  # other weights may fail on this rung: start from the first rung
    attempts: list[Attempt] = []
    fallback: tuple[bytes, Graph, int | None] | None = None
    for name, batch, graph in _graphs(source, options, attempts):
        fixed = batch or proven.calls.batch
        try:
            frozen = graph()
            content = frozen.convert(metadata=metadata)
        except ModelError as error:
            attempts.append(Attempt(lowering=name, error=error.reason))
            continue
        deviation = _deviation(content, proven, rows)
        attempts.append(Attempt(lowering=name, error=deviation))
        if deviation is None:
            return content, Lowered(frozen=frozen, batch=fixed, attempts=tuple(attempts))
        fallback = fallback or (content, frozen, fixed)
    if fallback is None:
        return _with_select_tf_ops(source, options, metadata, attempts)
    content, frozen, batch = fallback  # none computes the same: the evaluation will say so with numbers over all rows
    return content, Lowered(frozen=frozen, batch=batch, attempts=tuple(attempts))


def _with_select_tf_ops(
    source: Source, options: LoweringOptions, metadata: Mapping[str, Any], attempts: list[Attempt]
) -> tuple[bytes | None, Lowered]:
    """The last rung: used if the job allows it and the last error was missing operators."""
    lacking = attempts[-1].error
    if not options.allow_select_tf_ops or lacking is None or lacking.code is not ReasonCode.NEEDS_FLEX:
        return None, Lowered(frozen=None, batch=None, attempts=tuple(attempts))
    frozen = _saved(source, None, lambda: source.traced) if source.together else frozen_graph.FrozenGraph(source.traced)
    try:
        content = frozen.convert(metadata=metadata, select_tf_ops=True)
    except ModelError as error:
        attempts.append(Attempt(lowering=SELECT_TF_OPS, error=error.reason))
        return None, Lowered(frozen=None, batch=None, attempts=tuple(attempts))
    attempts.append(Attempt(lowering=SELECT_TF_OPS))
    return content, Lowered(frozen=frozen, batch=source.proven.calls.batch, attempts=tuple(attempts), flex=lacking)


def _graphs(
    source: Source, options: LoweringOptions, attempts: Sequence[Attempt]
) -> Iterator[tuple[str, int | None, Callable[[], Graph]]]:
    """The conversions to try, in order: a name for the report, the fixed batch, and how to get the graph.

    `attempts`: results so far, read between two steps: a SavedModel is tried if freezing may have been the problem. A file of
    several signatures has several graphs, which only a SavedModel holds.
    """
    for name, batch in _rungs(source.proven, options):
        at_batch = functools.cache(functools.partial(_at_batch, source, batch))
        saved = functools.partial(_saved, source, batch, at_batch)
        if source.together is not None:
            yield f"{name}, {SAVED_MODEL}", batch, saved
            continue
        yield name, batch, functools.partial(_frozen, source, batch, at_batch)
        error = attempts[-1].error
        if error is not None and (error.code in _MAY_BE_FREEZING or tracing.holds_tables(source.traced.function)):
            yield f"{name}, {SAVED_MODEL}", batch, saved


def _at_batch(source: Source, batch: int | None) -> TracedModel:
    return source.traced if batch is None else tracing.trace(source.model, batch=batch)


def _frozen(source: Source, batch: int | None, at_batch: Callable[[], TracedModel]) -> Graph:
    layers = converter_errors.layer_classes(source.model.keep)
    return frozen_graph.FrozenGraph(at_batch(), batch=batch or source.traced.calls.batch, layers=layers)


def _saved(source: Source, batch: int | None, at_batch: Callable[[], TracedModel]) -> Graph:
    return saved_model_graph.SavedModelGraph(
        at_batch(),
        keep=source.model.keep,
        layers=converter_errors.layer_classes(source.model.keep),
        more_signatures=None if source.together is None else source.together.at_batch(batch),
    )


def _rungs(traced: TracedModel, options: LoweringOptions) -> list[tuple[str, int | None]]:
    """The rungs: a name for the report, and the batch to trace with, None for the existing trace.

    There is no rung without LiteRT's fused recurrent operators, which clip the cell state at 10 and keep state between calls:
    freezing inlines the functions that the converter would fuse, so recurrent layers are converted as plain loops.
    """
    own = traced.calls.batch
    if own is not None:
        return [(f"the model's own batch of {own}", None)]
    return [("dynamic batch", None), (f"batch fixed at {options.fixed_batch}", options.fixed_batch)]


def _deviation(content: bytes, traced: TracedModel, rows: Mapping[str, np.ndarray] | None) -> Reason | None:
    """Why a converted file is rejected: it does not run, differs from the trace, or gives another answer when run again."""
    if rows is None:
        return None
    try:
        runner = runners.LiteRTRunner(content, per_call=traced.calls.per_call)
        first, second = runner.run(rows), runner.run(rows)
    except ModelError as error:
        return error.reason
    expected = traced.run(rows)
    checks: list[tuple[str, Callable[[str], bool]]] = [
        (
            "keeps state between invocations: a second run on the same rows differs",
            lambda name: _is_near(first[name], second[name]),
        ),
        ("differs from the model on the first rows", lambda name: _is_near(*_aligned(name, traced, expected, first))),
    ]
    for words, holds in checks:
        bad = [name for name in expected if name not in first or not holds(name)]
        if bad:
            message = f"converts, but {words} (outputs: {', '.join(bad)})"
            return Reason(code=ReasonCode.PARITY_OUT_OF_TOLERANCE, stage=Stage.CONVERT, message=message)
    return None


def _aligned(
    name: str, traced: TracedModel, expected: Mapping[str, np.ndarray], observed: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    both = expected[name], observed[name]
    return call_groups.aligned(*both) if name in traced.calls.per_call else both


def _is_near(expected: np.ndarray, observed: np.ndarray) -> bool:
    return tracing.relative_distance(expected, observed) <= _TOLERANCE
