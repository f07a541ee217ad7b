"""The search for the smallest mix: the ladder it climbs, what it may look at, and that it takes nothing that does not hold."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.tflite import auto_search, mixes
from liteferry.tflite.auto_search import AutoOptions, Found, Judged, Judges
from liteferry.tflite.mixes import FORMATS, Weighted

OPTIONS = AutoOptions(candidates=200, seconds=60)


class PlantedMaker:
    """Files whose size and noise are what the planted operators say: {name: (elements, noise in its smallest format)}."""

    def __init__(self, operators: Mapping[str, tuple[int, float]], *, refuses: str | None = None) -> None:
        self.content = b"float"
        self.operators = {
            name: Weighted(name=name, operator="FULLY_CONNECTED", elements=elements, formats=FORMATS)
            for name, (elements, _) in operators.items()
        }
        self._noise = {name: noise for name, (_, noise) in operators.items()}
        self._refuses = refuses
        self.made: list[dict[str, str]] = []

    def make(self, mix: mixes.Mix) -> bytes:
        self.made.append(dict(mix))
        if self._refuses in mix:
            raise ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, "refused")
        size = sum(self.operators[name].bytes_in(mix.get(name, mixes.FLOAT32)) for name in self.operators)
        return repr(sorted(mix.items())).encode() + b" " * int(size)

    def noise(self, content: bytes) -> float:
        mix = dict(eval(content))  # what `make` has written
        return sum(auto_search._noise_in(self._noise[name], FORMATS, FORMATS.index(held)) for name, held in mix.items())


def judges_of(maker: PlantedMaker, limit: float, *, proof: Callable[[bytes], bool] = lambda _: True) -> Judges:
    def judge(content: bytes) -> Judged:
        holds = maker.noise(content) <= limit
        return Judged(holds=holds, why=None if holds else "too much noise")

    return Judges(
        search=judge,
        proof=lambda content: Judged(holds=judge(content).holds and proof(content)),
        noise_db=lambda content: float("inf") if (noise := maker.noise(content)) == 0 else -10 * math.log10(noise),
    )


def search(maker: PlantedMaker, limit: float, **options: Any) -> Found:
    family = options.pop("family", None)
    proof = options.pop("proof", lambda _: True)
    given = AutoOptions(**options) if options else OPTIONS
    return auto_search.search(maker, judges_of(maker, limit, proof=proof), given, family=family)


FRAGILE = {"large": (4000, 1e-4), "fragile": (400, 10.0), "small": (100, 1e-5)}


def test_what_is_fragile_stays_wide_and_the_rest_is_narrow() -> None:
    found = search(PlantedMaker(FRAGILE), 0.01)
    assert found.mix["large"] == mixes.INT4
    assert FORMATS.index(found.mix["fragile"]) > FORMATS.index(mixes.INT8)
    assert found.is_complete
    by_name = {one.name: one.sqnr_db for one in found.sensitivity}
    assert min(by_name, key=by_name.__getitem__) == "fragile"


@pytest.mark.parametrize("limit", [0.0, 1e-6, 3e-4, 1e-2, 1.0, 100.0])
def test_what_is_found_holds_and_is_hardly_larger_than_the_best_of_all(limit: float) -> None:
    """Held against every mix there is: 64 of them."""
    maker = PlantedMaker(FRAGILE)
    found = search(maker, limit)
    assert found.content is not None
    assert maker.noise(found.content) <= limit
    names = list(FRAGILE)
    mixes_there = [dict(zip(names, held, strict=True)) for held in itertools.product(FORMATS, repeat=len(names))]
    best = min(
        sum(maker.operators[name].bytes_in(held) for name, held in mix.items())
        for mix in mixes_there
        if maker.noise(repr(sorted(mix.items())).encode()) <= limit
    )
    taken = sum(maker.operators[name].bytes_in(held) for name, held in found.mix.items())
    assert taken <= 1.15 * best


def test_rows_of_proof_overrule_the_search() -> None:
    """Nothing narrower than float16 is proven, whatever the search rows say."""

    def proof(content: bytes) -> bool:
        return all(held in (mixes.FLOAT16, mixes.FLOAT32) for held in dict(eval(content)).values())

    found = search(PlantedMaker(FRAGILE), 100.0, proof=proof)
    assert found.content is not None
    assert set(found.mix.values()) <= {mixes.FLOAT16, mixes.FLOAT32}
    assert any(one.on == "proof" and not one.holds for one in found.tried)


def test_where_nothing_holds_nothing_is_taken() -> None:
    assert search(PlantedMaker(FRAGILE), 1.0, proof=lambda _: False).content is None


def test_a_sibling_takes_the_mix_of_its_family_at_the_cost_of_two_files() -> None:
    first = search(PlantedMaker(FRAGILE), 0.01)
    sibling = PlantedMaker(FRAGILE)
    found = search(sibling, 0.01, family=first.mix)
    assert (found.mix, found.from_family) == (first.mix, True)
    assert found.candidates_made <= 2
    assert first.candidates_made + 15 * found.candidates_made <= 16 * first.candidates_made / 3


@pytest.mark.parametrize("is_proven", [True, False])
def test_a_sibling_of_a_fragile_model_gets_a_smaller_mix_if_its_largest_operator_allows(is_proven: bool) -> None:
    """The first of the family needed int8 throughout; this one needs it nowhere."""
    family = dict.fromkeys(FRAGILE, mixes.INT8)
    sibling = PlantedMaker(dict.fromkeys(FRAGILE, (1000, 1e-6)) | {"large": (4000, 1e-6)})

    def proof(content: bytes) -> bool:
        return is_proven or mixes.INT4 not in dict(eval(content)).values()

    found = search(sibling, 0.01, family=family, proof=proof)
    assert found.from_family
    assert found.mix == (family | {"large": mixes.INT4} if is_proven else family)
    assert found.candidates_made == 2


def test_a_sibling_on_which_the_mix_of_its_family_fails_gets_its_own() -> None:
    first = search(PlantedMaker(FRAGILE), 0.01)
    other = PlantedMaker({**FRAGILE, "large": (4000, 5.0)})
    found = search(other, 0.01, family=first.mix)
    assert not found.from_family
    assert found.content is not None
    assert other.noise(found.content) <= 0.01


def test_the_number_of_candidates_is_a_limit_and_said() -> None:
    found = search(PlantedMaker({f"op{place}": (100 + place, 1.0) for place in range(30)}), 1e-3, candidates=5, seconds=60)
    assert found.candidates_made <= 7, "five, and what the proof of the last needs"
    assert not found.is_complete


def test_a_mix_that_cannot_be_made_is_passed_by() -> None:
    found = search(PlantedMaker(FRAGILE, refuses="nobody"), 100.0)
    assert found.content is not None
    assert search(PlantedMaker(FRAGILE, refuses="large"), 100.0).content is None, "not even float32 can be made of it"


def test_the_same_model_gets_the_same_mix() -> None:
    assert search(PlantedMaker(FRAGILE), 1e-3) == search(PlantedMaker(FRAGILE), 1e-3)


def test_a_file_on_trained_ranges_is_tried_first_and_taken_if_it_holds() -> None:
    maker = PlantedMaker(FRAGILE)
    trained = repr(sorted(dict.fromkeys(FRAGILE, mixes.FLOAT32).items())).encode()  # no noise
    found = auto_search.search(maker, judges_of(maker, 0.01), OPTIONS, trained=trained)
    assert (found.content, found.mix, found.has_trained_ranges, found.candidates_made) == (trained, {}, True, 1)
    assert maker.made == []


@pytest.mark.parametrize("on", ["search", "proof"])
def test_a_file_on_trained_ranges_that_does_not_hold_is_passed_by(on: str) -> None:
    maker = PlantedMaker(FRAGILE)
    noisy = repr(sorted(dict.fromkeys(FRAGILE, mixes.INT4).items())).encode()
    proof = {"search": lambda _: True, "proof": lambda content: content != noisy}[on]
    limit = {"search": 0.01, "proof": 100.0}[on]
    found = auto_search.search(maker, judges_of(maker, limit, proof=proof), OPTIONS, trained=noisy)
    assert not found.has_trained_ranges
    assert found.content is not None
    assert found.content != noisy


def test_operators_that_share_their_weights_have_one_format() -> None:
    """The quantizer refuses to hold one buffer in two formats."""
    maker = PlantedMaker({**FRAGILE, "again": (400, 10.0)})
    for name in ("fragile", "again"):
        maker.operators[name] = dataclasses.replace(maker.operators[name], buffer=7)
    found = search(maker, 0.01)
    assert found.mix["fragile"] == found.mix["again"] != mixes.FLOAT32
    assert found.mix["large"] == mixes.INT4
    tried_apart = [mix for mix in maker.made if len(mix) == 4 and mix["fragile"] != mix["again"]]
    assert len(tried_apart) <= auto_search._DEMOTIONS, "but for the last attempts, one operator at a time"
