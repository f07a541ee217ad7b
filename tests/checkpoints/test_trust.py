"""Hostile checkpoints: refused before a loader sees them, for the right reason, and nothing of theirs has happened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from liteferry.checkpoints.reach import files_of_checkpoint
from liteferry.commands.inspect import child
from liteferry.sandbox import Flavor, Limits, Outcome, reader
from tests.checkpoints import fixtures_hostile
from tests.support import liteferry
from tests.support.programs import run_program
from tests.support.units import run_unit

LIMITS = Limits(seconds=120, memory_bytes=4 * 10**9)

# What each refusal must name.
FOUND = {
    "lambda_bytecode_keras_3": "bytecode in the Lambda layer 'evil'",
    "lambda_bytecode_tf_keras": "bytecode in the Lambda layer 'evil'",
    "lambda_bytecode_legacy_h5": "bytecode in the Lambda layer 'evil'",
    "lambda_bytecode_as_output_shape": "bytecode in the Lambda layer 'evil'",
    "lambda_in_compile_config": "bytecode",
    "function_of_os_keras_3": "'system' of module 'os'",
    "lambda_layer_over_a_library_function": "'mkdtemp' of module 'tempfile'",
    "class_of_subprocess_in_build_config": "'Popen' of module 'subprocess'",
    "class_of_subprocess_in_compile_config": "'Popen' of module 'subprocess'",
    "class_of_subprocess_deep_inside": "'Popen' of module 'subprocess'",
    "keras_function_that_downloads": "'get_file' of module 'keras.utils'",
    "dotted_name_through_a_keras_module": "'tf.load_op_library'",
    "tensorflow_symbol_that_writes": "tf.io.write_file",
    "vocabulary_read_from_a_path": "/etc/hostname",
    "layer_that_loads_another_model": "TFSMLayer",
    "pickled_arrays": "is a pickle",
    "zip_member_above_its_folder": "points outside",
    "zip_member_with_an_absolute_name": "points outside",
    "zip_member_that_is_a_link": "is a link",
    "keras_archive_with_a_member_above": "points outside",
    "tar_that_writes_through_a_link": "is a link",
    "tar_that_claims_terabytes": "4,398,046,511,104",
    "zip_bomb": "314,572,800",
    "keras_archive_bomb": "claim to unpack to 314,",
    "h5_link_to_another_file": "/stolen is a link to another file (/etc/hostname)",
    "h5_data_in_another_file": "/stolen lies in another file (/etc/hostname)",
    "h5_virtual_data": "/stolen is a virtual dataset",
    "h5_array_of_terabytes": "4,398,046,",
    "keras_weights_linked_to_another_file": "/layers/dense/vars/9 is a link to another file",
    "graph_that_writes_a_file": "WriteFile",
    "graph_that_reads_a_file": "ReadFile",
    "graph_that_saves_outside_the_saver": "SaveV2",
    "graph_that_calls_python": "EagerPyFunc",
    "graph_that_prints_into_a_file": "PrintV2",
    "graph_that_hides_it_in_a_branch": "WriteFile",
    "graph_that_writes_while_it_is_loaded": "WriteFile",
    "saved_model_with_linked_variables": "is a link to /etc/hostname",
}


def unconfined(function: str, argument: Any, folder: Path) -> Outcome:
    """The child may write where the attacks want to: that they do nothing is the loader's doing, not the kernel's."""
    writable = [str(folder), str(folder.parent)]
    return run_unit(function, argument, flavor=Flavor.KERAS, limits=LIMITS, writable=writable)


def load(folder: Path, **spec: Any) -> Outcome:
    return unconfined("tests.checkpoints.loading_unit:load_hostile", (str(folder), spec), folder)


def markers(folder: Path) -> list[Path]:
    return [*folder.rglob("marker*"), *folder.parent.glob("marker*")]


def test_every_attack_is_here() -> None:
    assert FOUND.keys() == fixtures_hostile.ATTACKS.keys()


@pytest.mark.parametrize("name", FOUND)
def test_refused_for_what_it_is_and_nothing_has_run(hostile: Path, name: str) -> None:
    outcome = load(hostile / name)
    assert outcome.error is not None, "it was loaded"
    assert outcome.error.code == "LOAD_UNSAFE", outcome.error
    assert FOUND[name] in outcome.error.message, outcome.error.message
    assert not markers(hostile / name)


@pytest.mark.parametrize("name", sorted(fixtures_hostile.FIRES))
def test_the_attack_is_real(hostile: Path, tmp_path: Path, name: str) -> None:
    """Given to its library's own loader, it does run: the test above can fail."""
    unconfined("tests.checkpoints.loading_unit:load_unasked", str(hostile / name), hostile / name)
    fired = markers(hostile / name)
    for marker in fired:
        marker.unlink()
    assert fired


