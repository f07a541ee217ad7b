"""`liteferry demo`: a small fleet trained on real digits, and the main job on it."""

from __future__ import annotations

import os
import subprocess
import sys

from liteferry.errors import JobError


def run_demo(out: str, *, with_broken: bool) -> int:
    """Trains the fleet into OUT/fleet (once), runs the job into OUT, says where to look. Returns the run's exit status.

    Raises:
      JobError: when scikit-learn is not installed, or training fails.
    """
    from liteferry.commands.run import run_job
    from liteferry.config.load import load_job
    from liteferry.pipeline.run_request import RunRequest

    fleet = os.path.join(os.path.abspath(out), "fleet")
    job_path = os.path.join(fleet, "job.yaml")
    is_there = (
        os.path.exists(job_path) and os.path.exists(os.path.join(fleet, "checkpoints", "broken_aborts.keras")) == with_broken
    )
    if not is_there:
        train(fleet, with_broken=with_broken)
    print(f"Running: liteferry run --config {os.path.relpath(job_path)} --output {out}", file=sys.stderr, flush=True)
    status = run_job(RunRequest(job=load_job(job_path), out=out, job_file=job_path))
    print(f"The fleet and its job file: {fleet}")
    print(f"One model's files: {os.path.join(os.path.abspath(out), 'models', 'cnn_augmented')}")
    return status


def train(fleet: str, *, with_broken: bool) -> None:
    """Trains in a process of its own, so that this one stays free of TensorFlow."""
    import importlib.util
    import shutil

    if importlib.util.find_spec("sklearn") is None:
        raise JobError(["scikit-learn is needed for its digits: pip install 'liteferry[demo]'"], source="liteferry demo")
    shutil.rmtree(fleet, ignore_errors=True)
    print("Training the demo fleet on scikit-learn's digits, about a minute ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "liteferry.commands.demo.train", fleet, *(["--with_broken"] if with_broken else [])]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        command, env=environment, stderr=subprocess.PIPE if not sys.stderr.isatty() else None, text=True, check=False
    )
    if done.returncode != 0:
        tail = (done.stderr or "").strip()[-1500:]
        raise JobError([f"training ended with status {done.returncode}: {tail}"], source="liteferry demo")
