"""Siblings share one build and one trace, which must show in nothing but the time: same facts, never another's weights."""

from __future__ import annotations

import json
import subprocess
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest

from liteferry import siblings
from liteferry.checkpoints import examine
from liteferry.config import load_job
from liteferry.export import export_isolated
from liteferry.fingerprints import fingerprint
from liteferry.plan import plan_models
from tests.support import facts_of, liteferry

WRITER = """
import sys, os, numpy as np, keras
sys.path.insert(0, sys.argv[1])
import abort_layers
folder, rng = sys.argv[1], np.random.default_rng(0)
def build(width=16):
    keras.utils.clear_session()
    return keras.Sequential([keras.Input((6, 6, 3), name="image"),
        keras.layers.Conv2D(width, 3, activation="relu"), keras.layers.BatchNormalization(),
        abort_layers.AbortsOnSomeWeights(), keras.layers.Flatten(), keras.layers.Dense(5, name="scores")])
for number in range(8):
    model = build()
    for variable in model.variables:
        variable.assign(np.abs(rng.normal(size=variable.shape)).astype(np.float32) + 0.1)
    if number == 3:
        model.layers[2].marker.assign([-1.0])
    model.save(os.path.join(folder, f"sweep_{number}.keras"))
build(width=24).save(os.path.join(folder, "wider.keras"))
np.savez(os.path.join(folder, "rows.npz"), image=rng.random((70, 6, 6, 3), dtype=np.float32))
"""

LAYERS = """
import os
import keras

@keras.saving.register_keras_serializable(package="tests")
class AbortsOnSomeWeights(keras.layers.Layer):
    def build(self, input_shape):
        self.marker = self.add_weight(name="marker", shape=(1,), initializer="ones")
    def call(self, inputs):
        import tensorflow as tf
        def check(marker):
            if marker[0] < 0:
                os.abort()
            return marker
        if tf.executing_eagerly():
            check(self.marker.numpy())
        return inputs * self.marker
"""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight siblings of which number 3 aborts its process, a cousin of another width, and a job file."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "abort_layers.py").write_text(LAYERS)
    subprocess.run([sys.executable, "-c", WRITER, str(folder)], check=True, capture_output=True)
    (folder / "job.yaml").write_text(
        "models: [{checkpoints: '*.keras', samples: rows}]\nmodules: [abort_layers.py]\n"
        "samples: {rows: {path: rows.npz}}\nvariants: [float32, dynamic_int8]\ngates: {dynamic_int8: {argmax_agreement: 0.5}}\n"
    )
    return folder


RUN = """
import sys
import types
from liteferry import config, pipeline
if __name__ == "__main__":
    job = config.load_job(sys.argv[1])
    pipeline.run(job, sys.argv[2], processes=int(sys.argv[3]), share_siblings=sys.argv[4] == "shared")
"""


def run(sweep: Path, out: Path, *, processes: int, shared: str) -> dict[str, dict[str, Any]]:
    script = sweep / "run.py"
    script.write_text(RUN)
    subprocess.run([sys.executable, str(script), str(sweep / "job.yaml"), str(out), str(processes), shared], check=True)
    return {path.parent.name: json.loads(path.read_text()) for path in out.glob("models/*/report.json")}


