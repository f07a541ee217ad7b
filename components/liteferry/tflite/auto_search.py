"""The search behind the variant `auto`: the smallest mix of formats whose file is within its gates.

Each operator's sensitivity is measured, one at a time: how much noise its weights in their smallest format add to the answers.
From these a ladder of mixes is built, from the smallest to float32: each rung widens the format of the operator whose widening
removes the most noise per byte. The lowest rung within the gates on the search rows is found by bisection, and must also be
within the gates on the proof rows; if it is not, the search goes up. Everything is in one order and nothing is random: the same
model gets the same file.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from liteferry.errors import ModelError
from liteferry.tflite import mixes
from liteferry.tflite.mixes import Mix, Weighted

_MOST_UNITS = 24  # operators measured one by one; the smaller ones are measured together
_BIT_DB = 6.02  # one bit less doubles the error
_DEMOTIONS = 6
_DEMOTIONS_OF_A_FAMILY = 1  # with 16 siblings a fifth of what they would make alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoOptions:
    """`candidates`: files that are made and run at most. `seconds`: after this time the best mix so far is used."""

    candidates: int = 64
    seconds: float = 300.0


class Maker(Protocol):
    """Makes the files of mixes; implemented by `mixes.Maker`. `operators`: by name, those whose format can be chosen."""

    operators: dict[str, Weighted]

    def make(self, mix: Mix) -> bytes:
        """Raises ModelError where the quantizer refuses."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """`holds`: whether every gate is met. `why`: the first that is not."""

    holds: bool
    why: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judges:
    """Judges on the search rows, and on the proof rows. `noise_db`: signal to noise of a file, of its worst output, on a few
    rows.
    """

    search: Callable[[bytes], Judged]
    proof: Callable[[bytes], Judged]
    noise_db: Callable[[bytes], float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """How much one operator's weights matter: `sqnr_db` of the answers when they alone are in `format`."""

    operator: str
    name: str
    elements: int
    format: str
    sqnr_db: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A mix that was tried. `bytes`: of its file, None if none could be made. `holds`: on which rows its gates are met."""

    formats: Mapping[str, int]
    bytes: int | None
    holds: bool
    on: str
    why: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """The result of a search. `content` is None if not even float32 meets the gates. `candidates_made`: the number of files
    made.
    """

    content: bytes | None
    mix: Mix
    sensitivity: tuple[Sensitivity, ...]
    tried: tuple[Candidate, ...]
    candidates_made: int
    is_complete: bool
    from_family: bool = False
    has_trained_ranges: bool = False


def search(
    maker: Maker, judges: Judges, options: AutoOptions, *, family: Mix | None = None, trained: bytes | None = None
) -> Found:
    """Finds the smallest mix that holds.

    Args:
      maker: of files.
      judges: of candidates.
      family: the mix found for a sibling; used if it meets the gates on all rows, made smaller at its largest operator where
        that holds as well.
      trained: the int8 file on the ranges that training has found; used at once, likewise. No mix is as small: the quantizer
        passes by weights behind fake-quantisation.
    """
    run = _Search(maker, judges, options)
    if trained is not None and run.is_ready(trained):
        return dataclasses.replace(run.found(trained, {}), has_trained_ranges=True, candidates_made=1)
    if family is not None and family.keys() <= run.operators.keys():
        made = run.try_mix(family)
        if made is not None and run.is_proven(made, family):
            smaller, mix = run.demoted(made, family, most=_DEMOTIONS_OF_A_FAMILY)
            is_better = len(smaller) < len(made) and run.is_proven(smaller, mix)
            return run.found(*((smaller, mix) if is_better else (made, family)), from_family=True)
    rungs = run.rungs()
    for place in run.climb_from(run.lowest_that_holds(rungs), len(rungs)):
        made = run.try_mix(rungs[place])
        if made is None:
            continue
        made, mix = run.demoted(made, rungs[place])
        for content_, mix_ in ((made, mix), (run.file_of(rungs[place]), rungs[place])):
            if content_ is not None and run.is_proven(content_, mix_):
                return run.found(content_, mix_)
    return run.found(None, {})


class _Search:
    """The state of one search: files made, results measured."""

    def __init__(self, maker: Maker, judges: Judges, options: AutoOptions) -> None:
        self.operators = maker.operators
        self._maker = maker
        self._judges = judges
        self._options = options
        self._ends = time.monotonic() + options.seconds
        self._files: dict[tuple[tuple[str, str], ...], bytes | None] = {}
        self._judged: dict[tuple[tuple[str, str], ...], bool] = {}
        self._sensitivity: list[Sensitivity] = []
        self._tried: list[Candidate] = []
        self._was_cut = False

    def is_over(self) -> bool:
        over = len(self._files) >= self._options.candidates or time.monotonic() > self._ends
        self._was_cut = self._was_cut or over
        return over

    def file_of(self, mix: Mix) -> bytes | None:
        key = tuple(sorted(mix.items()))
        if key not in self._files:
            try:
                self._files[key] = self._maker.make(mix)
            except ModelError:
                self._files[key] = None
        return self._files[key]

    def try_mix(self, mix: Mix) -> bytes | None:
        """The mix's file, if it meets the gates on the search rows."""
        key = tuple(sorted(mix.items()))
        made = self.file_of(mix)
        if key not in self._judged:
            judged = Judged(holds=False, why="the quantizer cannot make it") if made is None else self._judges.search(made)
            self._judged[key] = judged.holds
            self._tell(mix, made, judged, on="search")
        return made if self._judged[key] else None

    def is_ready(self, made: bytes) -> bool:
        """Whether a file that is no mix, all int8, meets the gates on all rows."""
        for on, judge in (("search", self._judges.search), ("proof", self._judges.proof)):
            judged = judge(made)
            formats = {mixes.INT8: len(self.operators)}
            self._tried.append(Candidate(formats=formats, bytes=len(made), holds=judged.holds, on=on, why=judged.why))
            if not judged.holds:
                return False
        return True

    def is_proven(self, made: bytes, mix: Mix) -> bool:
        judged = self._judges.proof(made)
        self._tell(mix, made, judged, on="proof")
        return judged.holds

    def _tell(self, mix: Mix, made: bytes | None, judged: Judged, *, on: str) -> None:
        size = None if made is None else len(made)
        self._tried.append(Candidate(formats=_counts(mix), bytes=size, holds=judged.holds, on=on, why=judged.why))

    def rungs(self) -> list[dict[str, str]]:
        """Mixes from the smallest to float32."""
        units = _units(list(self.operators.values()))
        noise = [self._noise(unit) for unit in units]
        mix = {one.name: one.formats[0] for one in self.operators.values()}
        rungs, steps = [dict(mix)], [0] * len(units)
        while True:
            gains = [
                (_gain(unit, noise[place], steps[place]), -place)
                for place, unit in enumerate(units)
                if steps[place] + 1 < len(unit[0].formats)
            ]
            if not gains:
                return rungs
            place = -max(gains)[1]
            steps[place] += 1
            mix |= {one.name: one.formats[min(steps[place], len(one.formats) - 1)] for one in units[place]}
            rungs.append(dict(mix))

    def _noise(self, unit: Sequence[Weighted]) -> float:
        """Noise over signal in the answers when a unit alone is in its smallest format."""
        if self.is_over():
            return 1.0
        mix = {one.name: one.formats[0] for one in unit}
        made = self.file_of(mix)
        found = float("-inf") if made is None else self._judges.noise_db(made)
        is_one = len(unit) == 1 or len({one.buffer for one in unit} - {None}) == 1
        words = unit[0].name if is_one else f"{len(unit)} smaller operators"
        self._sensitivity.append(
            Sensitivity(
                operator=unit[0].operator if is_one else "several",
                name=words,
                elements=unit[0].elements if is_one else sum(one.elements for one in unit),
                format=unit[0].formats[0],
                sqnr_db=found,
            )
        )
        return float(10 ** (-min(max(found, -60.0), 200.0) / 10))

    def lowest_that_holds(self, rungs: Sequence[Mix]) -> int:
        """Finds the lowest rung that holds, by bisection: no lower rung that was tried holds."""
        low, high = -1, len(rungs) - 1
        if self.try_mix(rungs[0]) is not None:
            return 0
        low = 0
        while high - low > 1 and not self.is_over():
            middle = (low + high) // 2
            if self.try_mix(rungs[middle]) is not None:
                high = middle
            else:
                low = middle
        return high

    def climb_from(self, place: int, count: int) -> list[int]:
        """Rungs to prove, upwards in growing steps, float32 last."""
        places, step = [place], 1
        while places[-1] + step < count - 1:
            places.append(places[-1] + step)
            step *= 2
        return list(dict.fromkeys([*places, count - 1]))

    def demoted(self, made: bytes, mix: Mix, *, most: int = _DEMOTIONS) -> tuple[bytes, Mix]:
        """A mix that holds, made smaller where a single operator's next narrower format holds as well, the largest first."""
        best, best_mix, left = made, dict(mix), most
        for one in sorted(self.operators.values(), key=lambda one: (-one.elements, one.name)):
            at = one.formats.index(best_mix[one.name])
            if at == 0 or left == 0 or self.is_over():
                continue
            left -= 1
            smaller = {**best_mix, one.name: one.formats[at - 1]}
            tried = self.try_mix(smaller)
            if tried is not None and len(tried) < len(best):
                best, best_mix = tried, smaller
        return best, best_mix

    def found(self, content: bytes | None, mix: Mix, *, from_family: bool = False) -> Found:
        return Found(
            content=content,
            mix=dict(mix),
            sensitivity=tuple(self._sensitivity),
            tried=tuple(self._tried),
            candidates_made=len(self._files),
            is_complete=not self._was_cut,
            from_family=from_family,
        )


