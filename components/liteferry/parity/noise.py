"""The noise floor: how far answers move when nothing that matters changes, measured on the first rows of the samples.

Two measurements. The reference against itself at other batch sizes: sums are added in another order. And the float32 file on
XNNPACK, as it ships, against LiteRT's other kernels. docs/gates.md says what both may do to a gate, and what they may not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from liteferry.parity.gate_limits import NOISE_CAPS, SAVED_MODEL
from liteferry.parity.output_stats import OutputStats
from liteferry.types import Signature

if TYPE_CHECKING:
    pass

Arrays = Mapping[str, npt.NDArray[Any]]
Run = Callable[[Arrays], Arrays]
Noise = Mapping[str, Any]
"""`{rows, outputs: {output: {max_abs, max_rel, ...}}, ...}`, as the report has it."""

ROWS = 8
BATCH_SIZES = (3, 1)
REFERENCE, FLOAT32 = "reference", "float32"
REFERENCE_KERNELS, BUILTIN_KERNELS = "reference", "builtin"


def first_rows(inputs: Arrays, count: int = ROWS) -> dict[str, npt.NDArray[Any]]:
    """The rows that noise is measured on: the first ones, the only one twice."""
    rows = len(next(iter(inputs.values()), ()))
    return {name: np.repeat(value, 2, axis=0) if rows == 1 else value[:count] for name, value in inputs.items()}


def of_batch_size(run: Run, inputs: Arrays, signature: Signature, *, per_call: Sequence[str] = ()) -> Noise | None:
    """The reference against itself: all rows as one batch, then the first 3, then the first alone. Without the outputs of
    `per_call`, which are one answer for a call.

    None where there is no other batch size: the signature fixes it, or the model refuses another one.
    """
    if not inputs or any(not spec.shape or spec.shape[0] is not None for spec in signature.inputs):
        return None
    rows = first_rows(inputs)
    count = len(next(iter(rows.values())))
    sizes = [size for size in BATCH_SIZES if size < count]
    try:
        whole = run(rows)
        parts = [run({name: value[:size] for name, value in rows.items()}) for size in sizes]
    except Exception:  # noqa: BLE001  # a model that takes only the batches it gets has no such noise; its own run tells the rest
        return None
    stats: dict[str, OutputStats] = {}
    for size, part in zip(sizes, parts, strict=True):
        rows_of = {name: value[:size] for name, value in whole.items() if name not in per_call}
        for name, one in compared(rows_of, part).items():
            stats[name] = stats.get(name, OutputStats.empty()).merge(one)
    return {"rows": count, "batch_sizes": [count, *sizes], "outputs": max_differences(stats)}


def limits_from(candidate: str, noise: Mapping[str, Noise | None]) -> dict[str, dict[str, float]]:
    """output -> metric -> noise that a default gate of `candidate` may be raised by; nothing where none was measured.

    `noise`: by "reference" and "float32".
    """
    found: dict[str, dict[str, float]] = {}
    sources = [(REFERENCE, candidate in (SAVED_MODEL, FLOAT32)), (FLOAT32, candidate == FLOAT32)]
    for source, is_asked in sources:
        for output, measured in ((noise.get(source) or {}).get("outputs", {}) if is_asked else {}).items():
            value = measured.get("max_rel") if measured.get("counts", True) else None
            if value is not None and math.isfinite(value):
                found[output] = {"max_rel": max(value, found.get(output, {}).get("max_rel", 0.0))}
    return found


def warnings_of(noise: Mapping[str, Noise | None]) -> list[str]:
    """A sentence for each output that depends on the batch size by more than any rounding does."""
    measured = noise.get(REFERENCE) or {}
    most = NOISE_CAPS[SAVED_MODEL]["max_rel"]
    found = []
    for output, one in measured.get("outputs", {}).items():
        moved = "to or from NaN or infinity" if one["max_rel"] is None else f"by {one['max_rel']:.3g} of the largest answer"
        if one["max_rel"] is None or one["max_rel"] > most:
            sizes = ", ".join(map(str, measured["batch_sizes"]))
            found.append(
                f"output {output!r} of the checkpoint itself depends on the batch size: its answers to the first rows move "
                f"{moved} between batches of {sizes} rows; look for statistics over the batch in the model"
            )
    return found


def compared(reference: Arrays, candidate: Arrays) -> dict[str, OutputStats]:
    """Floating point outputs that both sides have in one shape."""
    found = {}
    for name, left in reference.items():
        right = candidate.get(name)
        if right is not None and left.dtype.kind == right.dtype.kind == "f" and left.shape == right.shape and left.ndim:
            ids = [str(row) for row in range(len(left))]
            found[name] = OutputStats.compare(reference=left, candidate=right, ids=ids, first_row=0)
    return found


def max_differences(stats: Mapping[str, OutputStats]) -> dict[str, dict[str, Any]]:
    """`{output: {max_abs, max_rel}}`; null where one side is NaN or infinite and the other is not: that is no noise."""
    reports = {name: one.report() for name, one in stats.items()}
    return {
        name: {key: None if one["nonfinite_mismatch"] else one[key] for key in ("max_abs", "max_rel")}
        for name, one in reports.items()
    }
