"""Pairing arrays of a file with variables of a model by their names, without any library."""

from __future__ import annotations

import re

import hypothesis
import hypothesis.strategies as st
import pytest

from liteferry.loading.weights.names import LayerNames, NoMatchError, Slot, match, side_by_side

SQUARE, NARROW = (4, 4), (4, 2)
GIVEN = LayerNames()
COUNTED = LayerNames(counted={"dense": "dense", "dense_1": "dense"})
IN_LINE = LayerNames(counted=COUNTED.counted, turns={"dense": ("model", 1), "dense_1": ("model", 0)})


def slots(*names: str, shape: tuple[int, ...] = SQUARE) -> list[Slot]:
    return [Slot(name=name, shape=shape) for name in names]


def paired(stored: list[Slot], wanted: list[Slot], names: LayerNames = GIVEN) -> dict[str, str]:
    matching = match(stored, wanted, names)
    return {slot.name: stored[place].name for slot, place in zip(wanted, matching.places, strict=True)}


@hypothesis.given(st.permutations(["a/kernel", "a/bias", "b/kernel", "base/c/kernel", "base/d/kernel"]))
def test_given_names_decide_in_any_order(order: list[str]) -> None:
    stored = slots("a/kernel", "a/bias", "b/kernel", "base/c/kernel", "base/d/kernel")
    assert paired(stored, slots(*order)) == {name: name for name in order}


def test_counted_names_agree_by_their_turn_where_the_wiring_tells() -> None:
    stored, wanted = slots("dense_4/kernel", "dense_5/kernel"), slots("dense/kernel", "dense_1/kernel")
    assert paired(stored, wanted, IN_LINE) == {"dense/kernel": "dense_4/kernel", "dense_1/kernel": "dense_5/kernel"}
    assert match(stored, wanted, IN_LINE).notes == ("dense, dense_1 from dense_4, dense_5, by their turn",)


def test_counted_names_agree_by_their_shapes_in_any_order() -> None:
    stored = [*slots("dense_4/kernel"), *slots("dense_5/kernel", shape=NARROW)]
    wanted = [*slots("dense/kernel", shape=NARROW), *slots("dense_1/kernel")]
    assert paired(stored, wanted, COUNTED) == {"dense/kernel": "dense_5/kernel", "dense_1/kernel": "dense_4/kernel"}


def test_equal_counted_names_in_equal_order_agree() -> None:
    same = slots("dense/kernel", "dense_1/kernel")
    assert paired(same, same, COUNTED) == {"dense/kernel": "dense/kernel", "dense_1/kernel": "dense_1/kernel"}


@pytest.mark.parametrize(
    ("stored", "wanted", "names", "why"),
    [
        (["dense_4/k", "dense_5/k"], ["dense/k", "dense_1/k"], COUNTED, "dense and dense_1 have equal shapes"),
        (["dense/k", "dense_1/k"], ["dense_1/k", "dense/k"], COUNTED, "counted in another order"),
        (["mean/k", "scale/k"], ["mu/k", "sigma/k"], LayerNames(), "the file has mean, scale where the model has mu, sigma"),
        (["mean/k", "scale/k"], ["scale/k", "std/k"], LayerNames(), "the file has mean where the model has std"),
        (
            ["mean/k", "dense_1/k"],
            ["dense/k", "dense_1/k"],
            COUNTED,
            "the file has mean, dense_1 where the model has dense, dense_1",
        ),
        (["n/gamma", "n/beta"], ["n/beta", "n/shift"], LayerNames(), "the file has gamma where the model has shift"),
        (["a/k", "b/k"], ["a/k"], LayerNames(), "the file holds 2 arrays, the model has 1 variables"),
        (["a/k", "a/k"], ["a/k", "a/k"], LayerNames(), "in it the file has k, k where the model has k, k"),
    ],
    ids=[
        "could change places",
        "other order",
        "renamed alike",
        "a chain of names",
        "one named since",
        "array renamed",
        "one too many",
        "one name twice",
    ],
)
def test_what_names_do_not_say_is_not_guessed(stored: list[str], wanted: list[str], names: LayerNames, why: str) -> None:
    with pytest.raises(NoMatchError, match=re.escape(why)):
        match(slots(*stored), slots(*wanted), names)


def test_one_name_with_another_shape_is_refused() -> None:
    with pytest.raises(NoMatchError, match=re.escape("y/k has the shape [4, 2] in the file, [4, 4] in the model")):
        match([*slots("h/k"), *slots("y/k", shape=NARROW)], slots("h/k", "y/k"), LayerNames())


def test_a_renamed_layer_is_found_where_only_one_place_fits() -> None:
    stored, wanted = [*slots("old/k"), *slots("y/k", shape=NARROW)], [*slots("new/k"), *slots("y/k", shape=NARROW)]
    assert paired(stored, wanted)["new/k"] == "old/k"
    assert match(stored, wanted, LayerNames()).notes == ("new from old, by its shapes",)


def test_scopes_that_versions_add_do_not_count() -> None:
    assert paired(slots("both/f/kernel", "both/b/kernel"), slots("both/f/cell/kernel", "both/b/cell/kernel")) == {
        "both/f/cell/kernel": "both/f/kernel",
        "both/b/cell/kernel": "both/b/kernel",
    }


def test_differences_stand_side_by_side_nearest_first() -> None:
    stored, wanted = slots("enc/dense/kernel", "dec/dense/kernel", "extra/kernel"), slots("dec/dens/kernel", "enc/dense/kernel")
    assert side_by_side(stored, wanted) == (
        "file: dec/dense/kernel [4, 4] / model: dec/dens/kernel [4, 4]; file: extra/kernel [4, 4] / model: nothing"
    )
