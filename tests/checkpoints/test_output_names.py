"""Names of outputs: as many as there are tensors, whatever the structure and whatever the names."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from liteferry.loading.output_names import named_outputs, unique

Boxes = collections.namedtuple("Boxes", ["boxes", "scores"])  # what models return


@dataclasses.dataclass
class Answer:
    logits: Any
    hidden: Any = None


@pytest.mark.parametrize(
    ("outputs", "given", "named"),
    [
        (1, [], {"output_0": 1}),
        (1, ["dense"], {"dense": 1}),
        ([1, 2], [], {"output_0": 1, "output_1": 2}),
        ([1, None, 2], [], {"output_0": 1, "output_2": 2}),
        ([1, 2, 3], ["dense", "dense", "dense_1"], {"dense": 1, "dense_2": 2, "dense_1": 3}),
        ([1, 2], ["dense", "dense"], {"dense": 1, "dense_1": 2}),
        ({"a": 1, "b": [2, {"c": 3}]}, ["x"], {"a": 1, "b/0": 2, "b/1/c": 3}),
        ({"head": {"a": 1}, "head/a": 2}, [], {"head/a": 1, "head/a_1": 2}),
        ({"head/a_1": 0, "head": {"a": 1}, "head/a": 2}, [], {"head/a_1": 0, "head/a": 1, "head/a_2": 2}),
        ({1: 1, "1": 2}, [], {"1": 1, "1_1": 2}),
        (Boxes(1, [2, 3]), [], {"boxes": 1, "scores/0": 2, "scores/1": 3}),
        ((1, Boxes(2, 3)), [], {"output_0": 1, "output_1/boxes": 2, "output_1/scores": 3}),
        (Answer(logits=1), [], {"logits": 1}),
        ((1, [2]), ["one", "two"], {"one": 1, "two": 2}),
        ({}, [], {}),
    ],
)
def test_every_tensor_has_a_name_of_its_own(outputs: Any, given: list[str], named: dict[str, int]) -> None:
    assert named_outputs(outputs, given) == named


STRUCTURES = st.recursive(
    st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "a_1", "a/0", "0"]), inner, max_size=3),
    max_leaves=12,
)


@hypothesis.given(STRUCTURES)
def test_no_tensor_is_lost_in_any_structure(outputs: Any) -> None:
    def leaves(node: Any) -> list[int]:
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else None
        return [node] if children is None else [leaf for child in children for leaf in leaves(child)]

    assert list(named_outputs(outputs, []).values()) == leaves(outputs)


@hypothesis.given(st.lists(st.sampled_from(["a", "a_1", "a_2", "a_1_1", "b"]), max_size=8))
def test_unique_names_are_unique_and_the_first_of_a_name_keeps_it(names: list[str]) -> None:
    found = unique(names)
    assert len(set(found)) == len(names)
    assert all(found[names.index(name)] == name for name in set(names))