LAMBDAS = {name for name, found in FOUND.items() if "bytecode" in found and "compile" not in name}
GRAPHS = {name for name in FOUND if name.startswith("graph_that") and "python" not in name}


@pytest.fixture(scope="module")
def of_hostile(hostile: Path) -> dict[str, dict[str, Any]]:
    """What `inspect` reads of every hostile checkpoint in one reader process, by its folder's name."""
    names = [folder.name for folder in hostile.iterdir()]
    paths = [str(hostile / name / json.loads((hostile / name / "case.json").read_text())["checkpoint"]) for name in names]
    readable = [file for path in paths for file in files_of_checkpoint(path)]
    answers = reader.ask(child.answer, paths, readable=readable)
    return {name: answer["facts"] for name, answer in zip(names, answers, strict=True) if isinstance(answer, dict)}


@pytest.mark.parametrize("name", FOUND)
def test_inspect_tells_what_would_be_refused_and_nothing_runs(
    of_hostile: dict[str, dict[str, Any]], hostile: Path, name: str
) -> None:
    folder = hostile / name
    openers = {finding["what"]: finding["opened_by"] for finding in of_hostile[name]["findings"]}
    matching = {opener for what, opener in openers.items() if FOUND[name] in what}
    assert matching, openers
    if name in LAMBDAS:
        assert matching == {"lambda"}
    if name in GRAPHS:
        assert matching == {"file_ops"}
    assert not markers(folder)


@pytest.mark.parametrize("name", sorted(LAMBDAS))
def test_trusting_lambda_opens_bytecode(hostile: Path, name: str) -> None:
    outcome = load(hostile / name, trust=("lambda",))
    for marker in markers(hostile / name):
        marker.unlink()
    assert outcome.error is None or outcome.error.code != "LOAD_UNSAFE", outcome.error


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_trusting_file_ops_opens_graphs(hostile: Path, name: str) -> None:
    outcome = load(hostile / name, trust=("file_ops",))
    for marker in markers(hostile / name):
        marker.unlink()
    assert outcome.error is None or outcome.error.code != "LOAD_UNSAFE", outcome.error


@pytest.mark.parametrize("name", sorted(FOUND.keys() - LAMBDAS - {"lambda_in_compile_config"}))
def test_trusting_lambda_opens_nothing_else(hostile: Path, name: str) -> None:
    outcome = load(hostile / name, trust=("lambda",))
    assert outcome.error is not None and outcome.error.code == "LOAD_UNSAFE"
    assert not markers(hostile / name)


def test_a_pickle_beside_the_weights_is_never_opened(hostile: Path, tmp_path: Path) -> None:
    """It lies in the archive with the model; the model is exported as if it were not there."""
    import pickle
    import zipfile

    marker = tmp_path / "marker"
    inner = tmp_path / "model.keras"
    with zipfile.ZipFile(hostile / "pickled_arrays" / "model.keras") as source, zipfile.ZipFile(inner, "w") as target:
        for name in source.namelist():
            if not name.endswith(".npz"):
                target.writestr(name, source.read(name))
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.write(inner, "model.keras")
        archive.writestr("weights.pkl", pickle.dumps(fixtures_hostile._Touch(str(marker))))
        archive.writestr("history.npy", b"not an array")
    (tmp_path / "case.json").write_text(json.dumps({"checkpoint": "model.zip"}))
    outcome = load(tmp_path)
    assert outcome.error is None, outcome.error
    assert not marker.exists()


OFFERED = """
import keras

class Mine(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2.0
"""
EVIL = """
import keras, pathlib

pathlib.Path({marker!r}).touch()

class Mine(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 3.0

Theirs = Mine
"""
# What a file may say of a layer whose class the user offers, and how its name is to be understood: as the user's, or not at all.
BORROWED: dict[str, dict[str, Any]] = {
    "another module's class of that name": {"module": "evil", "class_name": "Mine", "registered_name": "Mine"},
    "another module's class, not registered": {"module": "evil", "class_name": "Mine", "registered_name": None},
    "another module's class under a strange name": {"module": "evil", "class_name": "Mine", "registered_name": "Theirs"},
    "a registered name that nobody has": {"module": "evil", "class_name": "Mine", "registered_name": "pkg>Mine"},
    "Python's own module": {"module": "subprocess", "class_name": "Mine", "registered_name": "Popen"},
}