@pytest.fixture(scope="module")
def shared(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return run(sweep, tmp_path_factory.mktemp("shared"), processes=1, shared="shared")


def test_one_that_aborts_costs_its_siblings_nothing(shared: dict[str, dict[str, Any]]) -> None:
    status = {name: (report["status"], (report["reason"] or {}).get("code")) for name, report in shared.items()}
    assert status.pop("sweep_3") == ("failed", "CRASHED")
    assert set(status.values()) == {("blessed", None)}, status
    assert len(status) == 8


@pytest.mark.parametrize(("processes", "sharing"), [(2, "shared"), (2, "alone")])
def test_neither_workers_nor_sharing_change_a_fact(
    sweep: Path, shared: dict[str, dict[str, Any]], tmp_path: Path, processes: int, sharing: str
) -> None:
    other = run(sweep, tmp_path / "out", processes=processes, shared=sharing)
    assert other.keys() == shared.keys()
    for name, report in shared.items():
        assert facts_of(other[name]) == facts_of(report), name


def test_sharing_really_happens(shared: dict[str, dict[str, Any]]) -> None:
    """Else the tests around this one compare a thing with itself."""
    traced = [name for name, report in shared.items() if report["status"] == "blessed" and report["timings_s"]["trace"] > 0.001]
    assert len(traced) < len(shared) - 2, f"every model was traced on its own: {traced}"


def test_each_sibling_was_run_with_its_own_weights(shared: dict[str, dict[str, Any]]) -> None:
    scales = [shared[f"sweep_{number}"]["saved_model"]["fidelity"]["scores"]["max_abs_reference"] for number in (0, 1, 2, 4)]
    assert len(set(scales)) == 4, "two siblings gave the same answers"


@pytest.mark.parametrize(
    ("one", "other", "are_siblings"),
    [("sweep_0", "sweep_1", True), ("sweep_0", "wider", False)],
)
def test_siblings_differ_in_weights_alone(sweep: Path, one: str, other: str, are_siblings: bool) -> None:
    keys = [siblings.share_key(examine(str(sweep / f"{name}.keras")), recipe_digest="same") for name in (one, other)]
    assert all(keys)
    assert (keys[0] == keys[1]) is are_siblings


def test_another_recipe_is_another_family(sweep: Path) -> None:
    facts_of_file = examine(str(sweep / "sweep_0.keras"))
    assert siblings.share_key(facts_of_file, recipe_digest="one") != siblings.share_key(facts_of_file, recipe_digest="another")


def test_weights_that_did_not_arrive_are_noticed(sweep: Path) -> None:
    """A loader that silently leaves the last sibling's weights in place: the model would agree with itself, and be wrong."""

    class Variable:
        def __init__(self, value: Any) -> None:
            self.value = value

        def numpy(self) -> Any:
            return self.value

    class LoaderThatDoesNothing:
        def load_weights(self, path: str) -> None:
            pass

    import io

    import h5py
    import numpy as np

    path = str(sweep / "sweep_1.keras")
    arrays: list[Any] = []
    with h5py.File(io.BytesIO(zipfile.ZipFile(path).read("model.weights.h5"))) as file:
        file.visititems(lambda _, item: arrays.append(np.asarray(item)) if isinstance(item, h5py.Dataset) else None)
    right = [Variable(array) for array in arrays]
    wrong = [*right[:-1], Variable(arrays[-1] + 1)]
    assert siblings.Weights().load(LoaderThatDoesNothing(), path, examine(path), right) is True
    assert siblings.Weights().load(LoaderThatDoesNothing(), path, examine(path), wrong) is False


DIRECT = """
import sys, numpy as np, keras
from liteferry import checkpoints, siblings
folder, random = sys.argv[1], np.random.default_rng(0)
layers = [keras.Input((4,), name="x"), keras.layers.Dense(4, name="one"), keras.layers.Dense(4, name="two")]
model = keras.Sequential(layers)
wanted = []
for number in range(4):
    for variable in model.variables:                       # the first sibling's biases are equal: zeros, which say nothing
        variable.assign(random.normal(size=variable.shape) * (number > 0 or len(variable.shape) > 1))
    model.save(f"{folder}/{number}.keras")
    wanted.append([variable.numpy() for variable in model.variables])
inner, calls = model.load_weights, []
model.load_weights = lambda path: (calls.append(path), inner(path))
weights, variables = siblings.Weights(), [variable.value for variable in model.variables]
for number in (0, 1, 2, 3):
    path = f"{folder}/{number}.keras"
    assert weights.load(model, path, checkpoints.examine(path), variables), number
    for variable, value in zip(variables, wanted[number], strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=str(number))
assert len(calls) == 2, f"Keras was asked for {calls}: twice is what it takes to tell the biases apart"
other = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(4, name="one")])
other.save(f"{folder}/other.keras")
assert not weights.load(model, f"{folder}/other.keras", checkpoints.examine(f"{folder}/other.keras"), variables)
"""


def test_arrays_are_read_directly_once_their_places_are_known_beyond_doubt(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DIRECT, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


PEAKS = """
import numpy as np
from liteferry.sandbox import memory
memory.restart_peak()
before = memory.peak_bytes()
large = np.ones(30_000_000)                                # 240 MB
assert memory.peak_bytes() - before > 200e6
del large
memory.restart_peak()
assert memory.peak_bytes() - before < 50e6, "the last model's memory counts for the next"
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel has to keep the peak")
def test_each_sibling_has_its_own_peak_of_memory() -> None:
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_peaks_are_each_models_own(shared: dict[str, dict[str, Any]]) -> None:
    peaks = {report["peak_memory_bytes"] for name, report in shared.items() if report["status"] == "blessed"}
    assert len(peaks) > 3 and min(peaks) > 50e6, peaks


H5_WRITER = """
import sys, numpy as np, tf_keras, keras
folder, random = sys.argv[1], np.random.default_rng(0)
def build(width):
    layers = [tf_keras.Input((6,), name="x"), tf_keras.layers.Dense(width, "relu", name="hidden")]
    layers += [tf_keras.layers.BatchNormalization(name="norm"), tf_keras.layers.Dense(3, name="scores")]
    return tf_keras.Sequential(layers, name="net")
for name, width in (("a", 8), ("b", 8), ("c", 8), ("wider", 9)):
    model = build(width)
    for variable in model.variables:
        variable.assign(np.abs(random.normal(size=variable.shape)).astype(np.float32) + 0.1)
    model.save(f"{folder}/{name}.h5")
model.save_weights(f"{folder}/weights.h5")
np.savez(f"{folder}/rows.npz", x=random.random((40, 6), dtype=np.float32))
"""


def test_full_hdf5_models_are_siblings_too(tmp_path: Path) -> None:
    """Facts and files are those of a model exported alone, and the answers its own."""
    subprocess.run([sys.executable, "-c", H5_WRITER, str(tmp_path)], check=True, capture_output=True)
    (tmp_path / "job.yaml").write_text(
        "models: [{checkpoints: '*.h5', samples: rows}]\nsamples: {rows: {path: rows.npz}}\nvariants: [float32]\n"
    )
    job = load_job(tmp_path / "job.yaml")
    plans = {plan.model_id: fingerprint(plan) for plan in plan_models(job, str(tmp_path / "together"))}
    keys = {name: plan.share_key for name, plan in plans.items()}
    assert keys["a"] is not None and keys["a"] == keys["b"] == keys["c"] != keys["wider"]
    assert keys["weights"] is None, "a builder may make other models of the same shapes"
    together = export_isolated([plans[name] for name in "abc"])
    assert [exported.timings_s["trace"] > 0.001 for exported in together] == [True, False, False], "every model was traced"
    for exported, name in zip(together, "abc", strict=True):
        (alone,) = [fingerprint(p) for p in plan_models(job, str(tmp_path / "alone")) if p.model_id == name]
        (expected,) = export_isolated([alone])
        assert exported.saved_model == expected.saved_model
        assert exported.variants == expected.variants
        files = [Path(plan.staging_directory()) / "tflite" / "float32.tflite" for plan in (plans[name], alone)]
        assert files[0].read_bytes() == files[1].read_bytes(), name


def test_the_command_says_the_same(sweep: Path, tmp_path: Path) -> None:
    done = liteferry("run", "--config", sweep / "job.yaml", "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "8 of 9 models are blessed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("count", "processes", "sizes"),
    [
        (0, 2, []),
        (1, 2, [1]),
        (3, 2, [2, 1]),
        (8, 1, [8]),
        (24, 2, [12, 12]),
        (32, 2, [16, 16]),
        (33, 2, [9, 9, 9, 6]),
        (100, 2, [13] * 7 + [9]),
        (20, 40, [1] * 20),
    ],
)
def test_chunks_are_large_and_every_process_gets_as_many(count: int, processes: int, sizes: list[int]) -> None:
    plans: list[Any] = [types.SimpleNamespace(model_id=f"m{number:04}") for number in range(count)]
    made = siblings.chunks(plans, processes=processes)
    assert [len(chunk) for chunk in made] == sizes
    assert [plan for chunk in made for plan in chunk] == plans
