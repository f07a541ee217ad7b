"""A kit for a device, and the verdict on what comes back: as strict as a run's, and never kinder for what is missing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from liteferry.commands.kit import layout
from liteferry.commands.kit.judge import judge_answers
from liteferry.commands.kit.write import KitRequest, _as_the_file_takes_them, write
from liteferry.errors import JobError, ReasonCode
from liteferry.output import manifest, model_folder
from liteferry.storage import layout as layout_of_a_run
from liteferry.tflite import flatbuffer, rewriting, runners
from tests.support import Run, liteferry

RANDOM = np.random.default_rng(0)
EXPECTED = {"scores": RANDOM.normal(size=(20, 4)).astype(np.float32), "a/b": RANDOM.normal(size=(20, 2)).astype(np.float32)}


def tensor(name: str, **facts: Any) -> dict[str, Any]:
    plain = {"position": 0, "tensor_index": 0, "tensor_name": name, "dtype": "float32", "shape": [None, 4], "scale": None}
    return {"name": name, "zero_point": None, **plain, **facts}


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    folder = tmp_path / "kit"
    (folder / layout.EXPECTED).mkdir(parents=True)
    for name, value in EXPECTED.items():
        np.save(layout.array_path(str(folder / layout.EXPECTED), name), value)
    rows = [{"row": 100 - place, "id": f"row {place}", "why": "random"} for place in range(20)]
    (folder / layout.ROWS).write_text(json.dumps(rows))
    contract = {"inputs": [], "outputs": [tensor("scores", scale=0.5, zero_point=3), tensor("a/b")]}
    manifest = {"kit": 1, "model_id": "m", "variant": "int8", "like": "int8", "contract": contract, "outputs": list(EXPECTED)}
    (folder / layout.MANIFEST).write_text(json.dumps({**manifest, "gates": {}, "kinds": {}}))
    return folder


def answers(tmp_path: Path, found: dict[str, np.ndarray]) -> str:
    folder = tmp_path / "answers"
    folder.mkdir()
    for name, value in found.items():
        np.save(layout.array_path(str(folder), name), value)
    return str(folder)


def test_the_expected_answers_are_within(kit: Path, tmp_path: Path) -> None:
    judged = judge_answers(str(kit), answers(tmp_path, EXPECTED))
    assert judged.verdict.is_blessed, judged.verdict.reason
    assert judged.row_count == 20
    assert {stats.example_count for stats in judged.stats.values()} == {20}


def test_integers_stand_for_floats(kit: Path, tmp_path: Path) -> None:
    """Round to steps of a half: some 17 dB, too coarse for int8's gates, and named so; not thousands off."""
    coarse = np.clip(np.round(EXPECTED["scores"] / 0.5) + 3, -128, 127).astype(np.int8)
    judged = judge_answers(str(kit), answers(tmp_path, {**EXPECTED, "scores": coarse}))
    assert judged.stats["scores"].report()["max_abs"] <= 0.25 + 1e-6


def test_a_row_axis_that_a_device_left_away_comes_back(kit: Path, tmp_path: Path) -> None:
    assert judge_answers(
        str(kit), answers(tmp_path, {name: value.ravel() for name, value in EXPECTED.items()})
    ).verdict.is_blessed


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A model's folder as a run leaves it, as far as the command reads it before it runs anything."""
    (tmp_path / "secret").write_text("of the user's")
    home = tmp_path / "out" / "models" / "m"
    for name in ("tflite/int8.tflite", "saved_model/1/saved_model.pb"):
        (home / name).parent.mkdir(parents=True)
        (home / name).write_text(name)
    publish(home, "tflite/int8.tflite")
    return home


def publish(home: Path, path: str) -> None:
    listed = manifest.files_of(str(home), layout_of_a_run.beside("m"))
    parts = {
        "saved_model": {"status": "blessed", "path": "saved_model/1"},
        "variants": {"int8": {"status": "blessed", "path": path}},
    }
    report = json.dumps({"model_id": "m", "status": "blessed", "files": listed, **parts}).encode()
    (home / "report.json").write_bytes(report)
    (home / "BLESSED").write_bytes(model_folder.vouch_for(report))


