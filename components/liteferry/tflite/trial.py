"""Tries a quantised file on a few rows: whether it runs, whether its errors are near its gates, and whether its format is
right.

A trial only chooses among ways to make a variant. The evaluation judges the file, on all rows and by all gates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from liteferry.errors import ModelError, Reason, ReasonCode, Stage
from liteferry.loading.call_groups import is_uneven
from liteferry.parity import claims
from liteferry.parity.gate_limits import resolve_gates
from liteferry.parity.output_stats import OutputStats
from liteferry.tflite import held_quantized, runners

Arrays = Mapping[str, np.ndarray]
_REACH_DB = 3.0  # a few rows cannot decide the last decibels
_AGREEMENT = "sqnr_db"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tried:
    """The result of a trial. `reason`: why another way should be tried, else None. `margin_db`: by how much the noise of the
    worst output is below what the gates allow; minus infinity for a file that does not run.
    """

    reason: Reason | None
    margin_db: float = float("-inf")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """A few rows by input name with the model's answers to them by output name. `gates`: the job's, by variant. `like`:
    variant -> the one whose default gates count. `kinds`: output -> `regression` or `classes`, where the job says.
    """

    rows: Arrays
    expected: Arrays
    per_call: tuple[str, ...] = ()
    gates: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    like: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def of(self, variant: str, content: bytes) -> Tried:
        """Tries one file under a variant's name."""
        try:
            observed = runners.LiteRTRunner(content, per_call=self.per_call).run(self.rows)
        except ModelError as error:
            return Tried(reason=error.reason)
        margin, output = min(self._margins(variant, observed), default=(float("inf"), ""))
        unmet = unheld(variant, content) if variant not in self.like else None
        if unmet is not None:
            return Tried(reason=unmet, margin_db=margin)
        if margin >= -_REACH_DB:
            return Tried(reason=None, margin_db=margin)
        message = (
            f"runs, but on {_rows_of(self.rows)} rows output {output!r} is {-margin:.1f} dB short of its gate on {_AGREEMENT}"
        )
        return Tried(reason=_out_of_reach(message), margin_db=margin)

    def _margins(self, variant: str, observed: Arrays) -> list[tuple[float, str]]:
        gates = resolve_gates(variant, self.gates, like=self.like.get(variant))
        found = []
        for name, wanted in self.expected.items():
            limit = gates.limits_of(name).get(_AGREEMENT)
            if name in self.per_call or is_uneven(wanted) or wanted.dtype.kind != "f":
                continue
            seen = observed.get(name)
            if seen is None or seen.shape != wanted.shape or not np.array_equal(np.isfinite(seen), np.isfinite(wanted)):
                found.append((float("-inf"), name))
            elif limit is not None:
                found.append((_sqnr_db(wanted, seen) - limit.limit, name))
        return found


def unheld(variant: str, content: bytes) -> Reason | None:
    """Why a file's format does not match its name; None if it does, or if the name claims no format."""
    return claims.unmet(variant, held_quantized.read(content)) if claims.is_claim(variant, ()) else None


def _sqnr_db(expected: np.ndarray, observed: np.ndarray) -> float:
    """As the gates measure it; infinite where both sides are equal or there is no signal to lose."""
    ids = [str(row) for row in range(len(expected))]
    measured = OutputStats.compare(reference=expected, candidate=observed, ids=ids, rows=np.arange(len(ids))).report()[_AGREEMENT]
    return float("inf") if measured is None else float(measured)


def _rows_of(rows: Arrays) -> int:
    return len(next(iter(rows.values()), ()))


def _out_of_reach(message: str) -> Reason:
    return Reason(code=ReasonCode.PARITY_OUT_OF_TOLERANCE, stage=Stage.CONVERT, message=message)
