"""Every kind of checkpoint, written by the library that writes it, exported and run without that library, against its own
answers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from liteferry import sandbox
from liteferry.sandbox import Flavor, Limits
from tests import fixtures_checkpoints

FIXTURES = sorted(name for writers in fixtures_checkpoints.WRITERS.values() for name in writers)
LIMITS = Limits(seconds=120, memory_bytes=8 * 10**9)
SCRIPT = Path(__file__).with_name("fixtures_checkpoints.py")


@pytest.fixture(scope="session")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All fixtures, written by two processes at once."""
    out = tmp_path_factory.mktemp("checkpoints")
    writers = [subprocess.Popen([sys.executable, str(SCRIPT), library, str(out)]) for library in fixtures_checkpoints.WRITERS]
    assert [writer.wait() for writer in writers] == [0, 0]
    return out


def run(function: str, folder: Path, flavor: Flavor) -> dict[str, Any]:
    outcome = sandbox.run(f"tests.loading_unit:{function}", str(folder), flavor=flavor, limits=LIMITS)
    error = outcome.error or {}
    assert outcome.error is None, f"{error.get('code')}: {error.get('message')}\n{error.get('traceback', '')[-3000:]}"
    result: dict[str, Any] = outcome.results[0]
    return result


@pytest.mark.parametrize("name", FIXTURES)
def test_the_saved_model_answers_as_the_library_that_wrote_the_checkpoint(fixtures: Path, name: str) -> None:
    folder = fixtures / name
    assert not (folder / "error.txt").exists(), (folder / "error.txt").read_text()
    case = json.loads((folder / "case.json").read_text())
    exported = run("export_case", folder, Flavor.KERAS)
    (folder / "exported.json").write_text(json.dumps(exported))
    assert exported["kind"] == case["kind"]
    assert exported["deterministic"], "two inference runs differ"
    answered = run("run_clean", folder, Flavor.CLEAN)
    assert max(answered["difference"].values()) <= 1e-6, answered["difference"]
    assert answered["signatures"] == case.get("signatures_kept", ["serving_default"])
