"""`liteferry inspect`: right facts of every kind of artifact, at once, without TensorFlow; a clear word for what is broken."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from liteferry.checkpoints.keras_names import ACTIVATIONS, LAYERS, MADE_BY_KERAS
from liteferry.checkpoints.reach import files_of_checkpoint
from liteferry.commands.inspect import bundle_index, child, contained
from liteferry.sandbox import Flavor, Limits, reader
from tests.support import liteferry
from tests.support.units import run_unit

LIMITS = Limits(seconds=120, memory_bytes=8 * 10**9)


def in_sandbox(function: str, argument: Any) -> Any:
    writable = [argument] if function == "write_artifacts" else []
    readable = [os.path.dirname(argument)] if isinstance(argument, str) else []
    outcome = run_unit(
        f"tests.commands.inspect_units:{function}",
        argument,
        flavor=Flavor.KERAS,
        limits=LIMITS,
        writable=writable,
        readable=readable,
    )
    assert outcome.error is None, outcome.error
    return outcome.results[0] if outcome.results else None


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts")
    in_sandbox("write_artifacts", str(folder))
    return folder


def inspect_all(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """The facts of many files from one reader process, by path."""
    asked = list(map(str, paths))
    readable = [file for path in asked for file in files_of_checkpoint(path)]
    answers = reader.ask(child.answer, asked, readable=readable)
    return {path: answer["facts"] for path, answer in zip(asked, answers, strict=True) if isinstance(answer, dict)}


@pytest.fixture(scope="module")
def told(artifacts: Path) -> dict[str, dict[str, Any]]:
    """The facts of every artifact, by its name."""
    names = [name for name in os.listdir(artifacts) if not name.startswith(("training", "checkpoint"))]
    shutil.make_archive(str(artifacts / "packed"), "zip", artifacts, "keras3.keras")
    found = inspect_all([artifacts / name for name in [*names, "packed.zip", "training.index", "training"]])
    return {os.path.basename(path): facts for path, facts in found.items()}


def tensor(name: str | None, shape: list[int | None] | None, dtype: str | None) -> dict[str, Any]:
    return {"name": name, "shape": shape, "dtype": dtype}


PICTURES = {
    "inputs": [tensor("image", [None, 8, 8, 3], "float32")],
    "outputs": [tensor("label", None, None)],
    "random_layers": ["drop (Dropout)", "flip (RandomFlip)"],
    "preprocessing_layers": ["rescale (Rescaling)"],
    "lambda_layers": ["twice (Lambda)"],
    "custom_objects": {},
}
WEIGHTS = {"arrays": 2, "elements": 579, "bytes": 2316, "dtypes": {"float32": 579}}
FACTS: dict[str, dict[str, Any]] = {
    "keras3.keras": {"kind": "keras", "loaded_by": "keras", "weights": WEIGHTS, **PICTURES},
    "keras2.keras": {"kind": "keras", "loaded_by": "tf_keras", "weights": WEIGHTS, **PICTURES},
    "keras3.h5": {"kind": "h5_model", "loaded_by": "keras", "weights": WEIGHTS, **PICTURES},
    "keras2.h5": {"kind": "h5_model", "loaded_by": "tf_keras", "weights": WEIGHTS, **PICTURES},
    "keras3_custom.keras": {"custom_objects": {"TheirLayer": "tests.commands.inspect_units", "theirs": None}},
    "keras2_custom.h5": {"custom_objects": {"TheirLayer": None, "theirs": None}, "inputs": [tensor("x", [None, 4], "float32")]},
    "keras3.weights.h5": {"kind": "h5_weights", "needs_builder": True, "weights_layout": "keras_v3", "weights": WEIGHTS},
    "keras2_legacy.h5": {"kind": "h5_weights", "needs_builder": True, "weights_layout": "legacy", "weights": WEIGHTS},
    "saved_model": {"kind": "saved_model", "loaded_by": "tensorflow", "findings": []},
    "training.index": {"kind": "tf_checkpoint", "needs_builder": True},
    "float.tflite": {"kind": "tflite", "quantised_share": 0.0, "has_signature": True, "liteferry": {"variant": "float"}},
    "int8.tflite": {"kind": "tflite", "quantised_share": 1.0, "has_signature": True, "liteferry": {"variant": "int8"}},
    "plain.tflite": {"kind": "tflite", "has_signature": False, "liteferry": None, "operators": {"FULLY_CONNECTED": 1}},
}


@pytest.mark.parametrize("name", FACTS)
def test_an_artifact_tells_what_it_is(told: dict[str, dict[str, Any]], name: str) -> None:
    facts = told[name]
    assert {key: facts.get(key) for key in FACTS[name]} == FACTS[name]


@pytest.mark.parametrize("name", ["keras3.keras", "keras3.h5", "keras2.keras", "keras2.h5"])
def test_the_expected_range_and_the_trust_it_takes_are_told(told: dict[str, dict[str, Any]], name: str) -> None:
    facts = told[name]
    assert (facts["input_ranges"]["image"]["low"], facts["input_ranges"]["image"]["high"]) == (0, 255)
    assert [finding["opened_by"] for finding in facts["findings"]] == ["lambda"]
    assert "twice" in facts["findings"][0]["what"]
    assert "`trust: [lambda]`" in facts["next_step"]


@pytest.mark.parametrize(
    "name", [f"{library}_normalized.{ending}" for library in ("keras2", "keras3") for ending in ("keras", "h5")]
)
def test_the_statistics_of_a_normalization_are_read_off_the_weights(told: dict[str, dict[str, Any]], name: str) -> None:
    ranges = told[name]["input_ranges"]
    assert {key: (round(value["low"], 3), round(value["high"], 3)) for key, value in ranges.items()} == {
        "left": (-30, 50),
        "right": (-4, 4),
    }


def test_siblings_have_one_architecture(told: dict[str, dict[str, Any]]) -> None:
    digests = [told[name]["architecture_digest"] for name in ("keras3_one.keras", "keras3_two.keras")]
    other = told["keras3_normalized.keras"]["architecture_digest"]
    assert digests[0] == digests[1] != other


def test_a_saved_model_tells_its_signatures_and_what_writes_files(artifacts: Path) -> None:
    facts = contained.inspect(str(artifacts / "writes"))
    (graph,) = facts["graphs"]
    assert graph["tags"] == ["serve"]
    assert graph["signatures"]["serving_default"] == {
        "inputs": [tensor("x", [None, 4], "float32")],
        "outputs": [tensor("y", [None, 3], "float32")],
    }
    assert [finding["opened_by"] for finding in facts["findings"]] == ["file_ops"]
    assert "WriteFile" in facts["findings"][0]["what"]
    assert facts["weights"] == {"arrays": 2, "elements": 13, "bytes": 56, "dtypes": {"float32": 12, "int64": 1}}


def test_the_index_of_a_checkpoint_is_read_as_tensorflow_reads_it(artifacts: Path) -> None:
    by_tensorflow = in_sandbox("tell_variables", str(artifacts / "training"))
    read = {array.name: [list(array.shape), array.dtype] for array in bundle_index.arrays(str(artifacts / "training.index"))}
    assert read == by_tensorflow
    assert len(read) > 5
    weights = contained.inspect(str(artifacts / "training"))["weights"]
    assert weights["elements"] == 13, "the optimizer's state does not count"


def test_a_contract_has_names_positions_and_shapes(artifacts: Path) -> None:
    facts = contained.inspect(str(artifacts / "float.tflite"))
    (one,), (other,) = facts["inputs"], facts["outputs"]
    assert (one["name"], one["position"], one["dtype"], one["shape"]) == ("x", 0, "float32", [None, 64])
    assert (other["name"], other["shape"]) == ("y", [None, 64])
    assert facts["weights"] == {"elements": 4096, "dtypes": {"float32": 4096}}


# Without TensorFlow, at once


def test_it_is_read_without_tensorflow_and_keras(artifacts: Path) -> None:
    program = (
        "import sys; from liteferry.commands.inspect.child import protobufs_alone; protobufs_alone();"
        "from liteferry.commands.inspect.facts import describe\n"
        "heavy = ('keras', 'tf_keras', 'tensorflow.python')\n"
        "for path in sys.argv[1:]:\n"
        "    describe(path)\n"
        "    for name in [name for name in sys.modules if name.startswith(heavy)]: print(path, name)"
    )
    paths = [artifacts / name for name in FACTS]
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True)
    assert done.stdout == ""


@pytest.mark.nightly  # processor time means what it says on an idle machine
def test_it_is_instant(artifacts: Path) -> None:
    """Processor time of the whole command, the best of three, beside `import tensorflow`, in turn: a wall clock would measure
    the neighbours.
    """
    names = ("keras3.keras", "keras2.h5", "float.tflite")
    imports: list[float] = []
    inspects: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(3):
        imports.append(_processor_seconds([sys.executable, "-c", "import tensorflow"]))
        for name in names:
            command = [sys.executable, "-m", "liteferry", "inspect", str(artifacts / name)]
            inspects[name].append(_processor_seconds(command))
    assert {name: min(taken) / min(imports) for name, taken in inspects.items() if min(taken) > 0.5 * min(imports)} == {}


def _processor_seconds(command: Sequence[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_names_are_those_of_the_installed_libraries() -> None:
    names = in_sandbox("tell_names", None)
    assert set(names["layers"]) - MADE_BY_KERAS == LAYERS
    assert set(names["activations"]) == ACTIVATIONS


# The command


def test_the_command_prints_facts_or_json(artifacts: Path) -> None:
    said = liteferry("inspect", artifacts / "keras3.h5")
    assert said.returncode == 0, said.stderr
    for words in ("h5_model", "Keras 3", "image float32 [?, 8, 8, 3]", "image: 0 .. 255", "`trust: [lambda]` opens it", "Next: "):
        assert words in said.stdout
    for_machines = liteferry("inspect", "--json", artifacts / "keras3.h5")
    assert json.loads(for_machines.stdout)["kind"] == "h5_model"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.keras", "no such file"),
        ("empty.tflite", "not a .tflite file"),
        ("text.keras", "text (5 bytes), most likely an error message"),
        ("notes.txt", "no checkpoint that LiteFerry reads"),
        ("folder", "no checkpoint that LiteFerry reads"),
    ],
)
def test_what_is_none_is_one_clear_message(tmp_path: Path, name: str, words: str) -> None:
    for empty in ("empty.tflite", "text.keras", "notes.txt"):
        (tmp_path / empty).write_text("hello" * (empty != "empty.tflite"))
    (tmp_path / "folder").mkdir()
    said = liteferry("inspect", tmp_path / name)
    assert said.returncode == 2
    assert words in said.stderr and "Traceback" not in said.stderr
    assert said.stdout == ""


def test_the_docs_list_every_key(told: dict[str, dict[str, Any]]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "inspect.md").read_text()
    rows = [line.split("|")[1] for line in page.partition("## Keys")[2].splitlines() if line.startswith("| `")]
    listed = {key for row in rows for key in re.findall(r"`([a-z_]+)`", row)}
    assert {*FACTS, "packed.zip", "writes"} <= told.keys()
    assert listed == {key for facts in told.values() for key in facts}


# Broken and hostile files


BREAKABLE = ["keras3.keras", "keras2.h5", "keras3.weights.h5", "float.tflite", "training.index", "saved_model/saved_model.pb"]


@pytest.mark.parametrize("name", BREAKABLE)
@pytest.mark.parametrize(
    "damage",
    [
        "noise",
        pytest.param("cut", marks=pytest.mark.nightly),
        pytest.param("zeros", marks=pytest.mark.nightly),
        pytest.param("ones", marks=pytest.mark.nightly),
    ],
)
def test_a_damaged_file_is_told_and_nothing_falls_over(artifacts: Path, tmp_path: Path, name: str, damage: str) -> None:
    """Facts or an error, both are fine; a traceback, a hang or a killed command is not."""
    target = tmp_path / Path(name).parts[0]
    (shutil.copytree if (artifacts / target.name).is_dir() else shutil.copy)(artifacts / target.name, target)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    seeded = random.Random(f"{name} {damage}")
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        for at in seeded.sample(range(8, len(content)), min(200, len(content) // 10)):
            content[at] = {"zeros": 0, "ones": 255}.get(damage, seeded.randrange(256))
    path.write_bytes(content)
    said = liteferry("inspect", target)
    assert said.returncode in (0, 2), said.stderr
    assert "Traceback" not in said.stderr
    assert bool(said.stdout) is (said.returncode == 0)


def test_the_reader_takes_no_module_of_the_working_directory(artifacts: Path, tmp_path: Path) -> None:
    (tmp_path / "h5py.py").write_text("open('marker', 'w').close()")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "liteferry", "inspect", artifacts / "keras2.h5"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "marker").exists()