def linked(home: Path) -> None:
    (home / "tflite/int8.tflite").unlink()
    (home / "tflite/int8.tflite").symlink_to(home.parents[2] / "secret")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda home: publish(home, "../../../secret"), "'../../../secret', which is none of its files"),
        (lambda home: publish(home, "tflite/float32.tflite"), "which is none of its files"),
        (lambda home: (home / "tflite/int8.tflite").write_text("TFLITE/int8.tflite"), "is not the file that was judged"),
        (lambda home: (home / "saved_model/1/more").write_text("x"), "saved_model/1/more is not listed"),
        (lambda home: (home / "report.json").write_text("{}"), "holds no published model"),
        (lambda home: (home / "BLESSED").unlink(), "holds no published model"),
        (linked, "is a link"),
    ],
    ids=["path outside", "path of nothing", "another file", "one more file", "another report", "no marker", "link"],
)
def test_a_folder_that_is_not_as_it_was_judged_makes_no_kit(published: Path, damage: Callable[[Path], Any], told: str) -> None:
    damage(published)
    destination = published.parents[2] / "kit"
    request = KitRequest(out=str(published.parents[1]), model_id="m", variant="int8")
    with pytest.raises(JobError, match=re.escape(told)):
        write(request, str(destination))
    assert not destination.exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda value: np.roll(value, 1, axis=0), ReasonCode.PARITY_OUT_OF_TOLERANCE),
        (lambda value: value * np.float32(np.nan), ReasonCode.PARITY_NONFINITE),
        (lambda value: np.zeros_like(value), ReasonCode.PARITY_OUT_OF_TOLERANCE),
    ],
    ids=["rows shifted", "NaN", "zeros"],
)
def test_wrong_answers_are_not_within(kit: Path, tmp_path: Path, change: Any, code: ReasonCode) -> None:
    judged = judge_answers(str(kit), answers(tmp_path, {**EXPECTED, "scores": change(EXPECTED["scores"])}))
    assert judged.verdict.reason is not None
    assert judged.verdict.reason.code is code


def test_an_output_that_did_not_come_back_is_not_within(kit: Path, tmp_path: Path) -> None:
    judged = judge_answers(str(kit), answers(tmp_path, {"scores": EXPECTED["scores"]}))
    assert judged.verdict.reason is not None
    assert "a/b" in judged.verdict.reason.message


def test_half_of_the_rows_are_an_error(kit: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"has shape \(10, 4\), the kit expects \(20, 4\)"):
        judge_answers(str(kit), answers(tmp_path, {**EXPECTED, "scores": EXPECTED["scores"][:10]}))


def test_no_answers_at_all_name_the_files(kit: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"holds none of scores\.npy, a%2Fb\.npy"):
        judge_answers(str(kit), answers(tmp_path, {}))


def test_a_folder_that_is_no_kit_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"is not a kit's manifest"):
        judge_answers(str(tmp_path), str(tmp_path))


# TensorFlow Lite for Microcontrollers takes one row at a time, by position.
ON_A_MICROCONTROLLER = """
import json, os
import numpy as np
from tflite_micro import runtime
contract, count = json.load(open("kit.json"))["contract"], len(json.load(open("rows.json")))
run, rows, answers = runtime.Interpreter.from_file("model.tflite"), np.load("rows.npz"), {}
for place in range(count):
    for one in contract["inputs"]:
        run.set_input(rows[one["name"]][place : place + 1], one["position"])
    run.invoke()
    for one in contract["outputs"]:
        answers.setdefault(one["name"], []).append(np.array(run.get_output(one["position"])))
os.makedirs("answers")
for name, found in answers.items():
    np.save(f"answers/{name}.npy", np.concatenate(found))
"""


