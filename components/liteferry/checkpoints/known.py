"""A cache for processes that examine many checkpoints, since siblings differ only in their numbers.

Used only for reading (`detection.look`): a checkpoint that will be loaded is always scanned completely.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

from liteferry.json_records import parse

_MOST_CONFIGS, _MOST_CONFIG_BYTES, _MOST_LAYOUTS = 128, 2**20, 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """An HDF5 file whose arrays lie in one piece each: `data`, (start, size) of each in order; `around`, the digest of all other
    bytes. A file of the same size with the same bytes around the same places has the same structure.
    """

    size: int
    data: tuple[tuple[int, int], ...]
    around: str

    @classmethod
    def of(cls, content: memoryview, data: Sequence[tuple[int, int]]) -> Layout | None:
        """The layout of a file; None if arrays overlap, since a byte would then belong to both."""
        places = tuple(sorted(data))
        ends = [start + size for start, size in places]
        if any(end > start for end, (start, _) in zip(ends, places[1:], strict=False)) or any(end > len(content) for end in ends):
            return None
        return cls(size=len(content), data=places, around=_around(content, places))

    def is_of(self, content: memoryview) -> bool:
        """Whether a file's bytes have this layout."""
        return self.size == len(content) and _around(content, self.data) == self.around


def _around(content: memoryview, data: Sequence[tuple[int, int]]) -> str:
    digest = hashlib.sha256()
    starts = [0, *(start + size for start, size in data)]
    stops = [*(start for start, _ in data), len(content)]
    for start, stop in zip(starts, stops, strict=True):
        digest.update(content[start:stop])
    return digest.hexdigest()


class Known:
    """Architectures and layouts of weights that were read before. An architecture that occurs again is returned as the same
    object.
    """

    def __init__(self) -> None:
        self._configs: dict[bytes, Any] = {}
        self._layouts: list[Layout] = []
        self._facts: dict[int, dict[str, Any]] = {}

    def config(self, text: bytes) -> Any:
        """The parsed JSON. Raises ValueError as `json_records.parse` does."""
        if text in self._configs:
            return self._configs[text]
        found = parse(text)
        if len(self._configs) < _MOST_CONFIGS and len(text) <= _MOST_CONFIG_BYTES:
            self._configs[text] = found
        return found

    def facts_of(self, config: Any) -> dict[str, Any] | None:
        """The facts that `keep` stored for a known architecture."""
        return self._facts.get(id(config)) if self._holds(config) else None

    def keep(self, config: Any, facts: dict[str, Any]) -> None:
        """Stores facts of an architecture."""
        if self._holds(config):
            self._facts[id(config)] = facts

    def _holds(self, config: Any) -> bool:
        return any(config is held for held in self._configs.values())

    def has_layout(self, content: memoryview) -> bool:
        """Whether an HDF5 file with the same bytes, except for the numbers, was checked before."""
        return any(layout.is_of(content) for layout in self._layouts)

    def add_layout(self, content: memoryview, data: Sequence[tuple[int, int]] | None) -> None:
        """Stores a file that was checked. `data`: the places of its arrays; None if an array is stored in several pieces."""
        layout = Layout.of(content, data) if data is not None and len(self._layouts) < _MOST_LAYOUTS else None
        if layout is not None:
            self._layouts.insert(0, layout)
