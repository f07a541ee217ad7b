"""`liteferry.export` on a model in memory: its own answers from before it was saved decide, and a planted defect is seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import liteferry
from liteferry.commands.python import api, live
from liteferry.commands.python.results import ExportedFleet, of_report
from liteferry.config.job import SamplesSpec
from liteferry.errors import JobError
from liteferry.samples.opening import open_samples

ROWS = {"image": np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32), "label": np.arange(24) % 3}


@pytest.fixture(scope="module")
def model() -> Any:
    import keras

    keras.utils.set_random_seed(1)
    image = keras.Input((6,))
    return keras.Model(image, keras.layers.Dense(3, activation="softmax", name="scores")(image), name="small")


def test_a_model_in_memory_is_held_against_its_own_answers(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = liteferry.export(model, ROWS, output=tmp_path / "out", variants=["float32"], label="label")
    assert exported.is_blessed, exported.reason
    assert exported.blessed == ("saved_model", "float32")
    assert Path(exported.variants["float32"]).is_file()
    opinion = exported.report["saved_model"]["second_opinion"]
    assert (opinion["status"], opinion["by"], opinion["rows"]) == ("equal", "the live model, before it was saved", 24)
    assert "blessed" in exported._repr_html_()

    honest = live.answers

    def off(asked: Any, spec: Any) -> live.Answers:
        found = honest(asked, spec)
        assert found.batches is not None
        wrong = ({name: value + 0.01 for name, value in found.batches[0].items()}, *found.batches[1:])
        return dataclasses.replace(found, batches=wrong)

    monkeypatch.setattr(live, "answers", off)
    refused = liteferry.export(model, ROWS, output=tmp_path / "out", variants=["float32"], label="label")
    assert not refused.is_blessed
    assert refused.report["reason"]["code"] == "EXPORT_MISMATCH"
    assert "the live model, before it was saved" in str(refused.reason)


def test_keys_that_no_job_has_are_told_with_the_nearest() -> None:
    with pytest.raises(JobError, match=r"lable: no such key \(did you mean label"):
        liteferry.export("model.keras", ROWS, output="out", lable="label")


@pytest.mark.parametrize("samples", [3, {"x": np.array([object()])}, {"x": [[1, 2], [3]]}, [[0.5, 1.5], [2.5, 3.5]]])
def test_rows_that_are_none_are_told(samples: Any, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="samples: "):
        liteferry.export("model.keras", samples, output=tmp_path)


def test_rows_in_memory_become_files_of_the_formats_that_are_read(tmp_path: Path) -> None:
    for samples in (ROWS, pd.DataFrame({"x": [1.0, 2.0]})):
        with api._rows(samples) as path:
            assert Path(path).is_file()
        assert not Path(path).exists()


@pytest.mark.parametrize(
    ("samples", "columns"),
    [
        (np.zeros((3, 2)), {"x": "float64"}),
        ((np.zeros((3, 2)), np.arange(3)), {"x": "float64", "y": "int64"}),
        (({"a": np.zeros(3), "b": np.ones(3)}, np.arange(3), None), {"a": "float64", "b": "float64", "y": "int64"}),
        ({"text": np.array([b"one", "two"], object)}, {"text": "string"}),
        (pd.DataFrame(np.zeros((3, 2))), {"0": "float64", "1": "float64"}),
    ],
    ids=["array", "x and y", "dicts", "texts", "counted columns"],
)
def test_what_fit_takes_is_taken(samples: Any, columns: dict[str, str]) -> None:
    with api._rows(samples) as path:
        found = open_samples(SamplesSpec(path=path)).columns
    assert {name: spec.dtype for name, spec in found.items()} == columns


def test_a_frame_that_no_file_can_hold_is_told(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="samples: cannot be written down: Arrow"):
        liteferry.export("model.keras", pd.DataFrame({"x": [1, "one"]}), output=tmp_path)


def test_a_dataset_without_end_is_told(tmp_path: Path) -> None:
    import tensorflow as tf

    endless = tf.data.Dataset.from_tensors((np.zeros((2, 6)), [0, 1])).repeat()
    with pytest.raises(JobError, match=r"repeats without end; give a part of it, samples.take\(100\)"):
        liteferry.export("model.keras", endless, output=tmp_path)


def test_a_fleets_rows_are_those_of_its_models() -> None:
    report = {"model_id": "a", "status": "failed", "reason": {"message": "<b>"}, "saved_model": None, "variants": {}}
    fleet = ExportedFleet(out="out", models=(of_report("out/models/a", report),), facts={})
    assert not fleet.is_blessed and fleet["a"].reason == "<b>"
    assert [row["verdict"] for row in fleet.table()] == ["failed"]
    assert "&lt;b&gt;" in fleet._repr_html_()
    with pytest.raises(KeyError, match="there are a"):
        fleet["b"]
