"""`liteferry compare` on real artifacts: the numbers of the main job, either way round, and names that are never guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from ai_edge_litert import schema_py_generated as schema

from liteferry.commands.compare.compare import Compared, compare
from liteferry.config.job import SamplesSpec
from liteferry.errors import JobError, ModelError
from liteferry.tflite import flatbuffer, quantize, runners
from liteferry.tflite.quantize import QuantizationOptions
from tests.support import Run, liteferry


def checkpoint(demo: Run, model_id: str) -> str:
    return str(demo.report(model_id)["checkpoint"]["uri"])


def artifact(demo: Run, model_id: str, name: str) -> str:
    folder = demo.out / "models" / model_id
    return str(folder / "saved_model" / "1" if name == "saved_model" else folder / "tflite" / f"{name}.tflite")


@pytest.fixture(scope="module")
def spec(demo: Run) -> SamplesSpec:
    from liteferry.config.load import load_job

    return load_job(demo.out / "fleet" / "job.yaml").samples["digits"]


def compared(demo: Run, spec: SamplesSpec, candidate: str, **keywords: Any) -> Compared:
    return compare(checkpoint(demo, "mlp"), artifact(demo, "mlp", candidate), spec, **keywords)


@pytest.mark.parametrize("candidate", ["saved_model", "float32", "dynamic_int8"])
def test_the_statistics_are_those_of_the_main_job(demo: Run, spec: SamplesSpec, candidate: str) -> None:
    report = demo.report("mlp")
    expected = report["saved_model"]["fidelity"] if candidate == "saved_model" else report["variants"][candidate]["parity"]
    facts = compared(demo, spec, candidate).as_json()
    assert facts["parity"] == expected
    assert facts["row_count"] == report["samples"]["row_count"]


def test_a_program_gets_the_verdict_the_gates_and_the_commands_text(demo: Run, spec: SamplesSpec) -> None:
    found = compared(demo, spec, "float32", gates={"max_abs": 0.0, "mean_abs": None})
    assert not found.is_within and "max_abs" in str(found.reason)
    assert {gate["metric"]: gate["is_within"] for gate in found.table()}["max_abs"] is False
    assert "The candidate is not within the gates." in str(found)
    assert found._repr_html_().startswith("<pre>") and "max_abs" in found._repr_html_()


def test_either_side_may_be_anything(demo: Run, spec: SamplesSpec) -> None:
    kinds = [checkpoint(demo, "mlp"), artifact(demo, "mlp", "saved_model"), artifact(demo, "mlp", "float32")]
    for left, right in zip(kinds, [*kinds[1:], kinds[0]], strict=True):
        assert compare(left, right, spec).verdict.is_blessed, (left, right)
        assert compare(right, left, spec).verdict.is_blessed, (right, left)


def test_gates_are_those_of_the_candidates_kind_unless_told_otherwise(demo: Run, spec: SamplesSpec) -> None:
    for name in ("float32", "float16", "dynamic_int8"):
        found = compared(demo, spec, name)
        assert (found.kind, found.verdict.is_blessed) == (name, True), found.verdict.reason
    assert not compared(demo, spec, "dynamic_int8", gates={"max_rel": 1e-4}).verdict.is_blessed
    tight = compared(demo, spec, "float32", gates={"max_abs": 0.0}).verdict
    assert not tight.is_blessed and tight.reason is not None
    assert "raise --gate max_abs" in tight.reason.message


def test_rows_are_enough_to_reproduce_the_worst(demo: Run, spec: SamplesSpec) -> None:
    worst = compared(demo, spec, "dynamic_int8").as_json()["worst_examples"][0]
    (row,) = compared(demo, spec, "dynamic_int8", rows=[worst["id"]]).rows
    assert row.row == worst["row"]
    assert np.abs(row.reference[worst["output"]] - row.candidate[worst["output"]]).max() == pytest.approx(worst["max_abs"])
    runner = runners.LiteRTRunner(artifact(demo, "mlp", "dynamic_int8"))
    again = runner.run({name: value[None] for name, value in row.inputs.items()})
    np.testing.assert_allclose(again[worst["output"]][0], row.candidate[worst["output"]], rtol=1e-4, atol=1e-5)


def without_signature(content: bytes) -> bytes:
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.signatureDefs = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_file_without_a_signature_has_names_of_tensors_and_says_so(demo: Run, spec: SamplesSpec, tmp_path: Path) -> None:
    content = Path(artifact(demo, "mlp", "float32")).read_bytes()
    path = tmp_path / "bare.tflite"
    path.write_bytes(without_signature(content))
    assert flatbuffer.has_signature(content) and not flatbuffer.has_signature(path.read_bytes())
    found = compare(checkpoint(demo, "mlp"), str(path), spec)
    assert found.verdict.is_blessed
    assert "candidate: LiteRT file without a signature: names are those of tensors" in found.notes
    assert any(note.startswith("matched the only output of each side") for note in found.notes)


def test_integer_inputs_and_outputs_stand_for_real_values(demo: Run, spec: SamplesSpec, tmp_path: Path) -> None:
    content = Path(artifact(demo, "mlp", "float32")).read_bytes()
    images = pq.read_table(spec.path, columns=["image"]).column(0).combine_chunks().to_numpy_ndarray()
    rows = [{"image": images[:40]}]
    made = quantize.make("int8", content, rows=lambda: rows, options=QuantizationOptions(integer_io=True, calibration_rows=40))
    path = tmp_path / "int8.tflite"
    path.write_bytes(made)
    facts = compare(checkpoint(demo, "mlp"), str(path), spec, gates={"max_rel": None, "argmax_agreement": 0.9}).as_json()
    assert facts["is_within"], facts["reason"]
    assert sum("is int8, scale" in note for note in facts["notes"]) == 2


def test_names_that_differ_are_an_error_that_names_both_sides(demo: Run, spec: SamplesSpec) -> None:
    report = demo.report("two_halves")["saved_model"]["signatures"]["serving_default"]
    with pytest.raises(JobError) as caught:
        compare(checkpoint(demo, "mlp"), artifact(demo, "two_halves", "float32"), spec)
    for tensor in report["inputs"]:
        assert repr(tensor["name"]) in str(caught.value)
    assert "matched only where there is one of them on each side" in str(caught.value)


@pytest.mark.parametrize(
    ("keywords", "complaint"),
    [
        ({"gates": {"max_abbs": 1.0}}, "--gate max_abbs: no such metric"),
        ({"rows": ["no such row"]}, "--rows: the samples have no row 'no such row'"),
    ],
)
def test_wrong_flags(demo: Run, spec: SamplesSpec, keywords: dict[str, Any], complaint: str) -> None:
    with pytest.raises(JobError, match=complaint):
        compared(demo, spec, "float32", **keywords)


def test_a_side_that_cannot_be_loaded_is_named(demo: Run, spec: SamplesSpec, tmp_path: Path) -> None:
    broken = tmp_path / "broken.keras"
    broken.write_bytes(Path(checkpoint(demo, "mlp")).read_bytes()[:1000])
    with pytest.raises(ModelError, match=f"candidate {broken}: ") as caught:
        compare(checkpoint(demo, "mlp"), str(broken), spec)
    assert caught.value.reason.code.value == "LOAD_CORRUPT"


def test_the_command(demo: Run, spec: SamplesSpec) -> None:
    flags = ["--samples", spec.path, *(f"--{key}={value}" for key in ("label", "id") if (value := getattr(spec, key)))]
    flags += [f"--inputs={name}={column}" for name, column in spec.inputs.items()]
    within = liteferry("compare", checkpoint(demo, "mlp"), artifact(demo, "mlp", "float32"), *flags)
    assert within.returncode == 0, within.stderr
    assert "argmax_agreement" in within.stdout and within.stdout.endswith("The candidate is within every gate.\n")
    worst = demo.report("mlp")["variants"]["dynamic_int8"]["worst_examples"][0]["id"]
    off = liteferry(
        "compare",
        checkpoint(demo, "mlp"),
        artifact(demo, "mlp", "dynamic_int8"),
        *flags,
        "--json",
        f"--rows={worst}",
        "--gate=max_rel=1e-4",
    )
    assert off.returncode == 1, off.stderr
    facts = json.loads(off.stdout)
    assert not facts["is_within"] and len(facts["rows"]) == 1
    assert {"inputs", "reference", "candidate"} <= facts["rows"][0].keys()


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["missing.keras", "missing.tflite", "--samples=x.npz"], "missing.keras: no such file or directory"),
        ([__file__, __file__, "--samples=x.npz", "--inputs=image"], "--inputs: 'image' is not INPUT=COLUMN"),
        ([__file__, __file__, "--samples=x.npz", "--gate=max_abs=x"], "--gate max_abs: 'x' is not a number"),
        ([__file__, __file__, "--samples=x.npz", "--size=4,4"], "--size: is for decoded images"),
        ([__file__, __file__, "--samples=x.npz", "--size=4", "--decode=image"], "--size: '4' is not HEIGHT,WIDTH"),
        ([__file__, __file__, "--samples=none.npz"], "no such file; give a"),
    ],
)
def test_mistakes_are_status_2(flags: list[str], complaint: str) -> None:
    said = liteferry("compare", *flags)
    assert said.returncode == 2 and complaint in said.stderr, said.stderr
    assert "Traceback" not in said.stderr
