"""TFLite Metadata in a file: what public readers find there, and that the file computes what it did without it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry.config.load import load_job, parse_job
from liteferry.errors import JobError
from liteferry.exporting.export import export_isolated
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.planning import plan_models
from liteferry.tflite import flatbuffer, public_metadata
from liteferry.tflite.public_metadata import File, ModelFacts, Tensor
from liteferry.tflite.runners import LiteRTRunner
from tests.support import Run


@pytest.fixture(scope="module")
def plain(demo: Run) -> bytes:
    return (demo.out / "models" / "mlp" / "tflite" / "dynamic_int8.tflite").read_bytes()


@pytest.fixture
def facts(tmp_path: Path) -> ModelFacts:
    labels, notes = tmp_path / "labels.txt", tmp_path / "notes.md"
    labels.write_text("".join(f"digit {number}\n" for number in range(10)))
    notes.write_text("trained at night\n")
    return ModelFacts(
        name="digits",
        description="handwritten digits",
        author="us",
        license="Apache-2.0",
        tensors=(
            Tensor(name="image", description="grey values", mean=(127.5,), std=(127.5,)),
            Tensor(name="scores", files=(File(path=str(labels), kind="labels"),)),
        ),
        files=(File(path=str(notes)),),
    )


def with_own_names(plain: bytes, facts: ModelFacts) -> ModelFacts:
    contract = flatbuffer.read_contract(plain)
    return facts.mapped(names={"image": contract.inputs[0].name, "scores": contract.outputs[0].name}, paths={})


@pytest.fixture
def told(plain: bytes, facts: ModelFacts) -> bytes:
    return public_metadata.embed(plain, with_own_names(plain, facts))


def test_it_computes_what_it_did(plain: bytes, told: bytes) -> None:
    before = LiteRTRunner(plain)
    (tensor,) = flatbuffer.read_contract(plain).inputs
    rows = {tensor.name: np.random.default_rng(0).random((5, *(size or 1 for size in tensor.shape[1:])), dtype=np.float32)}
    expected, observed = before.run(rows), LiteRTRunner(told).run(rows)
    assert expected.keys() == observed.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(observed[name], value)


def test_all_else_in_the_file_is_the_same(plain: bytes, told: bytes) -> None:
    assert flatbuffer.read_contract(told) == flatbuffer.read_contract(plain)
    assert flatbuffer.count_operators(told) == flatbuffer.count_operators(plain)
    assert flatbuffer.count_weights(told) == flatbuffer.count_weights(plain)
    assert flatbuffer.read_metadata(told) == flatbuffer.read_metadata(plain) is not None


def test_the_files_travel_with_it(told: bytes, plain: bytes, facts: ModelFacts) -> None:
    assert public_metadata.files_in(told) == {file.name: file.content() for file in facts.all_files()}
    assert public_metadata.files_in(plain) == {}


def test_the_same_facts_give_the_same_bytes_and_replace_earlier_ones(plain: bytes, told: bytes, facts: ModelFacts) -> None:
    assert public_metadata.embed(plain, with_own_names(plain, facts)) == told
    model = flatbuffer.schema_module().Model.GetRootAs(public_metadata.embed(plain, ModelFacts(name="other")), 0)
    names = [model.Metadata(number).Name() for number in range(model.MetadataLength())]
    assert names.count(public_metadata.NAME.encode()) == 1


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (Tensor(name="nobody"), "no such input or output"),
        (Tensor(name="scores", files=(File(path="nine.txt", kind="labels"),)), "9 labels, one a line, the last axis 10"),
        (Tensor(name="scores", mean=(1.0, 2.0), std=(1.0, 1.0)), "`mean` has 2 numbers, the last axis 10; give one, or 10"),
    ],
    ids=["another name", "too few labels", "another number of channels"],
)
def test_what_does_not_fit_the_file_is_refused(
    plain: bytes, tensor: Tensor, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nine.txt").write_text("one\n" * 9)
    facts = with_own_names(plain, ModelFacts(name="x", tensors=(tensor,)))
    with pytest.raises(ValueError, match=words):
        public_metadata.embed(plain, facts)


def test_two_files_of_one_name_are_refused_with_the_job(tmp_path: Path) -> None:
    model = {"checkpoints": "a.keras", "tflite_metadata": {"files": ["one/labels.txt", "two/labels.txt"]}}
    with pytest.raises(JobError, match=r"two files called labels\.txt"):
        parse_job({"models": [model]}, base_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("note", "words"), [({"mean": [1.0]}, "1 numbers in `mean` and 0"), ({"mean": [1.0], "std": [0.0]}, "a 0 in")]
)
def test_normalisation_that_cannot_be_meant_is_refused_with_the_job(note: dict[str, Any], words: str, tmp_path: Path) -> None:
    model = {"checkpoints": "a.keras", "tflite_metadata": {"tensors": {"image": note}}}
    with pytest.raises(JobError, match=words):
        parse_job({"models": [model]}, base_dir=str(tmp_path))


JOB = """
models:
  - checkpoints: {checkpoint}
    samples: digits
    tflite_metadata:
      tensors:
        {output}: {{labels: labels.txt}}
