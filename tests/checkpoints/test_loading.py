"""Every kind of checkpoint, written by the library that writes it, exported and run without that library, against its own
answers.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from liteferry.sandbox import Flavor, Limits
from tests.checkpoints import fixtures_checkpoints
from tests.support.units import run_unit

FIXTURES = sorted(name for writers in fixtures_checkpoints.WRITERS.values() for name in writers)
BY_DAY = {
    "builder_reads_the_folders_name",
    "builder_takes_checkpoint",
    "cudnn_weights_into_portable_builder",
    "h5_without_a_version",
    "inside_a_zip",
    "keras2_always_on_augmentation_stripped",
    "keras2_functional",
    "keras2_stateful_rnn",
    "keras2_text_vectorization",
    "keras3_augmenting",
    "keras3_h5_model",
    "keras3_lambda_trusted",
    "keras3_normalization",
    "keras3_subclassed",
    "keras3_train_checkpoint",
    "keras3_weights_h5",
    "module_checkpoint",
    "saved_model_with_optimizer",
    "several_signatures",
    "tf1_saved_model_with_table",
    "tf1_saver",
}
LIMITS = Limits(seconds=120, memory_bytes=8 * 10**9)


def run(function: str, folder: Path, flavor: Flavor) -> dict[str, Any]:
    outcome = run_unit(
        f"tests.checkpoints.loading_unit:{function}", str(folder), flavor=flavor, limits=LIMITS, writable=[str(folder)]
    )
    assert outcome.error is None, str(outcome.error)
    result: dict[str, Any] = outcome.results[0]
    return result


@pytest.mark.parametrize("name", [name if name in BY_DAY else pytest.param(name, marks=pytest.mark.nightly) for name in FIXTURES])
def test_the_saved_model_answers_as_the_library_that_wrote_the_checkpoint(fixtures: Path, name: str) -> None:
    folder = fixtures / name
    assert not (folder / "error.txt").exists(), (folder / "error.txt").read_text()
    case = json.loads((folder / "case.json").read_text())
    exported = run("export_case", folder, Flavor.KERAS)
    (folder / "exported.json").write_text(json.dumps(exported))
    assert exported["kind"] == case["kind"]
    assert exported["deterministic"], "two inference runs differ"
    answered = run("run_clean", folder, Flavor.CLEAN)
    assert max(answered["difference"].values()) <= 1e-6, answered["difference"]
    assert answered["signatures"] == case.get("signatures_kept", ["serving_default"])


def loaded(fixtures: Path, name: str) -> dict[str, Any]:
    """What the loader said of a fixture; exported again into the same place where the test above has not run."""
    exported = fixtures / name / "exported.json"
    if exported.exists():
        result: dict[str, Any] = json.loads(exported.read_text())
        return result
    return run("export_case", fixtures / name, Flavor.KERAS)


@pytest.mark.parametrize("library", ["keras2", "keras3"])
def test_what_is_stripped_is_told(fixtures: Path, library: str) -> None:
    result = loaded(fixtures, f"{library}_always_on_augmentation_stripped")
    assert result["stripped"] == ["noisy (AlwaysNoisy)"]
    assert any("noisy (AlwaysNoisy)" in warning for warning in result["warnings"])


@pytest.mark.parametrize("library", ["keras2", "keras3"])
def test_what_the_model_says_of_its_input_and_training_is_told(fixtures: Path, library: str) -> None:
    result = loaded(fixtures, f"{library}_augmenting")
    assert result["input_ranges"] == {"image": [0.0, 255.0]}
    assert {"RandomRotation", "RandomFlip", "GaussianNoise", "Dropout", "Rescaling"} == set(result["training_layers"])


@pytest.mark.parametrize(("library", "oracle"), [("keras2", "tf_keras 2."), ("keras3", "keras 3.")])
def test_what_wrote_the_file_is_the_oracle(fixtures: Path, library: str, oracle: str) -> None:
    assert loaded(fixtures, f"{library}_hard_sigmoid")["oracle"].startswith(oracle)


def test_what_the_other_keras_computes_is_told(fixtures: Path) -> None:
    """The file does not say that Keras 3 wrote it, and tf_keras cannot load it; all of it computes the same in both."""
    result = loaded(fixtures, "h5_without_a_version")
    assert result["oracle"].startswith("keras 3.")
    (warning,) = result["warnings"]
    assert warning.startswith("Keras 3 computes this model, since tf_keras cannot load it")


def test_what_may_compute_something_else_is_never_left_to_the_other_keras(fixtures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    shutil.copytree(fixtures / "h5_without_a_version", folder, ignore=shutil.ignore_patterns("out"))

    def edit(config: Any) -> Any:
        return json.loads(json.dumps(config).replace('"relu"', '"hard_sigmoid"'))

    fixtures_checkpoints.edit_h5_config(str(folder / "model.h5"), edit)
    outcome = run_unit(
        "tests.checkpoints.loading_unit:export_case", str(folder), flavor=Flavor.KERAS, limits=LIMITS, readable=[str(folder)]
    )
    assert outcome.error is not None
    assert outcome.error.code == "LOAD_FAILED"
    assert "Keras 3 was not tried instead, since it may compute the activation hard_sigmoid" in outcome.error.message


@pytest.mark.parametrize("library", ["keras2", "keras3"])
def test_the_statistics_of_an_adapted_normalization_are_an_expected_range(fixtures: Path, library: str) -> None:
    """They stand among the weights: about 20, give or take four times 7."""
    low, high = loaded(fixtures, f"{library}_normalization")["input_ranges"]["x"]
    assert -30 < low < 0 < 40 < high < 80


def test_state_between_calls_is_told(fixtures: Path) -> None:
    assert any("stateful" in warning for warning in loaded(fixtures, "keras2_stateful_rnn")["warnings"])


@pytest.mark.parametrize("strip", [["Dense"], ["AlwaysNoisy", "Conv2D"]])
def test_strip_never_removes_what_computes(fixtures: Path, tmp_path: Path, strip: list[str]) -> None:
    folder = tmp_path / "case"
    shutil.copytree(fixtures / "keras3_augmenting", folder, ignore=shutil.ignore_patterns("out"))
    case = json.loads((folder / "case.json").read_text())
    (folder / "case.json").write_text(json.dumps({**case, "strip": strip}))
    outcome = run_unit(
        "tests.checkpoints.loading_unit:export_case", str(folder), flavor=Flavor.KERAS, limits=LIMITS, writable=[str(folder)]
    )
    assert outcome.error is not None
    assert outcome.error.code == "LOAD_UNSUPPORTED"
    assert strip[-1] in outcome.error.message


def test_strip_never_removes_a_users_layer_that_has_weights(fixtures: Path, tmp_path: Path) -> None:
    """The class is the user's, so only the weights in the file can tell: BatchNormalization under another name."""
    folder = tmp_path / "case"
    shutil.copytree(fixtures / "keras2_strip_sequential_h5", folder, ignore=shutil.ignore_patterns("out"))
    case = json.loads((folder / "case.json").read_text())
    fixtures_checkpoints.edit_h5_config(
        str(folder / case["checkpoint"]),
        lambda config: json.loads(
            json.dumps(config).replace('"BatchNormalization"', '"TheirNorm"').replace("keras.layers", "theirs")
        ),
    )
    (folder / "case.json").write_text(json.dumps({**case, "strip": ["AlwaysNoisy", "TheirNorm"]}))
    outcome = run_unit(
        "tests.checkpoints.loading_unit:export_case", str(folder), flavor=Flavor.KERAS, limits=LIMITS, writable=[str(folder)]
    )
    assert outcome.error is not None
    assert outcome.error.code == "LOAD_FAILED"
    assert "TheirNorm" in outcome.error.message and str(folder) in outcome.error.message


def test_the_docs_list_every_fixture_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text()
    rows = [line.split("|") for line in page.partition("## What is covered")[2].splitlines() if line.startswith("| ")]
    listed = {name for row in rows[1:] for name in re.findall(r"`([a-z0-9_]+)`", row[3])}
    assert set(FIXTURES) >= BY_DAY
    assert listed == {re.sub(r"^keras[23]_", "", name) for name in FIXTURES}
