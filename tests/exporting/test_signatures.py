"""`signatures:` and `serve_examples`, from the job file to a clean process that has plain TensorFlow and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from liteferry.config.load import parse_job
from liteferry.errors import JobError
from tests.support import Run, liteferry

# A process without Keras, without the user's code and without the files the assets came from.
CLEAN = """
    import glob, json, sys
    import numpy as np, tensorflow as tf

    class NoKeras:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("keras", "tf_keras", "model_code"):
                raise ImportError(name)

    def feature(value):
        value = np.ravel(value)
        if value.dtype.kind == "S":
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=list(value)))
        if value.dtype.kind == "i":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        return tf.train.Feature(float_list=tf.train.FloatList(value=value))

    def example(row):
        features = tf.train.Features(feature={name: feature(value) for name, value in row.items()})
        return tf.train.Example(features=features).SerializeToString()

    def given(name, rows):
        count = len(next(iter(rows.values())))
        if name == "serve_examples":
            return {"examples": [example({key: value[row] for key, value in rows.items()}) for row in range(count)]}
        if name == "from_png":
            png = [tf.io.encode_png(tf.cast(image * 255, tf.uint8)).numpy() for image in rows["image"]]
            return {"png": png, "scale": np.full(count, 2, "float32")}
        return {"values": np.ones((5, 4), "float32")} if name == "tail" else rows

    def plain(tensor):
        return [text.decode() for text in tensor.numpy()] if tensor.dtype == tf.string else tensor.numpy().tolist()

    sys.meta_path.insert(0, NoKeras())
    for model_id, calls in json.loads(sys.argv[2]).items():
        loaded = tf.saved_model.load(glob.glob(f"{sys.argv[1]}/{model_id}/saved_model/*")[0])
        rows = dict(np.load(calls["rows"]))
        answers = {}
        for name in ["serving_default", *calls["signatures"]]:
            tensors = {key: tf.constant(value) for key, value in given(name, rows).items()}
            answers[name] = {key: plain(value) for key, value in loaded.signatures[name](**tensors).items()}
        print(json.dumps({model_id: answers}))
"""


def python(code: str, *arguments: str, cwd: Path) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True, timeout=300).stdout


@pytest.fixture(scope="module")
def folder(kitchen_sink: Run) -> Path:
    """Where the checkpoints, the rows and the user's code lie."""
    return kitchen_sink.out.parent / "signatures"


@pytest.fixture(scope="module")
def answers(kitchen_sink: Run, folder: Path) -> dict[str, dict[str, Any]]:
    wanted = {
        "plain": {"rows": "rows.npz", "signatures": ["from_png", "labels", "serve_examples"]},
        "encoder": {"rows": "rows.npz", "signatures": ["embed", "tail"]},
        "mixed": {"rows": "mixed_rows.npz", "signatures": ["serve_examples"]},
        "trains_beside": {"rows": "rows.npz", "signatures": ["serve_examples"]},
    }
    (folder / "vocabulary.txt").rename(folder / "moved away")
    try:
        printed = python(CLEAN, str(kitchen_sink.out / "models"), json.dumps(wanted), cwd=folder)
    finally:
        (folder / "moved away").rename(folder / "vocabulary.txt")
    return {name: found for line in printed.splitlines() for name, found in json.loads(line).items()}


def test_models_with_signatures_are_blessed_and_the_report_lists_them(kitchen_sink: Run) -> None:
    reports = {name: kitchen_sink.report(name) for name in ("plain", "encoder", "mixed")}
    assert [report["saved_model"]["status"] for report in reports.values()] == ["blessed"] * 3, kitchen_sink.said.stdout
    assert [report["status"] for report in reports.values()] == ["blessed"] * 3
    signatures = kitchen_sink.report("plain")["saved_model"]["signatures"]
    assert set(signatures) == {"serving_default", "serve_examples", "from_png", "labels"}
    assert signatures["from_png"]["inputs"] == [
        {"name": "png", "shape": [None], "dtype": "string"},
        {"name": "scale", "shape": [None], "dtype": "float32"},
    ]
    assert [spec["name"] for spec in signatures["labels"]["outputs"]] == ["label", "scores"]


def test_a_signature_of_the_checkpoints_own_is_kept_and_never_run(kitchen_sink: Run) -> None:
    """One that trains would change the variables that the reference and the files are made of."""
    report = kitchen_sink.report("trains_beside")
    assert report["status"] == "blessed", report["reason"]
    assert set(report["saved_model"]["signatures"]) == {"serving_default", "serve_examples", "train"}


@pytest.mark.parametrize("model_id", ["plain", "mixed", "trains_beside"])
def test_serve_examples_answers_as_serving_default(answers: dict[str, Any], model_id: str) -> None:
    assert answers[model_id]["serve_examples"] == answers[model_id]["serving_default"]


def test_a_function_of_the_users_wraps_the_model(answers: dict[str, Any]) -> None:
    scores = answers["plain"]["serving_default"]["scores"]
    # PNG holds 8 bits: the rows are not quite the sample rows.
    for got, expected in zip(answers["plain"]["from_png"]["own"], scores, strict=True):
        assert got == pytest.approx([2 * value for value in expected], abs=0.05)


