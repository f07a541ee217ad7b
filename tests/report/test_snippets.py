"""Code to copy from a model's page, and commands that show its problem again: with the model's own names, and they run."""

from __future__ import annotations

import ast
import shlex
import subprocess
import sys

import pytest

from liteferry.cli import build_parser
from liteferry.report import render_model
from liteferry.report.pages.snippets import commands, snippets


def by_title(report):
    return {snippet["title"]: snippet["text"] for snippet in snippets(report)}


@pytest.mark.parametrize(
    "model_id",
    ["two_halves", pytest.param("cnn", marks=pytest.mark.nightly), pytest.param("subclassed", marks=pytest.mark.nightly)],
)
def test_the_python_snippets_of_a_real_model_run_as_they_stand(demo, model_id, read_page):
    report = demo.report(model_id)
    python = [snippet["text"] for snippet in snippets(report) if snippet["language"] == "python"]
    assert len(python) == 2
    page = read_page((demo.out / "models" / model_id / "report.html").read_text()).text
    outputs = {spec["name"] for spec in report["saved_model"]["signatures"]["serving_default"]["outputs"]}
    for text in python:
        assert text in page
        ran = subprocess.run(
            [sys.executable, "-c", text],
            cwd=demo.out / "models" / model_id,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
        for name in outputs:
            assert repr(name) in ran.stdout


def test_other_languages_have_names_shapes_and_sizes(blessed):
    found = by_title(blessed())
    assert list(found) == ["SavedModel, Python", "dynamic_int8, Python", "dynamic_int8, Kotlin", "dynamic_int8, C++"]
    kotlin, cpp = found["dynamic_int8, Kotlin"], found["dynamic_int8, C++"]
    assert '"image" to buffer(64 * 4),  // float32 (None, 8, 8, 1)' in kotlin
    assert '"probabilities" to buffer(10 * 4),' in kotlin and 'File("tflite/dynamic_int8.tflite")' in kotlin
    assert 'runner->ResizeInputTensor("image", {1, 8, 8, 1});' in cpp
    assert 'runner->output_tensor("probabilities")->data.f;' in cpp


def test_names_stay_inside_their_literals(blessed):
    name = 'a"b\\c\n$x é😀'
    report = blessed()
    report["recommended_variant"] = "float32"
    report["variants"]["float32"]["contract"]["inputs"][0]["name"] = name
    report["saved_model"]["signatures"]["serving_default"]["inputs"][0]["name"] = name
    for title, text in by_title(report).items():
        if title.endswith("Python"):
            literals = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
            assert name in literals, title
        else:
            assert '"a\\"b\\\\c\\n' in text, title
    assert "\\$x" in by_title(report)["float32, Kotlin"]


def test_text_tensors_have_python_alone_and_integers_say_their_scale(blessed):
    report = blessed()
    spec = report["variants"]["dynamic_int8"]["contract"]["inputs"][0]
    spec["dtype"] = "string"
    found = by_title(report)
    assert "dynamic_int8, Kotlin" not in found and 'np.full((1, 8, 8, 1), b"")' in found["dynamic_int8, Python"]
    spec |= {"dtype": "int8", "scale": 0.5, "zero_point": -3}
    assert "real = 0.5 * (value - -3)" in by_title(report)["dynamic_int8, Python"]


@pytest.mark.parametrize("key", ["saved_model", "variants", "recommended_variant"])
def test_what_was_not_made_has_no_snippet(blessed, failed, key):
    assert snippets(failed()) == []
    snippets(blessed() | {key: None})
    snippets(blessed() | {key: "text"})


def test_commands_reproduce_a_failure_whatever_the_path(failed, blessed):
    report = failed()
    uri = "/data/it's [new] models/*$(reboot).keras"
    report["checkpoint"]["uri"] = uri
    report["samples"] = {"name": "digits", "path": "/data/rows *.npz"}
    inspect, run = commands(report)
    assert shlex.split(inspect) == ["liteferry", "inspect", uri]
    arguments, unknown = build_parser().parse_known_args(shlex.split(run)[1:])
    assert not unknown and arguments.samples == "/data/rows *.npz"
    assert arguments.checkpoints == ["/data/it's [[]new] models/[*]$(reboot).keras"]
    assert "reproduced" in render_model(report)
    assert commands(blessed()) == []
