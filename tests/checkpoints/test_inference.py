"""Inference, proven: every random layer of both libraries is off; what a config says of training and inputs is read right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry.checkpoints.architecture_facts import STRIPPABLE, InputRange, input_range, range_warning, training_layers
from liteferry.checkpoints.config_scan import architecture_digest
from liteferry.sandbox import Flavor, Limits
from tests.support.units import run_unit

LIMITS = Limits(seconds=300, memory_bytes=8 * 10**9)


@pytest.fixture(scope="module", params=["keras", pytest.param("tf_keras", marks=pytest.mark.nightly)])
def random_layers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp(request.param)
    outcome = run_unit(
        "tests.checkpoints.inference_units:run_every_random_layer",
        (request.param, str(folder)),
        flavor=Flavor.KERAS,
        limits=LIMITS,
        writable=[str(folder)],
    )
    assert outcome.error is None, outcome.error
    results: dict[str, dict[str, Any]] = outcome.results[0]
    return results


def test_every_random_layer_is_off_in_what_is_exported(random_layers: dict[str, dict[str, Any]]) -> None:
    assert len(random_layers) >= 15
    wrong = {name: result for name, result in random_layers.items() if result["difference"] != 0 or not result["deterministic"]}
    assert not wrong


def test_the_layers_are_on_when_training(random_layers: dict[str, dict[str, Any]]) -> None:
    """The table above means something: called with training=True, nearly all of these change their input. Those that act on few
    rows, need labels too, or may draw the size that is there already, may not have.
    """
    quiet = {name for name, result in random_layers.items() if not result["acts_in_training"]}
    on_some_rows = {"RandomGrayscale", "RandomInvert", "RandomErasing", "RandomGaussianBlur", "AugMix", "RandAugment"}
    assert quiet <= on_some_rows | {"CutMix", "MixUp"} | {"RandomHeight", "RandomWidth"}


def test_strip_knows_every_random_layer_that_keeps_its_shape(random_layers: dict[str, dict[str, Any]]) -> None:
    assert set(random_layers) - {"RandomCrop", "RandomHeight", "RandomWidth"} <= STRIPPABLE


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Architectures as both libraries write them, from one process for each."""
    found: dict[str, Any] = {}
    for library in ("keras", "tf_keras"):
        folder = tmp_path_factory.mktemp(f"configs_{library}")
        outcome = run_unit(
            "tests.checkpoints.inference_units:write_configs",
            (library, str(folder)),
            flavor=Flavor.KERAS,
            limits=LIMITS,
            writable=[str(folder)],
        )
        assert outcome.error is None, outcome.error
        found[library] = {path.stem: json.loads(Path(path).read_text()) for path in folder.glob("*.json")}
    return found


RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "rescaling_first": {"image": (0, 255)},
    "after_augmentation": {"image": (0, 255)},
    "minus_one_to_one": {"image": (0, 255)},
    "functional_two_inputs": {"image": (0, 255)},
    "nested_backbone": {"image": (0, 255)},
    "normalization": {"features": (6.0, 30.0)},
    "after_a_dense_layer": {},
    "no_scaling": {},
}


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize("name", RANGES)
def test_the_range_an_input_expects(configs: dict[str, Any], library: str, name: str) -> None:
    found = {input_name: (expected.low, expected.high) for input_name, expected in input_range(configs[library][name]).items()}
    assert found.keys() == RANGES[name].keys()
    for input_name, expected in RANGES[name].items():
        np.testing.assert_allclose(found[input_name], expected, rtol=1e-3, atol=1e-3)


PIXELS = InputRange(low=0.0, high=255.0, because="rescaling")


@pytest.mark.parametrize(
    ("expected", "low", "high", "words"),
    [
        (PIXELS, 0.0, 255.0, None),
        (PIXELS, 3.0, 180.0, None),
        (PIXELS, 0.0, 1.0, "normalised already"),
        (PIXELS, -1.0, 1.0, "normalised already"),
        (PIXELS, -2.1, 2.6, "normalised already"),
        (PIXELS, 0.0, 65535.0, "another scale"),
        (InputRange(low=0.0, high=1.0, because="r"), 0.0, 255.0, "another scale"),
        (InputRange(low=-1.0, high=1.0, because="r"), 0.0, 1.0, None),
        (PIXELS, 7.0, 7.0, None),
    ],
)
def test_sample_rows_that_do_not_fit_the_range(expected: InputRange, low: float, high: float, words: str | None) -> None:
    warning = range_warning("image", expected, low=low, high=high)
    if words is None:
        assert warning is None
    else:
        assert warning is not None and words in warning


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_the_settings_of_augmentation_and_preprocessing_are_kept(configs: dict[str, Any], library: str) -> None:
    layers = training_layers(configs[library]["after_augmentation"])
    assert [layer["class_name"] for layer in layers] == ["GaussianNoise", "RandomRotation", "Rescaling"]
    by_class = {layer["class_name"]: layer["config"] for layer in layers}
    assert by_class["GaussianNoise"]["stddev"] == 0.25
    assert "0.125" in json.dumps(by_class["RandomRotation"]["factor"])
    assert len(training_layers(configs[library]["nested_backbone"])) == 2


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize("name", ["sibling_other_weights_and_names", "sibling_other_seed", "sibling_other_training"])
def test_siblings_have_one_architecture_digest(configs: dict[str, Any], library: str, name: str) -> None:
    assert architecture_digest(configs[library][name]) == architecture_digest(configs[library]["digest_base"])


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize("name", ["other_width", "other_activation", "other_wiring", "other_output_order"])
def test_another_function_has_another_architecture_digest(configs: dict[str, Any], library: str, name: str) -> None:
    assert architecture_digest(configs[library][name]) != architecture_digest(configs[library]["digest_base"])
