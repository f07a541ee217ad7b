"""Arrays between processes: what is read is what was written, element for element, whatever NumPy's own format does with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest

from liteferry.sandbox import arrays_file

NARROW = sorted(
    name
    for name in dir(ml_dtypes)
    if isinstance(getattr(ml_dtypes, name), type) and issubclass(getattr(ml_dtypes, name), np.generic)
)


def through_a_file(tmp_path: Path, **arrays: Any) -> dict[str, np.ndarray]:
    path = str(tmp_path / "arrays.npz")
    arrays_file.write(path, arrays)
    return arrays_file.read(path)


def test_there_are_narrow_dtypes_to_try() -> None:
    assert {"bfloat16", "float8_e4m3fn", "int4", "uint4"} <= set(NARROW)


@pytest.mark.parametrize("name", NARROW)
def test_dtypes_of_ml_dtypes_stay(tmp_path: Path, name: str) -> None:
    value = np.arange(6).reshape(2, 3).astype(getattr(ml_dtypes, name))
    found = through_a_file(tmp_path, x=value)["x"]
    assert (found.dtype, found.shape) == (value.dtype, (2, 3))
    assert found.tobytes() == value.tobytes()


@hypothesis.given(st.lists(st.binary() | st.text(st.characters(codec="utf-8")), max_size=8))
def test_text_and_bytes_stay_to_the_last_nul(tmp_path_factory: pytest.TempPathFactory, elements: list[str | bytes]) -> None:
    value = np.empty(len(elements), object)
    value[:] = elements
    found = through_a_file(tmp_path_factory.mktemp("arrays"), text=value)["text"]
    assert found.tolist() == elements
    assert [type(element) for element in found] == [type(element) for element in elements]


@hypothesis.given(
    hypothesis.extra.numpy.arrays(hypothesis.extra.numpy.scalar_dtypes(), hypothesis.extra.numpy.array_shapes(min_dims=0))
)
def test_numpys_own_dtypes_stay(tmp_path_factory: pytest.TempPathFactory, value: np.ndarray) -> None:
    found = through_a_file(tmp_path_factory.mktemp("arrays"), x=value)["x"]
    assert (found.dtype, found.shape, found.tobytes()) == (value.dtype, value.shape, value.tobytes())


def test_arrays_of_unequal_shapes_stay_apart(tmp_path: Path) -> None:
    value = np.empty(3, object)
    value[:] = [np.zeros((2, 4), np.float32), np.zeros((0, 4), np.float32), np.full((1, 4), 7, ml_dtypes.bfloat16)]
    found = through_a_file(tmp_path, boxes=value)["boxes"]
    assert [(one.shape, one.dtype) for one in found] == [(one.shape, one.dtype) for one in value]
    assert found[2].tobytes() == value[2].tobytes()


def test_equal_arrays_of_objects_stay_arrays_of_their_own(tmp_path: Path) -> None:
    value = np.empty(2, object)
    value[:] = [np.zeros(3), np.ones(3)]
    found = through_a_file(tmp_path, x=value)["x"]
    assert found.shape == (2,)
    assert found[1].tolist() == [1, 1, 1]


def test_names_and_their_order_stay_whatever_they_are(tmp_path: Path) -> None:
    names = ["head/a", "", "part_0", "header", "größe", "a b"]
    assert list(through_a_file(tmp_path, **{name: np.arange(2) for name in names})) == names


def test_other_objects_are_refused_before_anything_is_pickled(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="holds PosixPath"):
        through_a_file(tmp_path, x=np.array([tmp_path], object))
