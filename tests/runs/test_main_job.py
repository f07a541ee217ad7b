"""The main job end to end: the demo fleet with its broken checkpoints, run for real once, looked at from every side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from liteferry import cli
from tests.support import Run, copy_of_out, liteferry
from tests.support.kitchen_sink.digits import NAMES_OF_A_RUN

BROKEN = {
    "broken_truncated": ("failed", "LOAD_CORRUPT", "load"),
    "broken_missing_class": ("failed", "LOAD_UNKNOWN_OBJECT", "load"),
    "broken_always_augments": ("not_blessed", "EXPORT_NONDETERMINISTIC", "export"),
    "broken_aborts": ("failed", "CRASHED", "export"),
}
HEALTHY = {"mlp", "cnn", "cnn_augmented", "subclassed", "gru_over_rows", "two_halves", "hard_sigmoid", "saved_model", "compact"}


def test_every_checkpoint_found_has_exactly_one_report(demo: Run) -> None:
    assert demo.model_ids() == HEALTHY | BROKEN.keys(), demo.said.stderr


def test_the_exit_status_says_that_not_all_are_blessed(demo: Run) -> None:
    assert demo.said.returncode == 1, demo.said.stderr


@pytest.mark.parametrize("model_id", sorted(HEALTHY))
def test_a_healthy_model_is_blessed_beside_broken_ones(demo: Run, model_id: str) -> None:
    report = demo.report(model_id)
    assert report["status"] == "blessed", report["reason"]
    assert {name: variant["status"] for name, variant in report["variants"].items()} == dict.fromkeys(
        ("float32", "float16", "dynamic_int8"), "blessed"
    )
    assert (demo.out / "models" / model_id / "BLESSED").exists()


@pytest.mark.parametrize("model_id", sorted(BROKEN))
def test_a_broken_model_is_reported_with_its_reason(demo: Run, model_id: str) -> None:
    report = demo.report(model_id)
    assert (report["status"], report["reason"]["code"], report["reason"]["stage"]) == BROKEN[model_id]
    assert report["recommended_variant"] is None
    assert (demo.out / "models" / model_id / "NOT_BLESSED").exists()
    assert not (demo.out / "models" / model_id / "BLESSED").exists()


@pytest.mark.parametrize("model_id", sorted(HEALTHY))
def test_parity_was_measured_on_all_rows_and_is_tight(demo: Run, model_id: str) -> None:
    report = demo.report(model_id)
    parities = [report["saved_model"]["fidelity"], *(variant["parity"] for variant in report["variants"].values())]
    assert all(stats["example_count"] == 360 for parity in parities for stats in parity.values())
    assert all(stats["max_rel"] <= 1e-6 for stats in report["saved_model"]["fidelity"].values())
    assert all(stats["max_rel"] <= 1e-5 for stats in report["variants"]["float32"]["parity"].values())


def test_augmentation_and_dropout_are_off_in_what_is_exported(demo: Run) -> None:
    assert demo.report("cnn_augmented")["saved_model"]["deterministic"] is True


def test_a_file_of_keras_2_is_computed_by_keras_2(demo: Run) -> None:
    assert demo.report("hard_sigmoid")["saved_model"]["oracle"].startswith("tf_keras 2.")


def test_a_recurrent_model_falls_back_to_batch_1_and_says_so(demo: Run) -> None:
    float32 = demo.report("gru_over_rows")["variants"]["float32"]
    assert float32["batch"] == 1
    assert [(attempt["lowering"], attempt["status"]) for attempt in float32["attempts"]] == [
        ("dynamic batch", "NEEDS_FLEX"),
        ("batch fixed at 1", "converted"),
    ]


def test_named_inputs_and_outputs_keep_their_names(demo: Run) -> None:
    report = demo.report("two_halves")
    contract = report["variants"]["float32"]["contract"]
    assert {tensor["name"] for tensor in contract["inputs"]} == {"upper", "lower"}
    assert {tensor["name"] for tensor in contract["outputs"]} == {"digit", "is_even"}
    signature = report["saved_model"]["signatures"]["serving_default"]
    assert {tensor["name"] for tensor in signature["inputs"]} == {"upper", "lower"}


def test_the_recommended_variant_is_the_smallest_blessed_one(demo: Run) -> None:
    report = demo.report("cnn")
    smallest = min(report["variants"], key=lambda name: report["variants"][name]["bytes"])
    assert report["recommended_variant"] == smallest


@pytest.mark.parametrize("name", NAMES_OF_A_RUN)
def test_a_models_name_cannot_reach_the_runs_own_files(kitchen_sink: Run, name: str) -> None:
    assert kitchen_sink.report(name)["status"] == "blessed"
    assert (kitchen_sink.out / "models" / name / "BLESSED").exists()


def test_the_same_numbers_from_three_shards_as_from_one_file(demo: Run, kitchen_sink: Run) -> None:
    """Three shards are three references in three processes, merged; whole batches each, so no row gets other neighbours."""
    import pyarrow.parquet as pq

    table = pq.read_table(demo.out / "fleet" / "digits.parquet")
    sharded, whole = kitchen_sink.report("in_three_parts"), demo.report("cnn_augmented")
    for variant in whole["variants"]:
        for fact in ("parity", "worst_examples"):
            assert sharded["variants"][variant][fact] == whole["variants"][variant][fact], (variant, fact)
        labels, counts = np.unique(table.column("label").to_numpy(), return_counts=True)
        slices = sharded["variants"][variant]["slices"]
        found = {name: facts["row_count"] for name, facts in slices.items() if name.startswith("label:")}
        assert found == {f"label:{label}": count for label, count in zip(labels.tolist(), counts.tolist(), strict=True)}
        for output, statistics in whole["variants"][variant]["parity"].items():
            errors = [slices[name]["parity"][output] for name in found]
            assert max(one["max_abs"] for one in errors) == statistics["max_abs"]
            assert sum(one["flip_count"] for one in errors) == statistics["flip_count"]
        assert (len(slices) - len(found), sharded["variants"][variant]["rows_not_in_slices"]) == (100, {"id": 260})


def test_nothing_temporary_is_left(demo: Run) -> None:
    assert [path.name for path in (demo.out / ".staging").iterdir()] == ["lock"]
    assert not list(demo.out.glob("models/**/*.tmp"))


def test_the_fleet_files_agree_with_the_reports(demo: Run) -> None:
    import pyarrow.parquet as pq

    facts = json.loads((demo.out / "fleet.json").read_text())
    assert facts["totals"]["models"] == 13
    assert facts["totals"]["blessed"] == 9
    table = pq.read_table(demo.out / "fleet.parquet")
    assert set(table.column("model_id").to_pylist()) == demo.model_ids()
    assert (demo.out / "index.html").read_text().count("report.html") >= 13


def test_a_saved_model_runs_in_plain_tensorflow_and_carries_its_metadata(demo: Run) -> None:
    folder = demo.out / "models" / "subclassed" / "saved_model" / "1"
    script = (
        "import sys, json; sys.modules['keras'] = sys.modules['tf_keras'] = None\n"
        "import numpy as np, tensorflow as tf\n"
        f"model = tf.saved_model.load({str(folder)!r})\n"
        "output = model.signatures['serving_default'](**{name: tf.zeros([2, 8, 8, 1]) for name in ['image']})\n"
        "assert next(iter(output.values())).shape == (2, 10)\n"
        "print(json.load(open(model.metadata.asset_path.numpy()))['metadata']['dataset'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "scikit-learn digits", done.stderr[-2000:]
    assert (folder / "assets.extra" / "tf_serving_warmup_requests").stat().st_size > 0


def test_run_again_with_nothing_changed_does_no_model_work_and_says_so(demo: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in (demo.out / "models").rglob("*")}
    again = liteferry("demo", "--output", demo.out, "--with_broken")
    assert "13 of 13 models were done already" in again.stdout, again.stdout + again.stderr
    assert again.returncode == 1
    assert {path: path.stat().st_mtime_ns for path in (demo.out / "models").rglob("*")} == before


def test_show_prints_the_table_and_the_same_exit_status(demo: Run) -> None:
    shown = liteferry("show", demo.out)
    assert shown.returncode == 1
    assert "broken_aborts" in shown.stdout
    assert "CRASHED" in shown.stdout


def test_report_builds_the_pages_again_from_json_alone(demo: Run, tmp_path: Path) -> None:
    out = copy_of_out(demo, tmp_path / "out")
    page = out / "models" / "mlp" / "report.html"
    before = page.read_text()
    page.unlink()
    done = liteferry("report", out)
    assert done.returncode == 0, done.stderr
    assert page.read_text() == before


@pytest.fixture
def twenty(demo: Run, tmp_path: Path) -> tuple[Path, Path]:
    """A job over twenty copies of one checkpoint, and an empty OUT."""
    whole = (demo.out / "fleet" / "checkpoints" / "mlp.keras").read_bytes()
    for number in range(20):
        (tmp_path / f"copy_{number:02d}.keras").write_bytes(whole)
    samples = demo.out / "fleet" / "digits.parquet"
    job = tmp_path / "job.yaml"
    job.write_text(
        "models: [{checkpoints: '*.keras', samples: d}]\n"
        f"samples: {{d: {{path: {samples}, inputs: {{image: image}}}}}}\n"
        "variants: [float32]\n"
    )
    return job, tmp_path / "out"


def test_killed_half_way_and_run_again_it_finishes_the_rest(twenty: tuple[Path, Path]) -> None:
    job, out = twenty
    command = [sys.executable, "-m", "liteferry", "run", "--config", str(job), "--output", str(out)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 300
    while len(list(out.glob("models/*/report.json"))) < 4:
        assert first.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "no report came"
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    finished = {path: path.stat().st_mtime_ns for path in out.glob("models/*/*") if path.is_file()}
    done_before = len(list(out.glob("models/*/BLESSED")))
    assert 4 <= done_before < 20
    for folder in out.glob("models/*"):
        assert (folder / "report.json").exists(), f"{folder} is half-written"
    again = liteferry("run", "--config", job, "--output", out)
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"{done_before} of 20 models were done already" in again.stdout
    assert len(list(out.glob("models/*/BLESSED"))) == 20
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "a finished model was done again"
    assert [path.name for path in (out / ".staging").iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("model_id", "code", "words"),
    [
        ("another_shape", "SAMPLES_MISMATCH", "picture"),
        ("no_column", "SAMPLES_MISMATCH", "image"),
        ("zero_rows", "SAMPLES_EMPTY", "no rows"),
    ],
)
def test_samples_that_cannot_prove_anything_bless_nothing(kitchen_sink: Run, model_id: str, code: str, words: str) -> None:
    report = kitchen_sink.report(model_id)
    assert report["status"] == "not_blessed"
    assert report["reason"]["code"] == code
    assert words in report["reason"]["message"]
    assert "Traceback" not in kitchen_sink.said.stdout + kitchen_sink.said.stderr


MISTAKES = """\
models:
  - checkpoint: "*.keras"
    samples: digits
