"""The noise floor is measured, not guessed, and a file that is wrong cannot speak for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from liteferry.evaluation import kernel_noise
from liteferry.parity import noise
from liteferry.parity.noise import NoiseFloor, OutputNoise
from liteferry.types import Signature, TensorSpec

ROWS = {"x": np.arange(20, dtype=np.float32).reshape(10, 2)}


def signature(batch: int | None = None) -> Signature:
    return Signature(inputs=(TensorSpec(name="x", shape=(batch, 2), dtype="float32"),), outputs=())


def adding_its_batch_size(error: float) -> Any:
    return lambda inputs: {"y": inputs["x"] + np.float32(error * (len(inputs["x"]) == 1))}


class TestBatchSize:
    @pytest.mark.parametrize("error", [0.0, 0.5])
    def test_is_the_largest_difference_between_batches(self, error: float) -> None:
        found = noise.of_batch_size(adding_its_batch_size(error), ROWS, signature())
        assert found is not None
        assert found.to_json() == {
            "rows": 8,
            "batch_sizes": [8, 3, 1],
            "outputs": {"y": {"max_abs": error, "max_rel": error / 5}},  # 5: the largest answer to the rows compared
        }

    def test_one_row_is_taken_twice(self) -> None:
        found = noise.of_batch_size(adding_its_batch_size(0.25), {"x": ROWS["x"][:1] + 1}, signature())
        assert found is not None
        assert found.to_json() == {"rows": 2, "batch_sizes": [2, 1], "outputs": {"y": {"max_abs": 0.25, "max_rel": 0.125}}}

    def test_nan_on_one_side_is_no_noise(self) -> None:
        found = noise.of_batch_size(adding_its_batch_size(np.nan), ROWS, signature())
        assert found is not None
        assert found.outputs["y"] == OutputNoise(max_abs=None, max_rel=None)

    def test_integers_and_text_have_none(self) -> None:
        found = noise.of_batch_size(lambda inputs: {"y": inputs["x"].astype(int)}, ROWS, signature())
        assert found is not None
        assert found.outputs == {}

    def test_is_not_measured_where_there_is_no_other_batch_size(self) -> None:
        def refuses(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            if len(inputs["x"]) != 8:
                raise ValueError("8 rows only")
            return {"y": inputs["x"]}

        assert noise.of_batch_size(refuses, ROWS, signature()) is None
        assert noise.of_batch_size(adding_its_batch_size(0), ROWS, signature(batch=4)) is None
        assert noise.of_batch_size(adding_its_batch_size(0), {}, signature()) is None


@pytest.mark.parametrize("stored", [None, [], "text", {"outputs": 3}, {"outputs": {"y": 1}, "rows": "many", "kernels": 4}])
def test_what_a_damaged_report_says_of_noise_raises_no_gate(stored: Any) -> None:
    assert noise.limits_from("float32", {"float32": NoiseFloor.from_json(stored)}) == {}


class Fake:
    """A runner that answers what it is told: real kernels agree too well to plant a defect in."""

    def __init__(self, answer: float) -> None:
        self._answer = np.float32(answer)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"y": inputs["x"] + self._answer}


class TestKernels:
    @pytest.mark.parametrize(
        ("shipped", "other", "counts"),
        [
            pytest.param(1e-2, 0.0, True, id="the file is right on other kernels: it is the kernels"),
            pytest.param(1e-2, 5e-2, False, id="it is wrong on both: no noise"),
            pytest.param(0.0, 5e-2, False, id="right as shipped: nothing to excuse"),
            pytest.param(0.0, np.nan, False, id="NaN proves nothing"),
        ],
    )
    def test_count_only_for_a_file_that_is_right_on_other_kernels(self, shipped: float, other: float, counts: bool) -> None:
        as_shipped: Any = Fake(shipped)
        on_others: Any = Fake(other)
        found = kernel_noise.of_kernels(as_shipped, on_others, ROWS, {"y": ROWS["x"]}, kernels="reference")
        assert found is not None
        assert found.outputs["y"].counts is counts
        limits = noise.limits_from("float32", {"float32": found})
        assert (limits != {}) is counts

    def test_small_models_are_held_against_reference_kernels(self) -> None:
        assert kernel_noise.kernels_for(1e6) == "reference"
        assert kernel_noise.kernels_for(1e12) == "builtin"


class TestLimits:
    STORED: Mapping[str, Any] = {
        "reference": {"outputs": {"y": {"max_abs": 1.0, "max_rel": 0.1}, "z": {"max_abs": None, "max_rel": None}}},
        "float32": {"outputs": {"y": {"max_rel": 0.2, "counts": True}, "z": {"max_rel": 0.3, "counts": False}}},
    }

    @pytest.mark.parametrize(
        ("candidate", "expected"),
        [
            ("saved_model", {"y": {"max_rel": 0.1}}),
            ("float32", {"y": {"max_rel": 0.2}}),
            ("float16", {}),
            ("int8", {}),
        ],
    )
    def test_come_from_what_speaks_for_the_candidate(self, candidate: str, expected: dict[str, Any]) -> None:
        floors = {source: NoiseFloor.from_json(stored) for source, stored in self.STORED.items()}
        assert noise.limits_from(candidate, floors) == expected
        assert noise.limits_from(candidate, {"reference": None, "float32": None}) == {}

    def test_a_model_that_depends_on_its_batch_is_warned_about(self) -> None:
        measured = NoiseFloor(
            rows=8,
            batch_sizes=(8, 3, 1),
            outputs={name: OutputNoise(max_abs=None, max_rel=value) for name, value in (("y", 1e-3), ("z", None), ("ok", 1e-7))},
        )
        warnings = noise.warnings_of({"reference": measured})
        assert [warning.split("'")[1] for warning in warnings] == ["y", "z"]
        assert "by 0.001 of the largest answer between batches of 8, 3, 1 rows" in warnings[0]