@pytest.fixture(scope="module")
def lenders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with one layer of the user's class, written by either library."""
    folder = tmp_path_factory.mktemp("lenders")
    (folder / "offered.py").write_text(OFFERED)
    for library in ("keras", "tf_keras"):
        program = (
            f"import sys, {library} as k; sys.modules['keras'] = k; sys.path.insert(0, '.'); import offered;"
            "layers = [k.Input((3,), name='x'), offered.Mine(name='mine'), k.layers.Dense(2, name='d')];"
            f"k.Sequential(layers).save('{library}.keras')"
        )
        run_program(program, folder=folder)
    return folder


def borrowing(lenders: Path, folder: Path, library: str, node: dict[str, Any]) -> None:
    """That model, edited to say that the layer is somebody else's."""
    (folder / "offered.py").write_text(OFFERED)
    (folder / "evil.py").write_text(EVIL.format(marker=str(folder / "marker")))
    shutil.copy(lenders / f"{library}.keras", folder / "model.keras")

    def edit(config: dict[str, Any]) -> None:
        (layer,) = (layer for layer in config["config"]["layers"] if layer["class_name"] == "Mine")
        layer.update(node)

    fixtures_hostile._edit_keras(folder / "model.keras", edit)
    (folder / "case.json").write_text(json.dumps({"checkpoint": "model.keras"}))


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize("borrowed", BORROWED)
def test_a_class_that_the_user_offers_is_the_users(lenders: Path, tmp_path: Path, borrowed: str, library: str) -> None:
    """tf_keras would import the module that the file names, and take the class or the registered name out of it."""
    borrowing(lenders, tmp_path, library, BORROWED[borrowed])
    outcome = load(tmp_path, modules=(str(tmp_path / "offered.py"),))
    assert outcome.error is None, outcome.error
    assert not markers(tmp_path)


def test_a_function_is_not_the_users_for_its_registered_name(lenders: Path, tmp_path: Path) -> None:
    """Loaders look for a function by its own name only; the other would have opened Python's modules."""
    borrowing(lenders, tmp_path, "tf_keras", {})

    def edit(config: dict[str, Any]) -> None:
        evil = {"module": "os", "class_name": "function", "config": "system", "registered_name": "Mine"}
        fixtures_hostile._dense(config)["config"]["activation"] = evil

    fixtures_hostile._edit_keras(tmp_path / "model.keras", edit)
    outcome = load(tmp_path, modules=(str(tmp_path / "offered.py"),))
    assert outcome.error is not None and outcome.error.code == "LOAD_UNSAFE", outcome
    assert "'system' of module 'os'" in outcome.error.message


def test_other_models_of_the_run_are_unharmed(hostile: Path, tmp_path: Path) -> None:
    good = tmp_path / "good.keras"
    import zipfile

    import numpy as np

    with zipfile.ZipFile(hostile / "pickled_arrays" / "model.keras") as source, zipfile.ZipFile(good, "w") as target:
        for name in source.namelist():
            if not name.endswith(".npz"):
                target.writestr(name, source.read(name))
    for name, file in {"lambda_bytecode_legacy_h5": "model.h5", "zip_bomb": "model.zip"}.items():  # a copy, not a link
        shutil.copy(hostile / name / file, tmp_path / f"{name}{Path(file).suffix}")
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32))
    out = tmp_path / "out"
    patterns = [f"--checkpoints={tmp_path / pattern}" for pattern in ("*.keras", "*.h5", "*.zip")]
    done = liteferry("run", *patterns, "--samples", tmp_path / "rows.npz", "--output", out, "--variants", "float32")
    reports = {path.parent.name: json.loads(path.read_text()) for path in out.glob("models/*/report.json")}
    codes = {name: (report["reason"] or {}).get("code", report["status"]) for name, report in reports.items()}
    assert codes == {"good": "blessed", "lambda_bytecode_legacy_h5": "LOAD_UNSAFE", "zip_bomb": "LOAD_UNSAFE"}, done.stderr
