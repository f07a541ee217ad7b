"""The noise floor: how much answers change without a change in the function, measured on the first sample rows.

There are two measurements. The reference is compared with itself at other batch sizes, where sums are added in another order.
The float32 file on XNNPACK, as it ships, is compared with LiteRT's other kernels. docs/gates.md says how both may raise a gate.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from liteferry import lenient
from liteferry.parity.gate_limits import NOISE_CAPS, SAVED_MODEL
from liteferry.parity.output_stats import OutputStats
from liteferry.types import Signature

Arrays = Mapping[str, npt.NDArray[Any]]
Run = Callable[[Arrays], Arrays]

ROWS = 8
BATCH_SIZES = (3, 1)
REFERENCE, FLOAT32 = "reference", "float32"
REFERENCE_KERNELS, BUILTIN_KERNELS = "reference", "builtin"


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputNoise:
    """The largest differences of one output, absolute and against its largest answer; None where NaN or infinity is on one side
    only, which is no noise. `counts`: whether it may raise a gate.
    """

    max_abs: float | None
    max_rel: float | None
    counts: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseFloor:
    """Noise by output, measured on the first `rows` sample rows.

    `batch_sizes`: those of the reference that were compared. `kernels`: those of the float32 file that XNNPACK was compared with.
    """

    rows: int
    outputs: Mapping[str, OutputNoise]
    batch_sizes: Sequence[int] = ()
    kernels: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As report.json has it."""
        how = {"batch_sizes": list(self.batch_sizes)} if self.kernels is None else {"kernels": self.kernels}
        keys = ("max_abs", "max_rel") if self.kernels is None else ("max_abs", "max_rel", "counts")
        outputs = {name: {key: getattr(one, key) for key in keys} for name, one in self.outputs.items()}
        return {"rows": self.rows, **how, "outputs": outputs}

    @classmethod
    def from_json(cls, plain: object) -> NoiseFloor | None:
        """Reads the noise floor from a report; None if the report has none. Missing or malformed values count as not measured."""
        found = lenient.mapping(plain)
        if not found:
            return None
        outputs = {str(name): lenient.mapping(one) for name, one in lenient.mapping(found.get("outputs")).items()}
        return cls(
            rows=lenient.integer(found.get("rows")) or 0,
            outputs={
                name: OutputNoise(
                    max_abs=lenient.number(one.get("max_abs")),
                    max_rel=lenient.number(one.get("max_rel")),
                    counts=one.get("counts", True) is True,
                )
                for name, one in outputs.items()
            },
            batch_sizes=tuple(
                size for one in lenient.listing(found.get("batch_sizes")) if (size := lenient.integer(one)) is not None
            ),
            kernels=lenient.text(found.get("kernels")),
        )


def first_rows(inputs: Arrays, count: int = ROWS) -> dict[str, npt.NDArray[Any]]:
    """The rows on which noise is measured: the first ones; a single row is taken twice."""
    rows = len(next(iter(inputs.values()), ()))
    return {name: np.repeat(value, 2, axis=0) if rows == 1 else value[:count] for name, value in inputs.items()}


def of_batch_size(run: Run, inputs: Arrays, signature: Signature, *, per_call: Sequence[str] = ()) -> NoiseFloor | None:
    """Compares the reference with itself: all rows as one batch, then the first 3, then the first alone. Outputs in `per_call`,
    which are one answer for a call, are left out.

    Returns None where there is no other batch size: the signature fixes it, or the model refuses another one.
    """
    if not inputs or any(not spec.shape or spec.shape[0] is not None for spec in signature.inputs):
        return None
    rows = first_rows(inputs)
    count = len(next(iter(rows.values())))
    sizes = [size for size in BATCH_SIZES if size < count]
    try:
        whole = run(rows)
        parts = [run({name: value[:size] for name, value in rows.items()}) for size in sizes]
    except Exception:  # noqa: BLE001  # a model that takes only one batch size has no such noise; other errors show in its own run
        return None
    stats: dict[str, OutputStats] = {}
    for size, part in zip(sizes, parts, strict=True):
        rows_of = {name: value[:size] for name, value in whole.items() if name not in per_call}
        for name, one in compared(rows_of, part).items():
            stats[name] = stats.get(name, OutputStats.empty()).merge(one)
    return NoiseFloor(rows=count, batch_sizes=(count, *sizes), outputs=max_differences(stats))


def limits_from(candidate: str, noise: Mapping[str, NoiseFloor | None]) -> dict[str, dict[str, float]]:
    """output -> metric -> noise by which a default gate of `candidate` may be raised; empty where none was measured. `noise`: by
    "reference" and "float32".
    """
    found: dict[str, dict[str, float]] = {}
    sources = [(REFERENCE, candidate in (SAVED_MODEL, FLOAT32)), (FLOAT32, candidate == FLOAT32)]
    for source, is_asked in sources:
        floor = noise.get(source) if is_asked else None
        for output, measured in floor.outputs.items() if floor else ():
            value = measured.max_rel if measured.counts else None
            if value is not None and math.isfinite(value):
                found[output] = {"max_rel": max(value, found.get(output, {}).get("max_rel", 0.0))}
    return found


def warnings_of(noise: Mapping[str, NoiseFloor | None]) -> list[str]:
    """A warning for each output that depends on the batch size by more than rounding explains."""
    measured = noise.get(REFERENCE)
    most = NOISE_CAPS[SAVED_MODEL]["max_rel"]
    found = []
    for output, one in measured.outputs.items() if measured else ():
        moved = "to or from NaN or infinity" if one.max_rel is None else f"by {one.max_rel:.3g} of the largest answer"
        if measured and (one.max_rel is None or one.max_rel > most):
            sizes = ", ".join(map(str, measured.batch_sizes))
            found.append(
                f"output {output!r} of the checkpoint itself depends on the batch size: its answers to the first rows move "
                f"{moved} between batches of {sizes} rows; look for statistics over the batch in the model"
            )
    return found


def compared(reference: Arrays, candidate: Arrays) -> dict[str, OutputStats]:
    """Statistics of the floating point outputs that both sides have in one shape."""
    found = {}
    for name, left in reference.items():
        right = candidate.get(name)
        if right is not None and left.dtype.kind == right.dtype.kind == "f" and left.shape == right.shape and left.ndim:
            ids = [str(row) for row in range(len(left))]
            found[name] = OutputStats.compare(reference=left, candidate=right, ids=ids, first_row=0)
    return found


def max_differences(stats: Mapping[str, OutputStats]) -> dict[str, OutputNoise]:
    """Noise by output: None where one side is NaN or infinite and the other is not."""
    reports = {name: one.report() for name, one in stats.items()}
    return {
        name: OutputNoise(max_abs=None, max_rel=None)
        if one["nonfinite_mismatch"]
        else OutputNoise(max_abs=one["max_abs"], max_rel=one["max_rel"])
        for name, one in reports.items()
    }
