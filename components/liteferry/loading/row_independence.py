"""Checks that the answer for a row does not depend on the other rows of the call.

A server and a device group rows as they come. Where a model mixes them (a BatchNormalization in training mode, a statistic over
axis 0), the same row has another answer in every group, and no comparison on one grouping proves anything about another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.loading.tracing import TracedModel, assigned_variables, relative_distance

_TOLERANCE = 1e-2  # kernels differ by 1e-6 between batch sizes; statistics of 3 rows and of 8 by a tenth and more
_HALF_TOLERANCE = 1e-1  # where a graph computes in 8 or 11 bits
_FEW_ROWS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dependence:
    """The output that differs most when `part` of `rows` rows are given alone; `distance` is relative to its largest answer."""

    output: str
    distance: float
    part: int
    rows: int
    assigns: tuple[str, ...]

    def __str__(self) -> str:
        assigned = f" (its graph assigns to {', '.join(self.assigns[:3])} on every call)" if self.assigns else ""
        others = self.rows - self.part
        return (
            f"output {self.output!r}: the answers for {self.part} rows are {self.distance:.3g} off, relative to the largest, "
            f"when they are given alone instead of with {others} others: an answer depends on the rows beside its own, and "
            "servers and devices, which group rows as they come, would answer differently. Most likely a BatchNormalization "
            f"in training mode{assigned}, or a statistic over the batch axis. Export the model with training=False "
            "(`model.save` instead of `model.export`), and compute statistics over a row's own axes; or, where the model must "
            "see several rows at once, save it with a fixed batch size"
        )


def dependence(
    traced: TracedModel, inputs: Mapping[str, np.ndarray], functions: Sequence[Any] | None = None
) -> Dependence | None:
    """How the answers of a model depend on the grouping of rows; None where they do not, or where the model takes only one
    number of rows.

    Args:
      inputs: a few rows, (rows, ...) each.
      functions: the ConcreteFunctions that `traced` calls, where it is several signatures in one.
    """
    functions = functions or (traced.function,)
    rows = len(next(iter(inputs.values()), ()))
    names = [name for name in traced.signature.output_names() if name not in traced.calls.per_call]
    if traced.calls.batch is not None or rows < 2 or not names:
        return None
    answers = traced.run(inputs)
    middle = min(_FEW_ROWS, rows - 1)
    found = []
    for part in (slice(0, middle), slice(middle, rows)):
        try:
            alone = traced.run({name: value[part] for name, value in inputs.items()})
        except Exception:  # noqa: BLE001  # it rejects another number of rows, and says so to whoever calls it with one
            return None
        distance, name = max((relative_distance(answers[name][part], alone[name]), name) for name in names)
        found.append((distance, name, part.stop - part.start))
    distance, name, part_rows = max(found)
    if distance <= _TOLERANCE or (distance <= _HALF_TOLERANCE and any(map(_computes_in_half, functions))):
        return None
    return Dependence(
        output=name,
        distance=distance,
        part=part_rows,
        rows=rows,
        assigns=tuple(name for one in functions for name in assigned_variables(one)),
    )


def _computes_in_half(function: Any) -> bool:
    import tensorflow as tf

    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    return any(
        attr.type in (tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum) for node in nodes for attr in node.attr.values()
    )