def kit_of(run: Run, model_id: str, variant: str, folder: Path) -> Path:
    made = liteferry("kit", run.out, model_id, folder, "--variant", variant)
    assert made.returncode == 0, made.stderr
    return folder


def python_of(kit: Path) -> str:
    """The script of the kit's own README, to the letter."""
    return (kit / "README.md").read_text().partition("```python\n")[2].partition("```")[0]


def assert_within(kit: Path, script: str) -> None:
    """The answers of a process of its own are within, and not within once an output's rows are turned around."""
    subprocess.run([sys.executable, "-c", script], cwd=kit, check=True, capture_output=True)
    judged = liteferry("compare", "--kit", kit, "--answers", kit / "answers")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    for path in sorted((kit / "answers").glob("*.npy")):
        right = np.load(path)
        np.save(path, right[::-1])
        judged = liteferry("compare", "--kit", kit, "--answers", kit / "answers")
        assert judged.returncode == 1, (path, judged.stdout)
        np.save(path, right)


def test_a_kit_of_the_demo_runs_in_another_process_and_is_within(demo: Run, tmp_path: Path) -> None:
    """LiteRT alone, as on a board."""
    kit = kit_of(demo, "cnn", "dynamic_int8", tmp_path / "kit")
    assert_within(kit, python_of(kit))
    again = liteferry("kit", demo.out, "cnn", kit, "--variant", "dynamic_int8")
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


def test_a_kit_of_several_signatures_runs_in_another_process_and_is_within(kitchen_sink: Run, tmp_path: Path) -> None:
    kit = kit_of(kitchen_sink, "codec", "int8", tmp_path / "kit")
    assert_within(kit, python_of(kit))
    assert {path.stem for path in (kit / "answers").iterdir()} == {"y", "encode.code", "decode.y"}


def test_a_kit_runs_on_a_microcontrollers_runtime_and_is_within(demo: Run, tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: pip install 'liteferry[micro]'")
    kit = kit_of(demo, "cnn", "float32", tmp_path / "kit")
    assert_within(kit, ON_A_MICROCONTROLLER)


def test_rows_are_in_the_dtypes_of_the_file(tmp_path: Path, kitchen_sink: Run) -> None:
    """What lies in a kit can be set as it is, also for a file of integers."""
    content = (kitchen_sink.out / "models/codec/tflite/float32.tflite").read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for subgraph in model.subgraphs:
        for index in subgraph.inputs:
            tensor = subgraph.tensors[index]
            tensor.type, tensor.quantization = schema.TensorType.INT8, schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [0.5], [3]
    (tmp_path / "model.tflite").write_bytes(rewriting.packed(model, 0))
    rows = {"x": np.full((2, 64), 2.0, np.float32), "decode.x": np.full((2, 32), 1000.0, np.float32)}
    taken = _as_the_file_takes_them(rows, str(tmp_path / "model.tflite"))
    assert (taken["x"].dtype.name, taken["x"].max(), taken["decode.x"].max()) == ("int8", 7, 127)


def test_a_free_batch_is_one_row_for_runtimes_that_take_no_free_sizes(kitchen_sink: Run) -> None:
    content = (kitchen_sink.out / "models/codec/tflite/float32.tflite").read_bytes()
    assert flatbuffer.read_contract(content).inputs[0].shape == (None, 64)
    fixed = rewriting.with_one_row(content)
    assert [tensor.shape for tensor in flatbuffer.read_contract(fixed).inputs] == [(1, 64)]
    assert flatbuffer.read_contract(fixed, "decode").inputs[0].shape == (1, 32)
    assert rewriting.with_one_row(fixed) == fixed
    rows = {"x": np.ones((3, 64), np.float32), "decode.x": np.ones((3, 32), np.float32)}
    free, one = (runners.LiteRTRunner(file).run(rows) for file in (content, fixed))
    assert all(np.allclose(free[name], one[name], atol=1e-6) for name in free)
