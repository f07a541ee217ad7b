"""A family of sixteen, killed after six: the six are there, and the same command does the other ten."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from liteferry.commands.verify import verify
from liteferry.output.model_folder import scan
from tests.support import Run, facts_of, liteferry
from tests.support.packages import ROOT
from tests.support.programs import run_program

pytestmark = pytest.mark.nightly  # three runs of sixteen models

WRITER = """
import sys, numpy as np, keras
folder, random = sys.argv[1], np.random.default_rng(0)
model = keras.Sequential([keras.Input((6,), name="x"), keras.layers.Dense(12, "tanh"), keras.layers.Dense(4, name="scores")])
for number in range(16):
    model.set_weights([random.normal(size=weight.shape) for weight in model.get_weights()])
    model.save(f"{folder}/one_{number:02d}.keras")
np.savez(f"{folder}/rows.npz", x=random.normal(size=(40, 6)).astype("float32"))
"""
# The command itself, which dies as soon as the sixth model is at its final path, and the process at work with it.
DRIVER = """
import os, signal, sys
from liteferry import cli, storage
publish, done = storage.publish_directory, []
def published(*arguments):
    publish(*arguments)
    done.append(arguments)
    if len(done) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
storage.publish_directory = published
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sixteen")
    run_program(WRITER, folder, folder=folder)
    path = folder / "job.yaml"
    path.write_text("models: [{checkpoints: '*.keras', samples: rows}]\nsamples: {rows: {path: rows.npz}}\nvariants: [float32]\n")
    return path


@pytest.fixture(scope="module")
def undisturbed(job: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished(job, tmp_path_factory.mktemp("undisturbed"))


def arguments(job: Path, out: Path) -> list[str]:
    return ["run", "--config", str(job), "--output", str(out), "--processes", "1"]


def finished(job: Path, out: Path) -> Run:
    run = Run(out, liteferry(*arguments(job, out)))
    assert run.said.returncode == 0, run.said.stdout + run.said.stderr
    return run


def published(out: Path) -> dict[str, bytes]:
    """model_id -> report, of every folder that is blessed and whole."""
    folders = [scan(str(path)) for path in sorted((out / "models").iterdir())]
    assert all(folder.complete_report()["status"] == "blessed" for folder in folders)
    return {path.name: (path / "report.json").read_bytes() for path in sorted((out / "models").iterdir())}


def killed(job: Path, out: Path) -> None:
    started = subprocess.Popen([sys.executable, "-c", DRIVER, *arguments(job, out)], cwd=ROOT, stdout=subprocess.DEVNULL)
    assert started.wait() == -signal.SIGKILL
    left = [one for one in psutil.process_iter(["environ"]) if str(out) in str(one.info)]
    psutil.wait_procs(left, timeout=60)


def test_a_kill_after_six_keeps_six_and_the_next_run_does_ten(job: Path, undisturbed: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed(job, out)
    six = published(out)
    assert sorted(six) == [f"one_{number:02d}" for number in range(6)], "in the order of the family"
    assert [problem for who, problem in verify(str(out), processes=1, with_rows=False).problems if who in six] == []

    run = finished(job, out)
    after = published(out)
    assert len(after) == 16
    assert {name: after[name] for name in six} == six, "finished work is not touched"
    for model_id in undisturbed.model_ids():
        assert facts_of(run.report(model_id)) == facts_of(undisturbed.report(model_id)), model_id
    assert verify(str(out), processes=1, with_rows=False).problems == ()


def test_the_seventh_costs_its_siblings_nothing(job: Path, undisturbed: Run, tmp_path: Path) -> None:
    """One of its bytes is another one: it has its own reason, the other fifteen what they have without it."""
    seventh = job.parent / "one_06.keras"
    whole = seventh.read_bytes()
    seventh.write_bytes(whole.replace(b"HDF\r\n\x1a\n", b"HDF\r\n\x1a\0"))
    try:
        run = Run(tmp_path / "out", liteferry(*arguments(job, tmp_path / "out")))
    finally:
        seventh.write_bytes(whole)
    assert run.said.returncode == 1
    assert run.model_ids() == undisturbed.model_ids()
    assert run.report("one_06")["status"] == "failed"
    for model_id in run.model_ids() - {"one_06"}:
        assert facts_of(run.report(model_id)) == facts_of(undisturbed.report(model_id)), model_id
