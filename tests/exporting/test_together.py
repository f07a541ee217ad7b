"""`tflite_signatures`: several signatures of a SavedModel in one .tflite file, each of them proven."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry.config.load import parse_job
from liteferry.errors import JobError, ModelError
from liteferry.loading import together
from liteferry.tflite import flatbuffer, more_signatures, rewriting, runners
from liteferry.types import Signature, TensorSpec
from tests.support import Run


def spec(name: str, *shape: int | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype)


FIRST = Signature(inputs=(spec("x", None, 16),), outputs=(spec("y", None, 16),))


# --- the names of the union


def test_an_input_of_the_same_name_dtype_and_shape_shares_its_rows() -> None:
    found = together.union(FIRST, {"encode": Signature(inputs=(spec("x", None, 16),), outputs=(spec("code", None, 8),))})
    assert [one.name for one in found.signature.inputs] == ["x"]
    assert found.names == {"encode": {"x": "x"}}
    assert [one.name for one in found.signature.outputs] == ["y", "encode.code"]


@pytest.mark.parametrize(
    "other", [spec("x", None, 8), spec("x", None, 16, dtype="int32"), spec("x", None, 16, 1), spec("x")], ids=str
)
def test_an_input_of_the_same_name_that_takes_something_else_has_rows_of_its_own(other: TensorSpec) -> None:
    found = together.union(FIRST, {"decode": Signature(inputs=(other,), outputs=(spec("y", None, 16),))})
    assert [one.name for one in found.signature.inputs] == ["x", "decode.x"]
    assert found.names == {"decode": {"x": "decode.x"}}
    assert found.signature.output_names() == ("y", "decode.y")


def test_a_number_of_rows_that_one_side_fixes_is_that_of_both() -> None:
    found = together.union(FIRST, {"four": Signature(inputs=(spec("x", 4, 16),), outputs=())})
    assert found.signature.inputs == (spec("x", 4, 16),)


def test_two_outputs_of_one_name_are_refused() -> None:
    first = Signature(inputs=FIRST.inputs, outputs=(spec("a.b", None, 1),))
    with pytest.raises(ValueError, match=r"two outputs would be called 'a.b'"):
        together.union(first, {"a": Signature(inputs=(), outputs=(spec("b", None, 1),))})


def test_all_are_all_but_the_one_that_parses_examples() -> None:
    there = ["decode", "serve_examples", "encode"]
    assert together.chosen("all", there, first=["serving_default"]) == ["decode", "encode"]
    assert together.chosen(["serve_examples", "serving_default"], there, first=["serving_default"]) == ["serve_examples"]
    with pytest.raises(
        ValueError, match="no signature 'transcode'; the signatures: decode, encode, serve_examples, serving_default"
    ):
        together.chosen(["transcode"], there, first=["serving_default"])


@pytest.mark.parametrize("wrong", ["encode", 3, {"encode": True}, [1]], ids=str)
def test_the_key_takes_all_or_names(wrong: object) -> None:
    with pytest.raises(JobError, match="tflite_signatures"):
        parse_job({"models": [{"checkpoints": "codec", "tflite_signatures": wrong}]}, base_dir=None)


# --- the files of a run


@pytest.fixture(scope="module")
def folder(kitchen_sink: Run) -> Path:
    return kitchen_sink.out.parent / "several"


def variants(run: Run, model_id: str) -> dict[str, Any]:
    found: dict[str, Any] = run.report(model_id)["variants"]
    return found


def test_every_signature_is_proven_in_every_artifact(kitchen_sink: Run) -> None:
    report = kitchen_sink.report("codec")
    assert report["status"] == "blessed", report["reason"]
    wanted = {"y", "encode.code", "decode.y"}
    assert {spec["name"] for spec in report["saved_model"]["together"]["outputs"]} == wanted
    assert set(report["saved_model"]["fidelity"]) == wanted
    assert report["saved_model"]["second_opinion"]["status"] == "equal"
    for name, facts in report["variants"].items():
        assert facts["status"] == "blessed", (name, facts["reason"])
        assert set(facts["parity"]) == wanted, name
        assert set(facts["contract"]["signatures"]) == {"encode", "decode"}, name
    assert [spec["name"] for spec in report["saved_model"]["signatures"]["serving_default"]["outputs"]] == ["y"]


def test_each_signature_answers_as_its_writer_did(kitchen_sink: Run, folder: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    rows, live = np.load(folder / "codec_rows.npz"), np.load(folder / "codec_answers.npz")
    interpreter = Interpreter(str(kitchen_sink.out / "models/codec/tflite/float32.tflite"))
    assert set(interpreter.get_signature_list()) == {"serving_default", "encode", "decode"}
    for signature, column, output in [("serving_default", "x", "y"), ("encode", "x", "code"), ("decode", "decode.x", "y")]:
        answer = interpreter.get_signature_runner(signature)(x=rows[column])[output]
        wanted = live[output if signature == "serving_default" else f"{signature}.{output}"]
        np.testing.assert_allclose(answer, wanted, atol=1e-5, err_msg=signature)


def test_the_weights_that_signatures_share_are_in_the_file_once(kitchen_sink: Run) -> None:
    content = (kitchen_sink.out / "models/codec/tflite/float32.tflite").read_bytes()
    weights = 2 * 64 * 32 * 4
    assert weights < len(content) < 1.5 * weights


def test_a_file_that_lost_a_signature_does_not_run(kitchen_sink: Run) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf((kitchen_sink.out / "models/codec/tflite/float32.tflite").read_bytes(), 0)
    model.signatureDefs = [one for one in model.signatureDefs if one.signatureKey != b"decode"]
    with pytest.raises(ModelError, match="should hold signature 'decode'"):
        runners.LiteRTRunner(rewriting.packed(model, 0))


def test_rows_are_handed_to_each_signature_by_its_own_names(kitchen_sink: Run) -> None:
    content = (kitchen_sink.out / "models/codec/tflite/int8.tflite").read_bytes()
    rows = {"x": np.zeros((2, 64), np.float32), "decode.x": np.ones((2, 32), np.float32)}
    found = more_signatures.rows_by_signature(content, [rows])
    assert {name: list(batches[0]) for name, batches in found.items()} == {
        "serving_default": ["x"],
        "decode": ["x"],
        "encode": ["x"],
    }
    assert found["decode"][0]["x"] is rows["decode.x"]


def test_a_signature_that_assigns_to_variables_costs_the_files_and_not_the_saved_model(kitchen_sink: Run) -> None:
    report = kitchen_sink.report("codec_that_counts")
    assert report["saved_model"]["status"] == "blessed"
    for facts in report["variants"].values():
        assert facts["reason"]["code"] == "CONVERT_FAILED"
        assert "tflite_signatures: signature 'count' assigns to variables" in facts["reason"]["message"]


def test_a_file_of_a_float32_twin_has_one_signature_and_none_is_dropped_in_silence(kitchen_sink: Run) -> None:
    report = kitchen_sink.report("codec_in_half")
    assert report["saved_model"]["status"] == "blessed", report["reason"]
    for facts in report["variants"].values():
        assert facts["reason"]["code"] == "CONVERT_FAILED"
        assert "its files are made of its float32 twin, which has one signature" in facts["reason"]["message"]


@pytest.mark.parametrize(
    ("model_id", "code", "words"),
    [
        ("codec_at_random", "EXPORT_NONDETERMINISTIC", "two runs on the same rows differ in scramble.y"),
        ("codec_without", "LOAD_UNSUPPORTED", "there is no signature 'transcode'"),
    ],
)
def test_a_signature_that_cannot_be_proven_is_refused(kitchen_sink: Run, model_id: str, code: str, words: str) -> None:
    report = kitchen_sink.report(model_id)
    assert (report["status"], report["reason"]["code"]) == ("failed", code), report["reason"]
    assert words in report["reason"]["message"]


def test_the_artifacts_say_which_rows_each_signature_takes(kitchen_sink: Run) -> None:
    home = kitchen_sink.out / "models/codec"
    names = {"encode": {"x": "x"}, "decode": {"x": "decode.x"}}
    assert json.loads((home / "saved_model/1/assets/metadata.json").read_text())[together.KEY] == names
    for variant in ("float32", "float16", "dynamic_int8", "int8"):
        content = (home / f"tflite/{variant}.tflite").read_bytes()
        assert (flatbuffer.read_metadata(content) or {})[together.KEY] == names, variant
