"""Which models there are: every architecture in every kind of file, builders that were refactored, fleets with an odd member, and
models at random.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from tests.campaigns.truth import plain_models
from tests.campaigns.truth.files import OF_LIBRARY, WITH_BUILDER

ODD_MEMBER = 2
FLEET_SIZE = 4
_LARGER = {"statistics": 16}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One checkpoint: its architecture, who writes it, the kind of its file, and what is particular about it."""

    architecture: str
    library: str
    file: str
    change: str = ""  # how the builder was refactored since the weights were saved
    fleet: str = ""  # what is odd about one member of its fleet
    member: int = 0
    own_code: bool = False
    is_lite: bool = True

    @property
    def name(self) -> str:
        parts = [self.architecture, self.change, self.fleet, f"{self.member}" if self.fleet else "", self.file]
        return "__".join(part for part in parts if part)

    @property
    def is_odd(self) -> bool:
        return bool(self.fleet) and self.member == ODD_MEMBER

    @property
    def group(self) -> str:
        """What is one row of the table."""
        if self.fleet or self.change:
            return "fleets" if self.fleet else "builders"
        return "random" if self.architecture.startswith("random_") else "table"


# Fleet: what of its odd member is another -> architectures, one for each kind of state. `state`: adapted to other data.
# `statistics`: its moving mean, where all else but the last bias is the same. `dropped`: its file lacks an array. `swapped`: two
# layers of one shape change their places in its file, names and all. `weights`: its weights alone.
FLEETS = {
    "state": (
        "normalization",
        "normalization_nested",
        "string_lookup",
        "integer_lookup",
        "discretization",
        "own_table",
        "own_asset",
        "own_derived",
    ),
    "statistics": ("batch_normalisation",),
    "dropped": ("dense_named", "batch_normalisation", "nested_and_frozen", "lstm"),
    "swapped": ("dense_equal_shapes", "own_experts"),
    "weights": ("separable", "bidirectional", "multi_head_attention", "spectral", "trained", "own_subclassed"),
}
_FLEET_FILES = {
    "state": ("keras", "h5", "weights_h5"),
    "statistics": ("keras", "h5"),
    "dropped": ("h5", "weights_h5", "legacy_weights"),
    "swapped": ("legacy_weights",),
    "weights": ("keras", "h5", "weights_h5"),
}


def units(library: str, *, random_models: int) -> list[list[Case]]:
    """All cases of a library, in an order that does not change; a fleet, which belongs into one job, is one unit."""
    if library == "tensorflow":
        return [[Case(architecture=name, library=library, file="saved_model")] for name in plain_models.TABLE]
    return [[case] for case in _alone(library, random_models)] + list(_fleets(library))


def chosen(library: str, *, part: int, parts: int, random_models: int, only: Sequence[str] = ()) -> list[Case]:
    """Every so-manieth unit of those whose cases a pattern of `only` names, so that each part is a cross-section."""
    every = units(library, random_models=random_models)
    if only:
        every = [unit for unit in every if any(fnmatch.fnmatch(case.name, pattern) for case in unit for pattern in only)]
    return [case for unit in every[part::parts] for case in unit]


def _alone(library: str, random_models: int) -> Iterator[Case]:
    table = _table(library)
    kinds = OF_LIBRARY[library]
    for name, one in table.items():
        facts = {"own_code": one.own_code, "is_lite": one.is_lite}
        for file in kinds if one.files is None else one.files or ("legacy_weights", "weights_h5", "checkpoint"):
            if file in kinds and not (file == "saved_model" and name.startswith("own_") and library == "keras"):
                yield Case(architecture=name, library=library, file=file, **facts)
    yield from _refactored(library)
    for seed in range(random_models):
        yield Case(architecture=f"random_{seed}", library=library, file=kinds[seed % len(kinds)])


def _table(library: str) -> dict[str, Any]:
    """The architectures that this library has. They are the user's files, beside the job, and need the library."""
    for module in ("truth_state", "truth_shapes", "truth_more", "truth_changes"):
        importlib.import_module(module)
    table = importlib.import_module("truth_models").TABLE
    return {name: one for name, one in table.items() if one.only in (None, library)}


def _refactored(library: str) -> Iterator[Case]:
    for name, changes in importlib.import_module("truth_changes").CHANGES.items():
        for change in changes:
            for file in WITH_BUILDER:
                if file in OF_LIBRARY[library]:
                    yield Case(architecture=name, library=library, file=file, change=change)


def _fleets(library: str) -> Iterator[list[Case]]:
    table = _table(library)
    for odd, names in FLEETS.items():
        for name in names:
            one = table[name]
            for file in _FLEET_FILES[odd]:
                if one.files is None or file in one.files:
                    alike: dict[str, Any] = {"architecture": name, "library": library, "file": file, "fleet": odd}
                    facts = {"own_code": one.own_code, "is_lite": one.is_lite}
                    yield [Case(**alike, **facts, member=member) for member in range(_LARGER.get(odd, FLEET_SIZE))]
