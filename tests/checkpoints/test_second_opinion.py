"""The library's own loader, as the second opinion calls it: on every kind of checkpoint it answers what the writer of the file
answered, or says in words of docs/checkpoints.md why it cannot be asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry.errors import ReasonCode
from liteferry.exporting import second_opinion
from liteferry.json_records import decode
from liteferry.loading import tracing
from liteferry.loading.opinion import loader
from liteferry.loading.opinion.calls import NoOpinionError
from liteferry.loading.user_code import Offered
from liteferry.sandbox import Flavor, Limits, arrays_file
from liteferry.types import OpinionStatus, SecondOpinion
from tests.checkpoints import fixtures_checkpoints
from tests.support.units import run_unit

FIXTURES = sorted(name for writers in fixtures_checkpoints.WRITERS.values() for name in writers)
LIMITS = Limits(seconds=120, memory_bytes=8 * 10**9)
# One of each kind; by day every run of the suite asks for opinions, too.
BY_DAY = {
    "keras3_functional",
    "keras3_normalization",
    "keras3_weights_h5",
    "keras3_train_checkpoint",
    "keras2_h5_model",
    "keras2_lambda_trusted",
    "keras2_strip_sequential_h5",
    "keras2_always_on_augmentation_stripped",
    "cudnn_lstm",
    "inside_a_zip",
    "module_checkpoint",
    "saved_model_with_optimizer",
    "several_signatures",
    "tf1_saver",
    "tf1_saved_model_with_table",
}
WITHOUT = {
    "cudnn_in_keras_archive",
    "cudnn_gru_in_keras_archive",
    "cudnn_weights_into_keras_3_builder",
    "keras2_strip_sequential_h5",  # the class that is stripped is not given
    "keras3_strip_sequential_h5",
}
CORRECTED = {
    "cudnn_lstm": "CuDNN's kernels need a GPU",
    "cudnn_gru": "CuDNN's kernels need a GPU",
    "keras2_always_on_augmentation_stripped": "as `strip` asks",
    "keras3_always_on_augmentation_stripped": "as `strip` asks",
}


def opinion_of(folder: Path) -> SecondOpinion:
    outcome = run_unit(
        "tests.checkpoints.second_opinion_units:opinion_of_case",
        str(folder),
        flavor=Flavor.KERAS,
        limits=LIMITS,
        readable=[str(folder)],
    )
    assert outcome.error is None, outcome.error
    return decode(SecondOpinion, outcome.results[0])


@pytest.mark.parametrize("name", [name if name in BY_DAY else pytest.param(name, marks=pytest.mark.nightly) for name in FIXTURES])
def test_the_own_loader_answers_as_the_writer_did(fixtures: Path, name: str) -> None:
    opinion = opinion_of(fixtures / name)
    wanted = OpinionStatus.NONE if name in WITHOUT else OpinionStatus.EQUAL
    assert opinion.status is wanted, opinion
    assert (opinion.code is None) and (wanted is OpinionStatus.NONE) == bool(opinion.why and opinion.max_rel is None)
    assert CORRECTED.get(name, "") in (opinion.why or ""), opinion


def test_fixtures_named_here_are_there() -> None:
    assert WITHOUT | CORRECTED.keys() | BY_DAY <= set(FIXTURES)


# --- what counts as equal


def array(value: Any) -> np.ndarray:
    """Text as TensorFlow hands it over: a fixed width would drop what ends in zeros."""
    is_text = isinstance(value, list) and isinstance(value[0], bytes)
    return np.array(value, object) if is_text else np.asarray(value)


def compared(reference: dict[str, Any], candidate: dict[str, Any]) -> SecondOpinion:
    arrays = [{name: array(value) for name, value in side.items()} for side in (reference, candidate)]
    return second_opinion.compare(arrays[0], arrays[1], limits=lambda _: 1e-5, asked=second_opinion.Asked(by="keras 3", rows=2))


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        ({"y": [1.0, 2.0]}, {"y": [1.0, 2.00001]}),
        ({"y": [np.nan, 2.0]}, {"y": [np.nan, 2.0]}),
        ({"y": [np.inf, 2.0]}, {"y": [np.inf, 2.0]}),
        ({"y": [1, 2]}, {"y": [1, 2]}),
        ({"y": [b"a\0", b""]}, {"y": [b"a\0", b""]}),
        ({"a": [1.0, 2.0], "b": [[5.0], [6.0]]}, {"x": [[5.0], [6.0]], "z": [1.0, 2.0]}),
        ({"y": 3.0}, {"y": 3.0}),
    ],
)
def test_equal(reference: dict[str, Any], candidate: dict[str, Any]) -> None:
    opinion = compared(reference, candidate)
    assert (opinion.status, opinion.code) == (OpinionStatus.EQUAL, None), opinion
    assert opinion.max_rel is not None and opinion.max_rel <= 1e-5


@pytest.mark.parametrize(
    ("reference", "candidate", "told"),
    [
        ({"y": [1.0, 2.0]}, {"y": [1.0, 2.1]}, "row 1 is 2.1 by keras 3's own loader and 2.0 in the exported model"),
        ({"y": [np.nan, 2.0]}, {"y": [1.0, 2.0]}, "row 0 is 1.0"),
        ({"y": [1.0, 2.0]}, {"y": [[1.0, 2.0]]}, "in the shape [1, 2]"),
        ({"y": [1, 2]}, {"y": [1, 3]}, "row 1 is 3"),
        ({"y": [b"a\0"]}, {"y": [b"a"]}, "row 0"),
        ({"a": [1.0]}, {"a": [1.0], "b": [1.0]}, "2 outputs (a, b), the exported model with 1 (a)"),
        ({"a": [1.0], "b": [2.0]}, {"a": [2.0], "b": [1.0]}, "own loader"),
        ({"a": [1.0], "b": [2.0]}, {"x": [1.0], "z": [1.0]}, "own loader"),
        ({}, {"y": [1.0]}, "1 outputs (y), the exported model with 0 (none)"),
    ],
)
def test_different(reference: dict[str, Any], candidate: dict[str, Any], told: str) -> None:
    opinion = compared(reference, candidate)
    assert (opinion.status, opinion.code) == (OpinionStatus.DIFFERENT, ReasonCode.EXPORT_MISMATCH)
    assert opinion.why is not None and told in opinion.why
    reason = opinion.reason()
    assert reason is not None and reason.message == opinion.why


def test_rows_and_answers_travel_without_loss(tmp_path: Path) -> None:
    import ml_dtypes

    arrays = [
        np.array([b"a\0", b"", "\u00e9".encode()], object),
        np.arange(6, dtype=np.int64).reshape(2, 3) + 2**60,
        np.array([1.5, np.nan], ml_dtypes.bfloat16),
        np.array(True),
    ]
    arrays_file.write(str(tmp_path / "arrays.npz"), dict(zip("abcd", arrays, strict=True)))
    back = arrays_file.read(str(tmp_path / "arrays.npz"))
    for array, found in zip(arrays, back.values(), strict=True):
        assert found.shape == array.shape
        assert second_opinion.distance(array, found) == 0.0


def test_of_two_classes_of_one_name_the_opinion_takes_that_of_the_files_module() -> None:
    one, other = (type("Block", (), {"__module__": module}) for module in ("encoder", "decoder"))
    offered = Offered(defined={"Block": (one, other)}, chosen={}, packages=(), problems=())
    nodes = [{"class_name": "Block", "module": module, "registered_name": "Custom>Block"} for module in ("encoder", "decoder")]
    assert loader._of_their_modules(nodes[:1], offered) == {"Custom>Block": one}
    assert loader._of_their_modules(nodes[1:], offered) == {"Custom>Block": other}
    with pytest.raises(NoOpinionError, match="two modules have a class 'Block'"):
        loader._of_their_modules(nodes, offered)
    assert loader._of_their_modules([{**nodes[0], "module": None}], offered) == {}


@pytest.mark.parametrize("distance", [second_opinion.distance, tracing.relative_distance])
@pytest.mark.parametrize("dtype", [bool, np.int64])
def test_near_ties_of_a_mask_are_the_same_answer_and_no_other_whole_numbers_are(distance: Any, dtype: Any) -> None:
    mask = (np.arange(20_000).reshape(2, 100, 100) % 2).astype(dtype)
    other = mask.copy()
    other.reshape(-1)[:2] = ~mask.reshape(-1)[:2] if dtype is bool else 1 - mask.reshape(-1)[:2]
    assert distance(mask, other) == 0.0
    assert distance(mask.reshape(-1), other.reshape(-1)) > 0.0
    other.reshape(-1)[2] = not mask.reshape(-1)[2]
    assert distance(mask, other) > 0.0


def test_a_loader_that_raises_is_no_opinion_that_lets_a_model_pass() -> None:
    """An unlisted failure of the library's loader proves nothing, so it is no opinion that lets a model pass."""
    opinion = second_opinion._unable(TypeError("no such layer in /scratch/x1/tmp2/model.keras"), "/scratch/x1")
    assert (opinion.status, opinion.code) == (OpinionStatus.NONE, ReasonCode.EXPORT_MISMATCH)
    assert opinion.why is not None and "in model.keras" in opinion.why, "another folder in every run is no fact"
    for error in (MemoryError(), OSError(5, "Input/output error")):
        with pytest.raises(type(error)):
            second_opinion._unable(error, "/scratch")
