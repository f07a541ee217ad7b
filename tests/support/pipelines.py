"""A job through the whole pipeline in this process, whose nurseries have imported everything already."""

from __future__ import annotations

from pathlib import Path

from liteferry import pipeline
from liteferry.config.load import load_job


def run_pipeline(job: Path, out: Path, *, processes: int | None = None, share_siblings: bool = True) -> None:
    """What `liteferry run --config JOB --output OUT` does, without the command's words: for tests that read reports."""
    pipeline.run(pipeline.RunRequest(job=load_job(job), out=str(out), processes=processes, share_siblings=share_siblings))