def _units(operators: Sequence[Weighted]) -> list[list[Weighted]]:
    """The largest operators one by one, with those that share their weights; the others together where they have the same
    formats.
    """
    shared: dict[tuple[object, ...], list[Weighted]] = {}
    for one in sorted(operators, key=lambda one: (-one.elements, one.name)):
        shared.setdefault((one.name if one.buffer is None else one.buffer, one.formats), []).append(one)
    units = list(shared.values())[:_MOST_UNITS]
    together: dict[tuple[str, ...], list[Weighted]] = {}
    for unit in list(shared.values())[_MOST_UNITS:]:
        together.setdefault(unit[0].formats, []).extend(unit)
    return [*units, *together.values()]


def _gain(unit: Sequence[Weighted], noise: float, step: int) -> float:
    """The noise that the next format removes, per additional byte."""
    formats = unit[0].formats
    here, there = (_noise_in(noise, formats, at) for at in (step, step + 1))
    cost = sum(one.bytes_in(formats[step + 1]) - one.bytes_in(formats[step]) for one in unit)
    return (here - there) / max(cost, 1.0)


def _noise_in(noise: float, formats: Sequence[str], at: int) -> float:
    """Predicts noise from the noise measured in the smallest format: every additional bit is 6 dB less. float16 has 11
    significant bits.
    """
    if formats[at] == mixes.FLOAT32:
        return 0.0
    bits = {mixes.FLOAT16: 11}
    more = bits.get(formats[at], mixes.BITS[formats[at]]) - bits.get(formats[0], mixes.BITS[formats[0]])
    return float(noise * 10 ** (-_BIT_DB * more / 10))


def _counts(mix: Mix) -> dict[str, int]:
    """Format -> how many operators have it."""
    return {wanted: count for wanted in mixes.FORMATS if (count := sum(one == wanted for one in mix.values()))}
