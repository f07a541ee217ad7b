"""The rows that differ most, as people see them: short inputs in words, images as thumbnails, the same ones for any sharding."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liteferry.config.load import load_job
from liteferry.evaluation.worst_inputs import show, shown
from liteferry.json_records import decode
from liteferry.plan import bound_rows
from liteferry.plan.planning import plan_models
from liteferry.types import Signature
from tests.support import Run

RANDOM = np.random.default_rng(0)
VALUES: dict[str, tuple[np.ndarray, list[str]]] = {
    "a number": (np.array(1.5, np.float32), ["1.5"]),
    "whole numbers": (np.array([1, 2**40]), ["1", "1099511627776"]),
    "not finite": (np.array([np.nan, -np.inf]), ["nan", "-inf"]),
    "words": (np.array([b"cat", b"\xff"], dtype=object), ["cat", "\\xff"]),
    "a long word": (np.array(["x" * 50], dtype=object), ["x" * 39 + "…"]),
    "a small matrix": (np.zeros((4, 4), np.float32), ["0"] * 16),
    "too long": (np.zeros(17, np.float32), []),
    "a sequence of vectors": (np.zeros((30, 3), np.float32), []),
    "four channels": (np.zeros((9, 9, 4), np.uint8), []),
    "an image too large": (np.zeros((4, 3000, 3), np.uint8), []),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_short_input_is_shown_in_words_and_one_that_is_no_image_by_its_shape(name: str) -> None:
    value, words = VALUES[name]
    shown = show(value)
    assert (shown["values"], shown["image"], shown["shape"]) == (words, None, list(value.shape))
    assert shown["dtype"] == ("string" if value.dtype == object else value.dtype.name)


GREY = RANDOM.integers(0, 256, (28, 28))


@pytest.mark.parametrize(
    ("value", "pixels"),
    [
        (GREY.astype(np.uint8), GREY),
        (GREY.astype(np.float32)[..., None], GREY),
        ((GREY / 255).astype(np.float32)[..., None], GREY),
        ((GREY / 127.5 - 1).astype(np.float32), GREY - GREY.min()),
        (np.stack([GREY] * 3, axis=-1).astype(np.uint8), np.stack([GREY] * 3, axis=-1)),
    ],
    ids=["bytes", "0 to 255", "0 to 1", "-1 to 1", "colour"],
)
def test_an_image_keeps_its_pixels(value: np.ndarray, pixels: np.ndarray) -> None:
    uri = show(value)["image"]
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))), np.int64)
    assert found.shape == pixels.shape
    assert np.abs(found - pixels).max() <= 1


def test_a_large_image_becomes_a_thumbnail() -> None:
    uri = show(np.zeros((300, 600, 3), np.uint8))["image"]
    assert Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size == (96, 48)


def test_the_report_holds_the_rows_of_its_worst_examples(demo: Run) -> None:
    report = demo.report("cnn")
    named = {(example["id"], example["row"]) for part in report["variants"].values() for example in part["worst_examples"]}
    named |= {(example["id"], example["row"]) for example in report["saved_model"]["worst_examples"]}
    shown = {(row["id"], row["row"]) for row in report["worst_rows"]}
    assert shown
    assert shown <= named
    assert len(shown) <= 6
    assert all(row["inputs"]["image"]["image"].startswith("data:image/png;base64,") for row in report["worst_rows"])
    page = (demo.out / "models/cnn/report.html").read_text()
    pictures = set(re.findall(r'<img src="(data:image/png;base64,[^"]+)"', page))
    assert pictures == {row["inputs"]["image"]["image"] for row in report["worst_rows"]}


def test_both_answers_stand_beside_a_worst_example(demo: Run) -> None:
    example = demo.report("cnn")["variants"]["dynamic_int8"]["worst_examples"][0]
    reference, candidate = (np.array(example[side], float) for side in ("reference", "candidate"))
    assert np.abs(reference - candidate).max() == pytest.approx(example["max_abs"], abs=1e-5)


def test_the_input_is_that_of_the_row(kitchen_sink: Run, demo: Run) -> None:
    """From two files, with ids, in an order of their own."""
    import pyarrow.parquet as pq

    whole = pq.read_table(demo.out / "fleet" / "digits.parquet")
    rows = kitchen_sink.report("in_two_files")["worst_rows"]
    assert rows
    for row in rows:
        expected = np.asarray(whole.column("image")[row["row"]].as_py(), np.float32)
        assert row["inputs"]["image"] == show(expected.reshape(-1) if expected.size <= 16 else _as_input(expected))


@pytest.mark.parametrize("model_id", ["cnn", "two_halves"])
def test_rows_out_of_memory_are_those_that_are_read_again(demo: Run, tmp_path: Path, model_id: str) -> None:
    """A small shard is remembered; of a large one only the rows that are shown are read a second time."""
    job = load_job(demo.out / "fleet" / "job.yaml")
    plan = next(plan for plan in plan_models(job, str(tmp_path)) if plan.model_id == model_id)
    signature = decode(Signature, demo.report(model_id)["saved_model"]["signatures"]["serving_default"])
    binding = bound_rows.bind(plan, signature, {})
    list(bound_rows.batches(plan, binding, shard_index=0))
    assert bound_rows.is_remembered(plan, binding, shard_index=0), "both ways would be the same one"
    remembered = shown(plan, binding, {3: "3", 77: "77"}, shard_index=0)
    bound_rows.forget()
    assert shown(plan, binding, {3: "3", 77: "77"}, shard_index=0) == remembered
    assert list(remembered) == [3, 77]


def _as_input(flat: np.ndarray) -> np.ndarray:
    return flat if flat.ndim > 1 else flat.reshape(8, 8, 1)
