"""What the tests of whole runs share: the real command in a process of its own, and a look at what it left."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def liteferry(*arguments: str | Path, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "liteferry", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


class Run:
    """A finished run's folder, and what the command said."""

    def __init__(self, out: Path, said: subprocess.CompletedProcess[str]) -> None:
        self.out = out
        self.said = said

    def report(self, model_id: str) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.out / "models" / model_id / "report.json").read_text())
        return report

    def model_ids(self) -> set[str]:
        return {path.name for path in (self.out / "models").iterdir()}


_MEASURED = ("timings_s", "peak_memory_bytes", "speed", "latency_ms", "files")


def facts_of(report: Any) -> Any:
    """A report without what docs/reports.md says is not the same in two runs, wherever it stands: times, memory, digests, and
    which of several siblings had a second opinion. One that stands in a model's way is a fact.
    """
    if isinstance(report, dict):
        kept = {key: value for key, value in report.items() if key not in _MEASURED}
        if (kept.get("second_opinion") or {}).get("code", "") is None:
            del kept["second_opinion"]
        return {key: facts_of(value) for key, value in kept.items()}
    return [facts_of(item) for item in report] if isinstance(report, list) else report


THREE = ("mlp", "cnn", "broken_truncated")


def copy_of_out(run: Run, folder: Path) -> Path:
    """OUT without checkpoints, which a run keeps in `fleet`, and without what a run that goes on beside this test has there."""
    out = Path(shutil.copytree(run.out, folder, ignore=shutil.ignore_patterns("fleet", ".staging")))
    (out / ".staging").mkdir()
    return out


def arguments_of_three(demo: Run) -> list[str]:
    """`run` with three of the demo's checkpoints, as the fixture `three` runs them."""
    fleet = demo.out / "fleet"
    checkpoints = [str(fleet / "checkpoints" / f"{name}.keras") for name in THREE]
    return ["run", "--checkpoints", *checkpoints, "--samples", str(fleet / "digits.parquet"), "--variants", "float32"]
