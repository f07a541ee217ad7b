"""Siblings share one build and one trace, which must show in nothing but the time: same facts, never another's weights."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from liteferry.checkpoints import examine
from liteferry.config.load import load_job
from liteferry.evaluation.proven import proven_in_turn
from liteferry.exporting.export import Units, export_isolated, exported_in_turn
from liteferry.loading.model import LoadSpec
from liteferry.output.publish import judge_and_publish
from liteferry.plan import siblings
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from liteferry.plan.planning import plan_models
from tests.exporting import faulty_units
from tests.support import facts_of, liteferry
from tests.support.pipelines import run_pipeline
from tests.support.programs import run_program

WRITER = """
import sys, os, numpy as np, keras
folder, rng = sys.argv[1], np.random.default_rng(0)
def build(width=16):
    keras.utils.clear_session()
    return keras.Sequential([keras.Input((6, 6, 3), name="image"),
        keras.layers.Conv2D(width, 3, activation="relu"), keras.layers.BatchNormalization(),
        keras.layers.Flatten(), keras.layers.Dense(5, name="scores")])
for number in range(6):
    model = build()
    for variable in model.variables:
        variable.assign(np.abs(rng.normal(size=variable.shape)).astype(np.float32) + 0.1)
    model.save(os.path.join(folder, f"sweep_{number}.keras"))
build(width=24).save(os.path.join(folder, "wider.keras"))
np.savez(os.path.join(folder, "rows.npz"), image=rng.random((70, 6, 6, 3), dtype=np.float32))
"""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six siblings, of which number 3 will abort its process, a cousin of another width, and a job file."""
    folder = tmp_path_factory.mktemp("sweep")
    run_program(WRITER, folder, folder=folder)
    (folder / "job.yaml").write_text(
        "models: [{checkpoints: '*.keras', samples: rows}]\n"
        "samples: {rows: {path: rows.npz}}\nvariants: [float32, dynamic_int8]\ngates: {dynamic_int8: {argmax_agreement: 0.5}}\n"
    )
    return folder


def run(sweep: Path, out: Path, *, processes: int, shared: str) -> dict[str, dict[str, Any]]:
    from liteferry.evaluation import proven
    from liteferry.pipeline.stages import export as stage

    units = Units(export=faulty_units.aborts_on_one_weight)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "export_isolated", functools.partial(export_isolated, units=units))
        patch.setattr(proven, "exported_in_turn", functools.partial(exported_in_turn, units=units))
        run_pipeline(sweep / "job.yaml", out, processes=processes, share_siblings=shared == "shared")
    return {path.parent.name: json.loads(path.read_text()) for path in out.glob("models/*/report.json")}


