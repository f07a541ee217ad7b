"""The base class of statistics. A statistic is computed from one block of answers, can be merged, and reports metrics at the
end.

A statistic is one subclass of `Statistic` in one file of this folder; no other file has to name it. Its metrics contain
everything that other rooms need: the gate with its defaults, the row on a model's page, the key in report.json, and the line in
docs/gates.md.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

AT_MOST, AT_LEAST = "max", "min"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """One number of a report.

    `name`: its key. `title`: its row on a model's page. `meaning`: its description in docs/gates.md. `gate`: AT_MOST, AT_LEAST,
    or None for a number that no gate can be put on. `defaults`: variant -> limit, for floating point outputs. `is_share`:
    whether the page writes it as a percentage.
    """

    name: str
    title: str
    meaning: str
    gate: str | None = AT_MOST
    defaults: Mapping[str, float] = dataclasses.field(default_factory=dict)
    is_share: bool = False

    def docs_row(self) -> str:
        """Its row in the table of docs/gates.md."""
        gate = {AT_MOST: "at most", AT_LEAST: "at least", None: ""}[self.gate]
        return f"| `{self.name}` | {gate} | {self.meaning} |"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Some rows of one output of numbers: (rows, elements) float64 matrices.

    Where one side is not finite, `reference`, `candidate` and `distances` are 0, and `excluded` is True; it is None where all are
    finite. `distances`: absolute differences, of integers exact.
    """

    reference: npt.NDArray[np.float64]
    candidate: npt.NDArray[np.float64]
    distances: npt.NDArray[np.float64]
    excluded: npt.NDArray[np.bool_] | None

    def included(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The values of elements that are finite on both sides."""
        return values if self.excluded is None else values[~self.excluded]


class Statistic(abc.ABC):
    """A mergeable statistic of one output. Instances are frozen; `a + b` is the same to the last bit in any order of merging."""

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]

    @classmethod
    @abc.abstractmethod
    def zero(cls) -> Self:
        """The statistic of no rows: adding it changes nothing."""

    @classmethod
    @abc.abstractmethod
    def of(cls, block: Block) -> Self:
        """The statistic of one block."""

    @abc.abstractmethod
    def __add__(self, other: Self) -> Self:
        """The statistic of the rows of both."""

    @abc.abstractmethod
    def to_json(self) -> Any:
        """A JSON value that `from_json` turns into an equal statistic; floats in hex where they may be infinite."""

    @classmethod
    @abc.abstractmethod
    def from_json(cls, encoded: Any) -> Self:
        """The inverse of `to_json`."""

    @abc.abstractmethod
    def report(self) -> dict[str, float | int | None]:
        """Metric name -> value: finite, or None where it is not defined."""