def test_a_vocabulary_travels_with_the_saved_model(answers: dict[str, Any], kitchen_sink: Run) -> None:
    found, scores = answers["plain"]["labels"], answers["plain"]["serving_default"]["scores"]
    assert found["scores"] == scores
    assert found["label"] == [["cat", "dog", "owl"][row.index(max(row))] for row in scores]
    assert sorted(path.name for path in (kitchen_sink.out / "models/plain/saved_model/1/assets").iterdir()) == [
        "metadata.json",
        "vocabulary.txt",
    ]


def test_a_method_computes_inference_whatever_its_layers_default_to(answers: dict[str, Any]) -> None:
    assert len(answers["encoder"]["embed"]["embedding"]) == 12
    assert len(answers["encoder"]["tail"]["output_0"]) == 5


@pytest.mark.parametrize(
    ("model_id", "code", "words"),
    [
        ("reads_the_path", "EXPORT_FAILED", "signatures.text: reads an asset by its path"),
        ("wrong_input", "EXPORT_FAILED", "the model takes image; given: picture"),
        ("returns_nothing", "EXPORT_FAILED", "signatures.nothing: returns no tensor"),
        ("no_function", "EXPORT_FAILED", "module 'model_code' has no 'not_there' (it defines: Encoder, from_png"),
        ("no_method", "EXPORT_FAILED", "signatures.none: Sequential has no method 'not_there'"),
        ("random", "EXPORT_NONDETERMINISTIC", "signatures.jitter: two runs on the same rows differ in output_0"),
        ("free_length", "EXPORT_FAILED", "input 'sequence' (float32, shape [None, None, 4]) has no fixed form in a tf.Example"),
    ],
)
def test_a_signature_that_cannot_be_served_is_refused(kitchen_sink: Run, model_id: str, code: str, words: str) -> None:
    report = kitchen_sink.report(model_id)
    assert (report["status"], report["reason"]["code"]) == ("failed", code), report["reason"]
    assert words in report["reason"]["message"]
    assert report["saved_model"] is None
    assert not (kitchen_sink.out / "models" / model_id / "saved_model").exists()


@pytest.mark.parametrize(
    ("signatures", "problem"),
    [
        ({"serving_default": {"method": "m"}}, "holds 'serving_default', which is the model itself"),
        ({"serve_examples": {"method": "m"}}, "holds 'serve_examples', which is written by `serve_examples: true`"),
        ({"a b": {"method": "m"}}, "holds the name 'a b'"),
        ({"s": {}}, "needs either `method` or `function`, one of the two"),
        ({"s": {"method": "m", "function": "a:b"}}, "needs either `method` or `function`, one of the two"),
        ({"s": {"method": "m", "inputs": {"x": {"dtype": "float"}}}}, "'float' is not a dtype"),
        ({"s": {"method": "m", "inputs": {"x": {"shape": [None, 0]}}}}, "0 is not above 0"),
        ({"s": {"metod": "m"}}, "did you mean method?"),
    ],
)
def test_a_wrong_entry_is_named(signatures: dict[str, Any], problem: str) -> None:
    with pytest.raises(JobError) as error:
        parse_job({"models": [{"checkpoints": "a", "signatures": signatures}]}, base_dir=None)
    assert problem in str(error.value)
    assert "models[0].signatures" in str(error.value)


def test_an_asset_that_is_not_there_stops_the_job_before_it_begins(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        yaml.safe_dump(
            {
                "models": [
                    {"checkpoints": str(folder / "*.keras"), "signatures": {"s": {"method": "m", "assets": {"a": "no.txt"}}}}
                ]
            }
        )
    )
    said = liteferry("run", "--config", tmp_path / "job.yaml", "--output", tmp_path / "out")
    assert said.returncode == 2
    assert "models[0].signatures.s.assets.a" in said.stderr
    assert "is not there" in said.stderr


@pytest.mark.nightly  # four runs; tests/output/test_publish.py has the rule itself
def test_a_new_checkpoint_gets_a_new_version_and_the_same_one_does_not(folder: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.keras"
    seen = []
    steps: list[tuple[str, list[str]]] = [
        ("plain", []),
        ("plain", ["--force"]),
        ("retrained", []),
        ("retrained", ["--variants=float16"]),
    ]
    for source, flags in steps:
        checkpoint.write_bytes((folder / f"{source}.keras").read_bytes())
        arguments: list[str | Path] = [
            "--checkpoints",
            checkpoint,
            "--samples",
            folder / "rows.npz",
            "--variants",
            "float32",
            *flags,
        ]
        run = Run(tmp_path / "out", liteferry("run", *arguments, "--output", tmp_path / "out"))
        assert run.said.returncode == 0, run.said.stdout + run.said.stderr
        report = run.report("model")
        folders = [path.name for path in (run.out / "models/model/saved_model").iterdir()]
        assert folders == [str(report["version"])]
        assert report["saved_model"]["path"] == f"saved_model/{report['version']}"
        seen.append(report["version"])
    assert seen == [1, 1, 2, 2]
