"""Unrolls loops of a frozen graph, for calibrators that cannot calibrate inside loops.

Only counting loops are unrolled: `i < n`, with both numbers the same for every row. Other loops stay, and a calibrator that
cannot handle them raises an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_LOOPS = ("While", "StatelessWhile")
# Operators in the condition of a counting loop; others may depend on computed values.
_COUNTING = frozenset({"Less", "LogicalAnd", "Identity", "Const"})


class UncountableError(Exception):
    """A loop whose number of steps the graph does not fix; the message says which, and why."""


def unroll(graph: Any, feeds: Mapping[str, np.ndarray], *, most_steps: int) -> Any:
    """A copy of a frozen GraphDef without the loops of its main graph.

    Args:
      feeds: arrays by the name of their placeholder, one call's worth; the number of steps is read off the graph run on them.
      most_steps: of one loop.

    Raises:
      UncountableError: a loop is not a counting loop, or has more steps.
    """
    import tensorflow as tf

    functions = {function.signature.name: function for function in graph.library.function}
    steps = _steps(graph, functions, feeds)
    for name, count in steps.items():
        if count > most_steps:
            raise UncountableError(f"{count} steps of loop {name!r} are too many to unroll (at most {most_steps})")
    unrolled = tf.compat.v1.GraphDef()
    unrolled.versions.CopyFrom(graph.versions)
    unrolled.library.CopyFrom(graph.library)
    for node in graph.node:
        if node.op in _LOOPS:
            unrolled.node.extend(_calls(node, steps[node.name]))
        else:
            unrolled.node.append(node)
    return unrolled


def _steps(graph: Any, functions: Mapping[str, Any], feeds: Mapping[str, np.ndarray]) -> dict[str, int]:
    import tensorflow as tf

    bounds = {node.name: _bounds(node, functions) for node in graph.node if node.op in _LOOPS}
    tensors = sorted({tensor for pairs in bounds.values() for pair in pairs for tensor in pair})
    loops = tf.Graph()
    with loops.as_default():
        tf.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=loops) as session:
            fed = {f"{name}:0": value for name, value in feeds.items()}
            found = dict(zip(tensors, session.run(tensors, fed), strict=True))
    steps = {}
    for name, pairs in bounds.items():
        counts = [int(found[limit]) - int(found[start]) for start, limit in pairs if np.ndim(found[limit]) == 0]
        if len(counts) != len(pairs):
            raise UncountableError(f"loop {name!r} counts to more than one number")
        steps[name] = max(0, min(counts))
    return steps


def _bounds(node: Any, functions: Mapping[str, Any]) -> list[tuple[str, str]]:
    """For each comparison in a loop's condition, the tensors of its start and end."""
    condition = functions[node.attr["cond"].func.name]
    if {inner.op for inner in functions[node.attr["body"].func.name].node_def} & {*_LOOPS}:
        raise UncountableError(f"loop {node.name!r} has another inside")
    odd = sorted({inner.op for inner in condition.node_def} - _COUNTING)
    if odd:
        raise UncountableError(f"loop {node.name!r} ends on more than a count ({', '.join(odd)})")
    inputs = [name if ":" in name else f"{name}:0" for name in node.input if not name.startswith("^")]
    places = {argument.name: place for place, argument in enumerate(condition.signature.input_arg)}
    pairs = []
    for inner in condition.node_def:
        if inner.op == "Less":
            start, limit = (places.get(name) for name in inner.input[:2])
            if start is None or limit is None:
                raise UncountableError(f"loop {node.name!r} does not compare a count with a number that it was given")
            pairs.append((inputs[start], inputs[limit]))
    if not pairs:
        raise UncountableError(f"loop {node.name!r} has no end that could be counted")
    return pairs


def _calls(node: Any, steps: int) -> list[Any]:
    """One call of the body for each step; the last call has the loop's own name, so that later nodes refer to it."""
    if steps == 0:
        raise UncountableError(f"loop {node.name!r} has no steps")
    made: list[Any] = []
    inputs = list(node.input)
    control = [name for name in inputs if name.startswith("^")]
    for step in range(steps):
        call = type(node)()
        call.op = "PartitionedCall" if node.op == "StatelessWhile" else "StatefulPartitionedCall"
        call.name = node.name if step == steps - 1 else f"{node.name}/step_{step}"
        call.input.extend(inputs if step == 0 else [*_outputs(made[-1].name, len(node.attr["T"].list.type)), *control])
        for side in ("Tin", "Tout"):
            call.attr[side].CopyFrom(node.attr["T"])
        call.attr["f"].func.CopyFrom(node.attr["body"].func)
        made.append(call)
    return made


def _outputs(name: str, count: int) -> list[str]:
    return [f"{name}:{place}" for place in range(count)]
