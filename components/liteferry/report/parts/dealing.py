"""Deals a fleet's reports into parts by ranges of model ids, and packs reports for the way between processes."""

from __future__ import annotations

import bisect
import dataclasses
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

MOST_IN_ONE_FILE = 5_000
"""A fleet of more models has its rows in parts. Read at each call, so that tests can set it."""
MODELS_IN_A_PART = 1_000

Packed = tuple[str, bytes]


def pack(entry: Mapping[str, Any], model_id: str | None = None) -> Packed:
    """(model_id, the fleet table's entry as compressed JSON): a sixth of its size, and what a runner holds in memory for each
    model of the fleet while it waits for the last one. `model_id`: by default the entry's own.
    """
    return model_id or str(entry["model_id"]), zlib.compress(json.dumps(entry, default=str).encode(), 1)


def unpack(packed: Packed) -> dict[str, Any]:
    """The entry that `pack` got."""
    entry: dict[str, Any] = json.loads(zlib.decompress(packed[1]))
    return entry


@dataclasses.dataclass(frozen=True)
class Deal:
    """How a fleet is dealt. `firsts`: the first model id of each part but the first one, in order; `is_large`: whether the rows
    are in parts.
    """

    is_large: bool
    firsts: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return len(self.firsts) + 1

    def part_of(self, model_id: str) -> int:
        """The number of the part that a model belongs to, in this run or in an earlier one."""
        return bisect.bisect_right(self.firsts, model_id)

    def span(self, number: int) -> Span:
        """The model ids of a part: every id belongs to exactly one span, also of models that are gone."""
        low = self.firsts[number - 1] if number else None
        return Span(low=low, high=self.firsts[number] if number < len(self.firsts) else None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Span:
    """Model ids from `low` on, and below `high`; None is open."""

    low: str | None
    high: str | None

    def __contains__(self, model_id: str) -> bool:
        return (self.low is None or model_id >= self.low) and (self.high is None or model_id < self.high)

    def meets(self, first: str, last: str) -> bool:
        """Whether some id from `first` to `last`, both included, may be in the span."""
        return (self.low is None or last >= self.low) and (self.high is None or first < self.high)


EVERYTHING = Span(low=None, high=None)


def deal(model_ids: Iterable[str]) -> Deal:
    """The deal of a fleet with these models, each of which counts once. It depends on nothing but the ids."""
    ids = sorted(set(model_ids))
    if len(ids) <= MOST_IN_ONE_FILE:
        return Deal(is_large=False)
    return Deal(is_large=True, firsts=tuple(ids[MODELS_IN_A_PART::MODELS_IN_A_PART]))


def in_parts(packed: Iterable[Packed], dealt: Deal) -> Iterator[tuple[int, list[Packed]]]:
    """(number, its models) of every part that has one, in order. A model that comes twice counts once."""
    groups: list[dict[str, Packed]] = [{} for _ in range(dealt.count)]
    for one in packed:
        groups[dealt.part_of(one[0])][one[0]] = one
    for number, group in enumerate(groups):
        if group:
            yield number, list(group.values())


def once(packed: Sequence[Packed]) -> list[dict[str, Any]]:
    """The entries of one part in order of model ids; of a model that comes twice, the last one."""
    return [unpack(one) for _, one in sorted({one[0]: one for one in packed}.items())]
