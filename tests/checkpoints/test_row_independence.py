"""The answer for a row depends on that row alone: whoever mixes rows is refused, whatever the values; noise of kernels is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import liteferry
from liteferry.sandbox import Flavor, Limits
from tests.support.programs import run_program
from tests.support.units import run_unit

LIMITS = Limits(seconds=120, memory_bytes=8 * 10**9)

MIXED = (
    "batch statistics",
    "batch statistics of a part that is small",
    "divided by the batch's largest",
    "classes after batch statistics",
    "softmax over the wrong axis",
    "sorted rows",
    "infinite beside a large neighbour",
)
SEPARATE = (
    "a layer",
    "one answer a call",
    "bfloat16",
    "float16",
    "classes",
    "text",
    "not a number",
    "only even numbers of rows",
    "nothing but its shape",
)


@pytest.fixture(scope="module")
def found() -> dict[str, str | None]:
    outcome = run_unit("tests.checkpoints.row_independence_units:find_dependences", flavor=Flavor.KERAS, limits=LIMITS)
    assert outcome.error is None, str(outcome.error)
    return dict(outcome.results[0])


def test_every_function_is_in_a_table(found: dict[str, str | None]) -> None:
    assert {name for name in found if "," not in name} == {*MIXED, *SEPARATE}


@pytest.mark.parametrize("name", MIXED)
def test_a_function_that_mixes_rows_is_found(found: dict[str, str | None], name: str) -> None:
    said = found[name]
    assert said is not None, f"{name}: not found"
    output = "small" if "small" in name else "y"
    assert said.startswith(f"output {output!r}: the answers for ")
    assert "off, relative to the largest, when they are given alone instead of with" in said


@pytest.mark.parametrize("name", SEPARATE)
def test_a_function_that_treats_rows_one_by_one_is_not(found: dict[str, str | None], name: str) -> None:
    assert found[name] is None, found[name]


@pytest.mark.parametrize("how", ["batch of 4", "one row"])
def test_a_fixed_batch_belongs_to_the_signature_and_one_row_shows_nothing(found: dict[str, str | None], how: str) -> None:
    assert not [said for name, said in found.items() if name.endswith(f", {how}") and said is not None]


# Keras's own export keeps batch statistics where a layer was called with training=True, though `predict` has them off.
WRITER = """
import keras
import numpy as np

x = keras.Input((4,), name="x")
y = keras.layers.BatchNormalization()(keras.layers.Dense(4)(x), training=True)
model = keras.Model(x, keras.layers.Dense(2)(y))
model.export("exported", verbose=False)
rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
np.savez("rows.npz", x=rows)
"""


def test_a_saved_model_in_training_mode_is_refused_in_words(tmp_path: Path) -> None:
    run_program(WRITER, folder=tmp_path)
    exported = liteferry.export(tmp_path / "exported", str(tmp_path / "rows.npz"), output=tmp_path / "out", variants=["float32"])
    assert not exported.is_blessed
    reason = exported.report["reason"]
    assert reason["code"] == "EXPORT_BATCH_DEPENDENT"
    assert "BatchNormalization in training mode (its graph assigns to" in reason["message"]
    assert "training=False" in reason["message"]
    assert not np.any([path.suffix == ".tflite" for path in (tmp_path / "out").rglob("*")])