@pytest.fixture(scope="module")
def shared(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return run(sweep, tmp_path_factory.mktemp("shared"), processes=1, shared="shared")


def test_one_that_aborts_costs_its_siblings_nothing(shared: dict[str, dict[str, Any]]) -> None:
    status = {name: (report["status"], (report["reason"] or {}).get("code")) for name, report in shared.items()}
    assert status.pop("sweep_3") == ("failed", "CRASHED")
    assert set(status.values()) == {("blessed", None)}, status
    assert len(status) == 6


@pytest.mark.parametrize(("processes", "sharing"), [(2, "alone"), pytest.param(2, "shared", marks=pytest.mark.nightly)])
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


def test_each_has_a_second_opinion_or_is_a_sibling_of_one_that_has(shared: dict[str, dict[str, Any]]) -> None:
    opinions = {name: (report["saved_model"] or {}).get("second_opinion") for name, report in shared.items()}
    assert opinions.pop("sweep_3") is None
    status = {name: opinion["status"] for name, opinion in opinions.items() if opinion}
    assert status["sweep_0"] == status["wider"] == "equal"
    exempt = {name: (opinions[name] or {})["why"].split(":")[0] for name in status if status[name] == "none"}
    assert exempt == {"sweep_1": "a sibling of sweep_0", "sweep_2": "a sibling of sweep_0", "sweep_5": "a sibling of sweep_4"}


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


@pytest.mark.parametrize("load", [{"builder": "m:f"}, {"strip": ("Dropout",)}, {"custom_objects": {"Dense": "m:Dense"}}])
def test_what_the_job_makes_of_a_file_is_no_siblings_business(sweep: Path, load: dict[str, Any]) -> None:
    assert siblings.share_key(examine(str(sweep / "sweep_0.keras")), recipe_digest="same", load=LoadSpec(**load)) is None


def test_another_recipe_is_another_family(sweep: Path) -> None:
    facts_of_file = examine(str(sweep / "sweep_0.keras"))
    assert siblings.share_key(facts_of_file, recipe_digest="one") != siblings.share_key(facts_of_file, recipe_digest="another")


PLACES = """
import sys, numpy as np, h5py, zipfile, io, shutil
import keras, tf_keras
from liteferry import checkpoints
from liteferry.exporting.sibling_weights import Weights
folder = sys.argv[1]
for library, ending in ((keras, "keras"), (keras, "h5"), (tf_keras, "keras"), (tf_keras, "h5")):
    random, layers = np.random.default_rng(0), library.layers
    made = [library.Input((4,), name="x"), layers.Dense(4, name="two"), layers.BatchNormalization(name="norm")]
    made += [layers.Dense(4, name="one")]
    model = library.Sequential(made, name="net")
    model.compile("adam", "mse")
    model.fit(np.zeros([4, 4]), np.zeros([4, 4]), verbose=0)           # training's state is in the file, too
    wanted = []
    for number in range(4):
        for variable in model.weights:                     # the first sibling's are equal throughout: nothing tells them apart
            variable.assign(np.full(variable.shape, 0.5) if number == 0 else random.normal(size=variable.shape))
        model.save(f"{folder}/{number}.{ending}")
        wanted.append([variable.numpy() for variable in model.weights])
    path = f"{folder}/0.{ending}"
    leader = library.models.load_model(path, compile=False)
    variables = [getattr(weight, "value", weight) if library is keras else weight for weight in leader.weights]
    facts = checkpoints.examine(path)
    weights = Weights(facts.path, facts)
    checkpoints.scanned_copy.release()                     # as the export does between siblings
    for number in (1, 2, 3, 0):
        path = f"{folder}/{number}.{ending}"
        assert weights.load(leader, path, checkpoints.examine(path), variables), (library.__name__, ending, number)
        for variable, value in zip(variables, wanted[number], strict=True):
            np.testing.assert_array_equal(variable.numpy(), value, err_msg=f"{library.__name__} {ending} {number}")
    # another dtype, another shape, an array more, and a leader whose variables are not what its file says: no sibling
    smaller = library.Sequential([library.Input((4,), name="x"), layers.Dense(4, name="two")], name="net")
    smaller.save(f"{folder}/smaller.{ending}")
    other = f"{folder}/smaller.{ending}"
    assert not weights.load(leader, other, checkpoints.examine(other), variables)
    liar = Weights(f"{folder}/1.{ending}", checkpoints.examine(f"{folder}/1.{ending}"))
    assert not liar.load(leader, path, checkpoints.examine(path), variables), "the leader's own file holds other values"
"""


def test_each_array_goes_to_its_variable_however_equal_they_are(tmp_path: Path) -> None:
    run_program(PLACES, tmp_path, folder=tmp_path)


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
    run_program(H5_WRITER, tmp_path, folder=tmp_path)
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
    for exported, name in ((together[0], "a"), (together[2], "c")):
        (alone,) = [fingerprint(p) for p in plan_models(job, str(tmp_path / "alone")) if p.model_id == name]
        (expected,) = export_isolated([alone])
        assert exported.saved_model == expected.saved_model
        assert exported.variants == expected.variants
        files = [Path(plan.staging_directory()) / "tflite" / "float32.tflite" for plan in (plans[name], alone)]
        assert files[0].read_bytes() == files[1].read_bytes(), name


@pytest.mark.nightly  # the run of `shared` again, by the command
def test_the_command_says_the_same(sweep: Path, tmp_path: Path) -> None:
    done = liteferry("run", "--config", sweep / "job.yaml", "--output", tmp_path / "out")
    assert done.returncode == 0
    assert "All 7 models are blessed" in done.stdout, done.stdout + done.stderr


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
    plans: list[Any] = [types.SimpleNamespace(model_id=f"m{number:04}", variants=()) for number in range(count)]
    made = siblings.chunks(plans, processes=processes)
    assert [len(chunk) for chunk in made] == sizes
    assert [plan for chunk in made for plan in chunk] == plans


def plans_of_sweep(sweep: Path, out: Path) -> list[ModelPlan]:
    """The six siblings, as the stage gets them."""
    found = [fingerprint(plan) for plan in plan_models(load_job(sweep / "job.yaml"), str(out))]
    return list(begin_attempt([plan for plan in found if plan.model_id.startswith("sweep_")]))


def begun(plans: Sequence[ModelPlan]) -> list[str]:
    return [plan.model_id for plan in plans if list(Path(plan.staging_directory()).rglob("*"))]


def test_the_first_one_is_blessed_before_the_second_one_is_begun(sweep: Path, tmp_path: Path) -> None:
    plans = plans_of_sweep(sweep, tmp_path)[:3]
    with contextlib.closing(proven_in_turn(plans)) as in_turn:
        plan, exported, evaluation = next(in_turn)
        assert begun(plans) == ["sweep_0"]
        assert evaluation is not None
        assert judge_and_publish(plan, exported, evaluation)["status"] == "blessed"
        assert begun(plans) == [], "its folder has moved to its final path"
        plan, exported, evaluation = next(in_turn)
        assert exported.shares_trace_of == "sweep_0" and evaluation is not None
        assert judge_and_publish(plan, exported, evaluation)["status"] == "blessed"
        assert (tmp_path / "models" / "sweep_1" / "BLESSED").exists()
    assert begun(plans) == [], "the third was never begun"


def test_siblings_after_one_that_died_go_on_together(shared: dict[str, dict[str, Any]]) -> None:
    """Number 3 aborts; 4 is not asked to pay for it: it leads the rest."""
    leaders = {name: (report["saved_model"] or {}).get("second_opinion", {}).get("status") for name, report in shared.items()}
    assert leaders["sweep_4"] == "equal", leaders
    assert leaders["sweep_1"] == leaders["sweep_2"] == "none"
