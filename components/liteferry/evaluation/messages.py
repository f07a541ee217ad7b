"""The messages that the units of `evaluation.measure` hand over: one record each, sent as JSON, types checked on arrival."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from liteferry.errors import Reason
from liteferry.json_records import decode_tagged
from liteferry.parity.noise import NoiseFloor


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowsInspected:
    """`RowsSeen.to_json` of the sample rows of one shard."""

    model_id: str
    rows_seen: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CandidateMeasured:
    """One candidate on all rows of one shard, or up to its first error (`reason`).

    `stats`: output -> `OutputStats.to_json`. `slices`: (columns, `Slices.to_json`). `worst_rows`: rows to show, see
    `worst_inputs`. `seconds`: wall time since the last message. `arena_bytes`: of a candidate that ran as on a microcontroller.
    """

    model_id: str
    candidate: str
    stats: Mapping[str, Any]
    slices: Sequence[tuple[tuple[str, ...], Mapping[str, Any]]]
    reason: Reason | None
    worst_rows: Sequence[dict[str, Any]]
    rows_per_s: float | None
    seconds: float
    arena_bytes: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwinMeasured:
    """How far the float32 twin is from the checkpoint, on all rows of one shard: output -> `OutputStats.to_json`."""

    model_id: str
    stats: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostMeasured:
    """Latency and memory of a variant: see `latency.measure` and `latency.least_arena_bytes`."""

    model_id: str
    candidate: str
    latency_ms: Mapping[str, Any]
    activation_bytes: int | None
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseMeasured:
    """The noise floor of the float32 file; None if the file cannot run; its own result then says why."""

    model_id: str
    noise: NoiseFloor | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeakMeasured:
    """The largest resident memory of the process while it worked on this model, one of several siblings; None if the kernel does
    not say.
    """

    model_id: str
    peak_memory_bytes: int | None


Message = RowsInspected | TwinMeasured | CandidateMeasured | CostMeasured | NoiseMeasured | PeakMeasured
_KINDS = (RowsInspected, TwinMeasured, CandidateMeasured, CostMeasured, NoiseMeasured, PeakMeasured)


def read(results: Iterable[Any]) -> list[Message]:
    """The messages among the results of a sandbox. Raises ValueError for a result that is none of them."""
    return [decode_tagged(_KINDS, result) for result in results]


def seconds_of(messages: Iterable[Message]) -> float:
    """The resources that the messages report; what they do not report is left out."""
    return sum(one.seconds for one in messages if isinstance(one, CandidateMeasured | CostMeasured))