samples:
  digits: {path: digits.npz}
variants: [float32, float61]
limits: {seconds_per_model: soon}
"""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--checkpoints", "none/*.keras", "--output", "out"], ["none/*.keras", "names no file"]),
        (
            ["run", "--config", "job.yaml", "--output", "out"],
            ["did you mean", "checkpoints", "float61", "seconds_per_model", "'soon'"],
        ),
        (["run", "--config", "missing.yaml", "--output", "out"], ["missing.yaml"]),
        (["run", "--output", "out"], ["--config or --checkpoints"]),
        (["run", "--config", "job.yaml", "--ouput", "out", "--output", "out"], ["--ouput", "did you mean --output?"]),
        (["show", "nowhere"], ["nowhere", "no finished run"]),
        (["frobnicate"], ["no such command: 'frobnicate'"]),
    ],
    ids=[
        "empty glob",
        "three mistakes",
        "no job file",
        "no job at all",
        "a flag with a typo",
        "no run to show",
        "no such command",
    ],
)
def test_a_users_mistake_is_one_clear_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: list[str],
) -> None:
    """In this process: an error of ours that came through would be a failure of the test."""
    (tmp_path / "job.yaml").write_text(MISTAKES)
    monkeypatch.chdir(tmp_path)
    status: object
    try:
        status = cli.main(arguments)
    except SystemExit as end:
        status = end.code
    told = capsys.readouterr().err
    assert (status, "Traceback" in told) == (2, False), told
    for word in words:
        assert word in told