samples: {{digits: {{path: {samples}, inputs: {{image: image}}, label: label, id: id}}}}
variants: [float32, dynamic_int8]
"""


@pytest.mark.parametrize("labels", [10, pytest.param(11, marks=pytest.mark.nightly)])
def test_an_export_writes_it_into_every_variant_and_a_label_more_is_the_variants_reason(
    demo: Run, tmp_path: Path, labels: int
) -> None:
    fleet = demo.out / "fleet"
    output = next(iter(demo.report("mlp")["variants"]["float32"]["parity"]))
    checkpoint = fleet / "checkpoints" / "mlp.keras"
    (tmp_path / "job.yaml").write_text(JOB.format(checkpoint=checkpoint, samples=fleet / "digits.parquet", output=output))
    (tmp_path / "labels.txt").write_text("digit\n" * labels)
    (plan,) = plan_models(load_job(tmp_path / "job.yaml"), str(tmp_path / "out"))
    (exported,) = export_isolated([fingerprint(plan)])
    assert exported.saved_model is not None
    assert set(exported.variants) == {"float32", "dynamic_int8"}
    for variant in exported.variants.values():
        if labels == 10:
            assert variant.path is not None, variant.reason
            content = (Path(plan.staging_directory()) / variant.path).read_bytes()
            assert public_metadata.files_in(content) == {"labels.txt": b"digit\n" * labels}
            assert variant.bytes == len(content)
        else:
            assert variant.path is None and variant.reason is not None
            assert "11 labels" in variant.reason.message


def test_other_labels_are_other_work(demo: Run, tmp_path: Path) -> None:
    fleet, digests = demo.out / "fleet", set()
    checkpoint = fleet / "checkpoints" / "mlp.keras"
    (tmp_path / "job.yaml").write_text(JOB.format(checkpoint=checkpoint, samples=fleet / "digits.parquet", output="digit"))
    for text in ("one\n", "two\n"):
        (tmp_path / "labels.txt").write_text(text)
        (plan,) = plan_models(load_job(tmp_path / "job.yaml"), str(tmp_path / "out"))
        digests.add((plan.recipe_digest, plan.work_digest))
    assert len(digests) == 2


@pytest.mark.nightly  # it downloads MediaPipe, 43 MB
def test_mediapipes_own_classes_read_it(told: bytes, plain: bytes, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", str(tmp_path), "mediapipe==1.2.3"]
    subprocess.run(command, check=True)
    path = tmp_path / "mediapipe" / "tasks" / "metadata" / "metadata_schema_py_generated.py"
    spec = importlib.util.spec_from_file_location("metadata_schema_py_generated", path)
    assert spec is not None and spec.loader is not None
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    model = flatbuffer.schema_module().Model.GetRootAs(told, 0)
    (data,) = [
        model.Buffers(model.Metadata(number).Buffer()).DataAsNumpy().tobytes()
        for number in range(model.MetadataLength())
        if model.Metadata(number).Name() == b"TFLITE_METADATA"
    ]
    assert reader.ModelMetadata.ModelMetadataBufferHasIdentifier(data, 0)
    found = reader.ModelMetadataT.InitFromObj(reader.ModelMetadata.GetRootAs(data, 0))
    assert (found.name, found.description, found.author, found.license) == (
        *(b"digits", b"handwritten digits"),
        *(b"us", b"Apache-2.0"),
    )
    assert found.minParserVersion == b"1.0.0"
    assert [file.name for file in found.associatedFiles] == [b"notes.md"]
    (subgraph,) = found.subgraphMetadata
    (image,), (scores,) = subgraph.inputTensorMetadata, subgraph.outputTensorMetadata
    contract = flatbuffer.read_contract(plain)
    assert (image.name, scores.name) == (contract.inputs[0].name.encode(), contract.outputs[0].name.encode())
    assert image.description == b"grey values"
    (unit,) = image.processUnits
    assert unit.optionsType == reader.ProcessUnitOptions.NormalizationOptions
    assert (list(unit.options.mean), list(unit.options.std)) == ([127.5], [127.5])
    (labels,) = scores.associatedFiles
    assert (labels.name, labels.type) == (b"labels.txt", reader.AssociatedFileType.TENSOR_AXIS_LABELS)
