"""The noise between kernels: how far the answers of one float32 file move when LiteRT runs it with other kernels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from liteferry.parity.gate_limits import DEFAULT_GATES
from liteferry.parity.noise import (
    BUILTIN_KERNELS,
    FLOAT32,
    REFERENCE_KERNELS,
    Arrays,
    NoiseFloor,
    compared,
    first_rows,
    max_differences,
)

if TYPE_CHECKING:
    from liteferry.tflite.runners import LiteRTRunner


# Reference kernels are plain loops, about a hundred times slower. Beyond this many multiplications the optimised kernels without
# XNNPACK are used: the bound is on work, not on time, so that the choice is the same on every machine.
_MULTIPLICATIONS = 3e8


def of_kernels(
    shipped: LiteRTRunner, other: LiteRTRunner, inputs: Arrays, expected: Arrays, *, kernels: str
) -> NoiseFloor | None:
    """Compares the float32 file on XNNPACK with the same file on other kernels.

    `counts` says for each output whether this may raise a gate: only if the file on the other kernels is within float32's default
    limit of the checkpoint's answers (`expected`), so that a wrong file cannot excuse itself.
    """
    rows = first_rows(inputs)
    count = len(next(iter(rows.values()), ()))
    if not count:
        return None
    reference, candidate = other.run(rows), shipped.run(rows)
    outputs = max_differences(compared(reference, candidate))
    limit = DEFAULT_GATES[FLOAT32]["max_rel"]
    proofs = {name: one.report() for name, one in compared(first_rows(expected), reference).items()}
    proven = {
        name
        for name, proof in proofs.items()
        if proof["nonfinite_mismatch"] == 0 and proof["max_rel"] is not None and proof["max_rel"] <= limit
    }
    judged = {name: dataclasses.replace(one, counts=name in proven) for name, one in outputs.items()}
    return NoiseFloor(rows=count, kernels=kernels, outputs=judged)


def of_float32_file(path: str, inputs: Arrays, expected: Arrays, *, per_call: Sequence[str] = ()) -> NoiseFloor | None:
    """`of_kernels` for a file and a batch. Raises ModelError where LiteRT cannot run it."""
    from liteferry.tflite.runners import LiteRTRunner

    shipped, rows = LiteRTRunner(path, per_call=per_call), first_rows(inputs)
    shipped.run(rows)
    kernels = kernels_for(shipped.multiplications(len(next(iter(rows.values()), ()))))
    first, second = LiteRTRunner(path, per_call=per_call), LiteRTRunner(path, kernels=kernels, per_call=per_call)
    return of_kernels(first, second, inputs, expected, kernels=kernels)


def kernels_for(work: float) -> str:
    """The kernels to compare XNNPACK with, by `LiteRTRunner.multiplications` for the rows."""
    return REFERENCE_KERNELS if work <= _MULTIPLICATIONS else BUILTIN_KERNELS
