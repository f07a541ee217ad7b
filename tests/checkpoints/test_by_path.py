"""Weights stored under the paths of their variables, as an Orbax folder is put together: filled by path, or refused."""

from __future__ import annotations

from pathlib import Path

from tests.support.programs import run_program

PROGRAM = '''
import sys

import h5py, keras, numpy as np

from liteferry.checkpoints import CheckpointFacts, Kind
from liteferry.errors import ModelError, ReasonCode
from liteferry.loading.weights import by_path

FACTS = CheckpointFacts(kind=Kind.H5_WEIGHTS, weights_layout="by_path")


def model(third="third"):
    """Layers of one shape, whose order in a file says nothing, and a model in the model."""
    norm = keras.layers.BatchNormalization(name="norm")
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="first"), norm], name="inner")
    inputs = keras.Input((4,), name="x")
    return keras.Model(inputs, keras.layers.Dense(4, name=third)(keras.layers.Dense(4, name="second")(inner(inputs))))


def write(name, arrays):
    with h5py.File(name, "w") as file:
        for path, values in arrays.items():
            file[f"trainable_variables/{path}"] = values
    return name


def refusal(name, wanted):
    try:
        by_path.fill("step", name, FACTS, wanted)
    except ModelError as error:
        assert error.reason.code is ReasonCode.WEIGHTS_MISMATCH, error
        return error.reason.message
    raise AssertionError(f"{name} was taken")


keras.utils.set_random_seed(1)
live = model()
for variable in live.weights:
    variable.assign(np.random.default_rng(len(variable.path)).uniform(0.5, 1.5, variable.shape))
rows = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
expected = np.asarray(live(rows, training=False))
arrays = {variable.path: np.asarray(variable) for variable in live.weights}
paths = list(arrays)
assert len(paths) == 10, paths

for name, written in {
    "as_it_is.h5": arrays,
    "backwards.h5": {path: arrays[path] for path in reversed(paths)},
    "built_later.h5": {path.replace("inner/", ""): values for path, values in arrays.items()},  # paths without the inner model
}.items():
    other = model()
    assert not np.allclose(np.asarray(other(rows, training=False)), expected)
    notes = by_path.fill("step", write(name, written), FACTS, other)
    np.testing.assert_array_equal(np.asarray(other(rows, training=False)), expected, err_msg=name)
    assert notes == (), notes

said = refusal(write("one_less.h5", {path: arrays[path] for path in paths[:-1]}), model())
assert "its 9 arrays are not the model's 10 variables" in said, said
said = refusal(write("one_more.h5", {**arrays, "fourth/kernel": np.ones((4, 4))}), model())
assert "its 11 arrays are not the model's 10 variables" in said, said
said = refusal(write("another_name.h5", arrays), model(third="last"))
assert "third/kernel" in said and "last/kernel" in said, said
said = refusal(write("another_shape.h5", {**arrays, "second/kernel": np.ones((4, 5))}), model())
assert "second/kernel" in said, said
open("done", "w").close()
'''


def test_arrays_go_to_the_variables_of_their_paths_or_nothing_is_loaded(tmp_path: Path) -> None:
    run_program(PROGRAM, folder=tmp_path)
    assert (tmp_path / "done").exists()
