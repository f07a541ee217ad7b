"""The speed of a .tflite file on this machine, measured in bounded time, and the memory that its activations need.

It is measured after parity, in the same process and with an interpreter of its own, so it cannot change other facts of the
report. The result depends on the machine and its load, so the report keeps it with the timings.
"""

from __future__ import annotations

import collections
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from liteferry.errors import ModelError
from liteferry.loading import call_groups
from liteferry.sandbox.pool import available_cores
from liteferry.tflite.runners import LiteRTRunner

# One setting of one variant: 100 invocations with one row, five with a batch, or this long, whichever is sooner; at least three.
_SECONDS = 0.01
_RUNS, _BATCH_RUNS, _LEAST_RUNS = 100, 5, 3
# A file that takes this long for one row is not measured: it is slow anyway.
_TOO_SLOW_S = 0.25


def measure(content: bytes, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Times one variant with one thread and with all of this machine's.

    Args:
      content: of the .tflite file.
      inputs: one batch of sample rows, (rows, ...) each.

    Returns:
      p50, p99: milliseconds of one invocation with one row (a file with a fixed batch takes that many), after warm-up.
      rows_per_s: of invocations with the whole batch, or as much of it as the time allows.
      The same with `_all_threads`; `threads`, how many those are; `runs`, how many invocations p50 and p99 are of; `load`, the
      machine's load average in the minute before, by its cores. {} for a file that is too slow to be measured in the time.
    """
    threads = available_cores()
    measured: dict[str, Any] = {}
    for count, suffix in ((1, ""), (threads, "_all_threads")):
        try:
            single, per_s = _measure(content, inputs, threads=count)
        except ModelError:  # it ran before, or its parity result holds the reason
            return {}
        if single is None:
            return {}
        measured[f"p50{suffix}"] = 1000 * statistics.median(single)
        measured[f"p99{suffix}"] = 1000 * float(np.percentile(single, 99, method="higher"))
        measured[f"rows_per_s{suffix}"] = per_s
        measured.setdefault("runs", len(single))
    load = os.getloadavg()[0] / threads
    return {**measured, "threads": threads, "load": load}


def _measure(content: bytes, inputs: Mapping[str, np.ndarray], *, threads: int) -> tuple[list[float] | None, float | None]:
    """Seconds of each invocation with one row, and rows per second of larger ones."""
    runner = LiteRTRunner(content, threads=threads)
    rows = len(next(iter(inputs.values())))
    least = runner.fixed_batch or 1
    if least > rows:
        inputs, rows = next(call_groups.groups(inputs, least))[0], least
    single = _times(runner.prepare({name: value[:least] for name, value in inputs.items()}))
    if single is None:
        return None, None
    p50 = statistics.median(single)
    fitting = rows if runner.fixed_batch is None else least
    in_time = _SECONDS / (_LEAST_RUNS + 1)  # warm-up included
    fitting = max(least, min(fitting, int(least * in_time / max(p50, 1e-9))))
    if fitting == least:
        return single, least / p50
    many = _times(runner.prepare({name: value[:fitting] for name, value in inputs.items()}), most=_BATCH_RUNS)
    return single, fitting / statistics.median(many) if many else least / p50


def _times(invoke: Callable[[], None], *, most: int = _RUNS) -> list[float] | None:
    started = time.perf_counter()
    invoke()  # warm-up: kernels pack their weights
    if time.perf_counter() - started > _TOO_SLOW_S:
        return None
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(times) < _LEAST_RUNS or (len(times) < most and time.perf_counter() < end):
        started = time.perf_counter()
        invoke()
        times.append(time.perf_counter() - started)
    return times


def least_arena_bytes(content: bytes) -> int | None:
    """The most bytes of activations that are alive at one operator of the main graph, for the batch written in the file (1 where
    it is free). LiteRT does not report the size of its arena; no allocation plan can use less than this. None for a file without
    operators.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    if graph.OperatorsLength() == 0:
        return None
    sizes = {}
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        buffer = model.Buffers(tensor.Buffer())
        if buffer.DataLength() == 0 and buffer.Offset() <= 1:
            shape = [int(tensor.Shape(axis)) for axis in range(tensor.ShapeLength())]
            sizes[index] = math.prod(max(size, 1) for size in shape) * _ITEM_BYTES.get(tensor.Type(), 4)
    last = graph.OperatorsLength() - 1
    begin: dict[int, int] = {int(graph.Inputs(i)): 0 for i in range(graph.InputsLength())}
    end: dict[int, int] = {int(graph.Outputs(i)): last for i in range(graph.OutputsLength())}
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        for index in (int(operator.Outputs(i)) for i in range(operator.OutputsLength())):
            begin.setdefault(index, number)
            end[index] = max(end.get(index, number), number)
        for index in (int(operator.Inputs(i)) for i in range(operator.InputsLength())):
            end[index] = max(end.get(index, number), number)
    change: collections.Counter[int] = collections.Counter()
    for index, first in begin.items():
        change[first] += sizes.get(index, 0)
        change[end.get(index, first) + 1] -= sizes.get(index, 0)
    alive = most = 0
    for number in sorted(change):
        alive += change[number]
        most = max(most, alive)
    return most


# By TensorType of the schema: FLOAT16, UINT8, INT64, BOOL, INT16, COMPLEX64, INT8, FLOAT64, COMPLEX128, UINT64, UINT16; 4 else.
_ITEM_BYTES = {1: 2, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 16: 2}
