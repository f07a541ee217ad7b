"""The mistakes that newcomers make: `check` finds each before anything runs, with the fix in the words typed."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from liteferry.cli import build_parser, main
from liteferry.commands import job_flags
from liteferry.commands.check import check
from liteferry.commands.foresee import Foreseen, State
from liteferry.config.load import job_from_flags
from liteferry.errors import JobError


def write_model(
    path: Path,
    *,
    name: str = "image",
    shape: tuple[int, ...] = (8, 8, 1),
    custom: str | None = None,
    rescaling: float | None = None,
    keras_version: str = "3.15.1",
) -> Path:
    """A functional `.keras` archive of one input and one Dense layer, without weights: nothing loads it here."""
    inputs: dict[str, Any] = {"module": "keras.layers", "class_name": "InputLayer", "name": name}
    inputs |= {"config": {"name": name, "batch_shape": [None, *shape], "dtype": "float32"}, "inbound_nodes": []}
    layer: dict[str, Any] = {
        "module": "keras.layers" if custom is None else "my_layers",
        "class_name": custom or "Dense",
        "name": "scores",
    }
    layer |= {"config": {"name": "scores", "units": 2}, "inbound_nodes": [], "registered_name": custom}
    layers = [inputs, layer]
    if rescaling is not None:
        scaling = {"name": "scaled", "scale": rescaling, "offset": 0.0}
        ahead = {"class_name": "__keras_tensor__", "config": {"shape": [None, *shape], "keras_history": [name, 0, 0]}}
        node = {"module": "keras.layers", "class_name": "Rescaling", "name": "scaled", "config": scaling}
        layers = [inputs, {**node, "inbound_nodes": [{"args": [ahead], "kwargs": {}}]}, layer]
    graph = {"name": "m", "layers": layers, "input_layers": [[name, 0, 0]], "output_layers": [["scores", 0, 0]]}
    weights = io.BytesIO()
    h5py.File(weights, "w").close()
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps({"module": "keras", "class_name": "Functional", "config": graph}))
        file.writestr("metadata.json", json.dumps({"keras_version": keras_version}))
        file.writestr("model.weights.h5", weights.getvalue())
    return path


def write_weights(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.zeros((2, 2), np.float32)
    return path


def write_rows(path: Path, **columns: Any) -> Path:
    rows = {"image": np.zeros((6, 8, 8, 1), np.float32), "label": np.arange(6) % 2, "id": np.array(list("abcdef"))}
    np.savez(path, **{**rows, **columns})
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "model.keras")
    write_rows(tmp_path / "rows.npz")
    return tmp_path


def foreseen(*flags: str) -> Foreseen:
    """What `check` says of the only checkpoint."""
    arguments = build_parser().parse_args(["check", *flags])
    job = job_from_flags(
        checkpoints=arguments.checkpoints,
        samples=arguments.samples,
        modules=arguments.modules or (),
        entry=job_flags.model_entry(arguments),
        rows=job_flags.samples_entry(arguments),
        metrics=job_flags.metrics(arguments.metrics),
    )
    (model,) = check(job).models
    return model


ROWS = ("--samples", "rows.npz")
MODEL = ("--checkpoints", "model.keras", *ROWS)


def test_an_honest_first_try_is_ready(here: Path) -> None:
    assert foreseen(*MODEL, "--label", "label", "--id", "id").state is State.READY


def test_an_automatic_input_name_is_no_mistake(here: Path) -> None:
    write_model(here / "auto.keras", name="input_layer_1")
    model = foreseen("--checkpoints", "auto.keras", *ROWS)
    assert model.state is State.READY
    assert "input 'input_layer_1' is fed by column 'image'" in model.notes[0]


def test_a_column_named_by_a_path_feeds_the_input_of_its_last_part(here: Path) -> None:
    with h5py.File(here / "rows.h5", "w") as file:
        file["val/image"] = file["val/noise"] = np.zeros((6, 8, 8, 1), np.float32)
    model = foreseen("--checkpoints", "model.keras", "--samples", "rows.h5")
    assert model.state is State.READY
    assert "input 'image' is fed by column 'val/image'" in model.notes[0]
    with h5py.File(here / "rows.h5", "a") as file:
        file["train/image"] = np.ones((6, 8, 8, 1), np.float32)
    assert foreseen("--checkpoints", "model.keras", "--samples", "rows.h5").state is State.DOES_NOT_FIT  # which, nobody knows


def wrong_column(here: Path) -> tuple[str, ...]:
    write_rows(here / "rows.npz", image=np.zeros((6, 3), np.float32))
    return (*MODEL, "--inputs", "image=pixels")


def wrong_shape(here: Path) -> tuple[str, ...]:
    write_rows(here / "rows.npz", image=np.zeros((6, 64), np.float32))
    return MODEL


def grey_without_channels(here: Path) -> tuple[str, ...]:
    write_rows(here / "rows.npz", image=np.zeros((6, 8, 8), np.float32))
    return MODEL


def channels_first(here: Path) -> tuple[str, ...]:
    write_rows(here / "rows.npz", image=np.zeros((6, 1, 8, 8), np.float32))
    return MODEL


def wrong_label(here: Path) -> tuple[str, ...]:
    return (*MODEL, "--label", "lable")


def metrics_without_labels(here: Path) -> tuple[str, ...]:
    return (*MODEL, "--metrics", "SparseCategoricalAccuracy")


def text_labels(here: Path) -> tuple[str, ...]:
    write_rows(here / "rows.npz", label=np.array(["cat", "dog"] * 3))
    return (*MODEL, "--label", "label", "--metrics", "SparseCategoricalAccuracy")


def missing_module(here: Path) -> tuple[str, ...]:
    write_model(here / "model.keras", custom="MyLayer")
    return MODEL


def module_with_an_error(here: Path) -> tuple[str, ...]:
    write_model(here / "model.keras", custom="MyLayer")
    (here / "layers.py").write_text("class MyLayer\n    pass\n")
    return (*MODEL, "--modules", "layers.py")


def layer_of_a_newer_keras(here: Path) -> tuple[str, ...]:
    path = write_model(here / "m.keras", keras_version="3.99.0")
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members["config.json"] = members["config.json"].replace(b'"Dense"', b'"DenseOfTomorrow"')
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return ("--checkpoints", "m.keras", *ROWS)


def missing_builder(here: Path) -> tuple[str, ...]:
    write_weights(here / "model.weights.h5")
    return ("--checkpoints", "model.weights.h5", *ROWS)


def weights_of_transformers(here: Path) -> tuple[str, ...]:
    write_weights(here / "bert" / "tf_model.h5")
    (here / "bert" / "config.json").write_text('{"model_type": "bert"}')
    return ("--checkpoints", "bert", *ROWS)


def misspelt_builder(here: Path) -> tuple[str, ...]:
    write_weights(here / "model.weights.h5")
    (here / "nets.py").write_text("def build():\n    raise RuntimeError('never called')\n")
    return ("--checkpoints", "model.weights.h5", *ROWS, "--modules", "nets.py", "--builder", "nets:biuld")


def builder_by_its_file(here: Path) -> tuple[str, ...]:
    write_weights(here / "model.weights.h5")
    (here / "nets.py").write_text("def build():\n    raise RuntimeError('never called')\n")
    return ("--checkpoints", "model.weights.h5", *ROWS, "--builder", "nets.py:build")


def builder_without_its_file(here: Path) -> tuple[str, ...]:
    write_weights(here / "model.weights.h5")
    return ("--checkpoints", "model.weights.h5", *ROWS, "--builder", "nets:build")


def module_without_its_ending(here: Path) -> tuple[str, ...]:
    write_model(here / "model.keras", custom="MyLayer")
    (here / "my_layers.py").write_text("class MyLayer:\n    pass\n")
    return (*MODEL, "--modules", "my_layers")


def columns_of_a_table(here: Path) -> tuple[str, ...]:
    write_model(here / "model.keras", name="x", shape=(3,))
    (here / "rows.csv").write_text("a,b,c,label\n1,2,3,0\n4,5,6,1\n")
    return ("--checkpoints", "model.keras", "--samples", "rows.csv")


def text_for_numbers(here: Path) -> tuple[str, ...]:
    write_rows(here / "rows.npz", image=np.array(["a.png", "b.png"] * 3))
    return MODEL


def images_of_another_size(here: Path) -> tuple[str, ...]:
    for name in ("cat", "dog"):
        (here / "photos" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(here / "photos" / name / "0.png")
        Image.fromarray(np.zeros((12, 10), np.uint8)).save(here / "photos" / name / "1.jpg")
    return ("--checkpoints", "model.keras", "--samples", "photos")


def a_series_without_its_last_axis(here: Path) -> tuple[str, ...]:
    write_model(here / "model.keras", name="input_layer", shape=(10, 1))
    np.savez(here / "rows.npz", window=np.zeros((6, 10)), next=np.zeros(6))
    return MODEL


def rows_in_batches(here: Path) -> tuple[str, ...]:
    write_model(here / "model.keras", name="input_layer", shape=(10,))
    np.savez(here / "rows.npz", x=np.zeros((6, 32, 10)), y=np.zeros((6, 32)))
    return MODEL


def no_rows(here: Path) -> tuple[str, ...]:
    return MODEL[:2]


MISTAKES = {
    wrong_column: (State.DOES_NOT_FIT, "SAMPLES_MISMATCH", "(--inputs image=COLUMN)"),
    wrong_shape: (State.DOES_NOT_FIT, "SAMPLES_MISMATCH", "x.reshape(-1, 8, 8, 1)"),
    grey_without_channels: (State.DOES_NOT_FIT, "SAMPLES_MISMATCH", "x[..., None]"),
    channels_first: (State.DOES_NOT_FIT, "SAMPLES_MISMATCH", "np.transpose(x, (0, 2, 3, 1))"),
    wrong_label: (State.DOES_NOT_FIT, "SAMPLES_MISMATCH", "did you mean label?"),
    metrics_without_labels: (State.DOES_NOT_FIT, "SAMPLES_MISMATCH", "(--label)"),
    text_labels: (State.DOES_NOT_FIT, "SAMPLES_MISMATCH", "store the number of each class"),
    missing_module: (State.WILL_FAIL, "LOAD_UNKNOWN_OBJECT", "(--modules FILE.py)"),
    module_with_an_error: (State.WILL_FAIL, "LOAD_FAILED", "layers.py, line 1"),
    layer_of_a_newer_keras: (State.WILL_FAIL, "LOAD_UNSAFE", "written by Keras 3.99.0"),
    missing_builder: (State.WILL_FAIL, "LOAD_NEEDS_BUILDER", "--builder module:function"),
    weights_of_transformers: (State.WILL_FAIL, "LOAD_NEEDS_BUILDER", "model.save_pretrained(FOLDER, saved_model=True)"),
    misspelt_builder: (State.WILL_FAIL, "LOAD_FAILED", "it defines build"),
    builder_by_its_file: (State.WILL_FAIL, "LOAD_FAILED", "write nets:build, and list nets.py under modules (--modules nets.py)"),
    builder_without_its_file: (State.WILL_FAIL, "LOAD_FAILED", "list nets.py under modules (--modules nets.py)"),
    module_without_its_ending: (State.WILL_FAIL, "LOAD_FAILED", "for the file write --modules my_layers.py"),
    columns_of_a_table: (State.DOES_NOT_FIT, "SAMPLES_MISMATCH", "(--inputs x=a,b,c)"),
    text_for_numbers: (State.DOES_NOT_FIT, "SAMPLES_MISMATCH", "(--decode image)"),
    images_of_another_size: (State.DOES_NOT_FIT, "SAMPLES_MISMATCH", "(--decode image --size 8,8)"),
    a_series_without_its_last_axis: (
        State.DOES_NOT_FIT,
        "SAMPLES_MISMATCH",
        "column 'window' holds (batch, 10) float64: store x[..., None]",
    ),
    rows_in_batches: (State.DOES_NOT_FIT, "SAMPLES_MISMATCH", "dataset.unbatch()"),
    no_rows: (State.DOES_NOT_FIT, "SAMPLES_MISSING", "(--samples FILE)"),
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_each_mistake_is_found_with_its_fix(here: Path, mistake: Any) -> None:
    state, code, fix = MISTAKES[mistake]
    model = foreseen(*mistake(here))
    assert model.state is state
    assert code in [found for found, _ in model.problems]
    assert fix in " ".join(message for _, message in model.problems)


def test_images_that_are_resized_fit(here: Path) -> None:
    assert foreseen(*images_of_another_size(here), "--decode", "image", "--size", "8,8").state is State.READY


def test_an_architecture_beside_weights_needs_no_builder(here: Path) -> None:
    write_weights(here / "net" / "model.weights.h5")
    (here / "net" / "config.json").write_text(
        json.dumps({"module": "keras", "class_name": "Sequential", "config": {"layers": []}})
    )
    assert foreseen("--checkpoints", "net", *ROWS).kind == "keras"


def test_what_only_the_users_code_can_tell_is_said_to_be_unknown(here: Path) -> None:
    write_weights(here / "model.weights.h5")
    (here / "nets.py").write_text("def build():\n    raise RuntimeError('never called')\n")
    flags = ("--checkpoints", "model.weights.h5", *ROWS, "--modules", "nets.py", "--builder", "nets:build")
    model = foreseen(*flags)
    assert model.state is State.UNKNOWN
    assert model.unknowns == ("only running nets:build tells what it builds, and whether the weights fit",)


def test_a_folder_for_a_glob_is_what_is_in_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(here / "ckpt" / "a.keras")
    write_model(here / "ckpt" / "deep" / "b.keras")
    (here / "ckpt" / "README.md").write_text("two models")
    assert main(["check", "--checkpoints", "ckpt", *ROWS]) == 0
    said = capsys.readouterr().out
    assert "  a " in said and "  deep-b " in said and "2 checkpoint(s)" in said


def test_the_status_says_whether_some_checkpoint_will_fail(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "page.h5").write_text("<!DOCTYPE html><html>403</html>")
    assert main(["check", "--checkpoints", "model.keras", "page.h5", *ROWS]) == 1
    said = capsys.readouterr().out
    assert "ready" in said and "page.h5 is an HTML page" in said
    assert main(["check", "--checkpoints", "nothing.keras", *ROWS]) == 2


def test_an_unquoted_pattern_that_the_shell_expanded_names_no_readme(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(here / "ck" / "a.keras")
    write_model(here / "ck" / "b.keras")
    (here / "ck" / "README.md").write_text("two models")
    assert main(["check", "--checkpoints", "ck/README.md", "ck/a.keras", "ck/b.keras", *ROWS]) == 0
    said = capsys.readouterr().out
    assert "2 checkpoint(s)" in said
    assert "ignored, since they are no checkpoints by their names: README.md" in said


STRAY = [
    (
        ["model.keras", "rows.npz"],
        ["for a checkpoint write --checkpoints model.keras", "for sample rows write --samples rows.npz"],
    ),
    (
        ["--checkpoints", "model.keras", "--samples", "rows.npz", "more.npz"],
        ["quote a pattern, or the shell expands it: --samples '*.npz'"],
    ),
    (["--checkpoints", "model.keras", *ROWS, "--inputs", "image", "pixels"], ["pixels: unexpected; `liteferry check --help`"]),
]


@pytest.mark.parametrize(("words", "told"), STRAY)
def test_a_stray_word_is_told_what_it_may_be(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: list[str]
) -> None:
    write_rows(here / "more.npz")
    assert main(["check", *words]) == 2
    said = capsys.readouterr().err
    assert [line in said for line in told] == [True] * len(told), said


TYPOS = [
    (["--sample", "rows.npz"], "--sample: no such flag; did you mean --samples?"),
    (["--lable", "label"], "--lable: no such flag; did you mean --label?"),
    (["--labels", "a"], "--labels: no such flag; did you mean --label?"),
    (["--data", "rows.npz"], "--data: no such flag; did you mean --samples?"),
    (["--model", "a.keras"], "--model: no such flag; did you mean --checkpoints?"),
]


@pytest.mark.parametrize(("flags", "told"), TYPOS)
def test_flags_misspelt_or_cut_short_are_told(
    here: Path, capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    assert main(["check", "--checkpoints", "model.keras", *flags]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("word", "meant"), [("export", "run"), ("convert", "run"), ("validate", "check"), ("chekc", "check")])
def test_a_command_by_another_name_is_told(capsys: pytest.CaptureFixture[str], word: str, meant: str) -> None:
    assert main([word, "model.keras"]) == 2
    assert f"no such command: '{word}' (did you mean {meant}?)" in capsys.readouterr().err


def test_run_hands_on_what_is_exactly_beams_and_nothing_else(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from liteferry.pipeline.beam_options import beam_flags, known_flags

    assert beam_flags(None, ["--labels=a=b", "--job_name", "x"]) == ["--labels=a=b", "--job_name", "x"]
    with pytest.raises(JobError, match="--job_nam: neither LiteFerry nor Beam has such a flag; did you mean --job_name"):
        beam_flags(None, ["--job_nam=x"])
    commands = next(action.choices for action in build_parser()._actions if isinstance(action.choices, dict))
    ours = set(commands["run"]._option_string_actions)
    assert ours & set(known_flags()) <= {"--help", "-h", "--label"}  # Beam's is another word for its --labels, which stays


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["x=a,b,c"], {"x": ["a", "b", "c"]}),
        (["x=a,y=b"], {"x": "a", "y": "b"}),
        (["x=a,b,y=c"], {"x": ["a", "b"], "y": "c"}),
        (["x=a", "y=b,c"], {"x": "a", "y": ["b", "c"]}),
        (["a=b=c"], {"a=b": "c"}),
    ],
)
def test_inputs_by_flag(given: list[str], found: dict[str, Any]) -> None:
    assert job_flags.input_columns(given) == found


@pytest.mark.parametrize("given", ["a", "=a", "x=", "x=a,,b"])
def test_inputs_that_are_none_are_told(given: str) -> None:
    with pytest.raises(JobError, match="is not INPUT=COLUMN"):
        job_flags.input_columns([given])


def test_builder_args_by_flag() -> None:
    assert job_flags.builder_args("units=64,name=small,rate=0.5") == {"units": 64, "name": "small", "rate": 0.5}
    assert job_flags.builder_args('{"units": [1, 2]}') == {"units": [1, 2]}
