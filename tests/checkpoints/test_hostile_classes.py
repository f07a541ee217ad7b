"""Every class of hostile checkpoint in one run, without any trust: each refused for what it is, none has run or read a thing.

With the kernel's confinement and without it: then the scan alone stands between the canaries and the disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
# Two runs over 190 checkpoints take three minutes; `test_trust.py` has one of every kind in `make test`.
pytestmark = pytest.mark.nightly

_SECRET = "SECRET-CANARY-4711"
_LEAST = 60


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `ck/` of all classes, `cases.json`, `canary/secret.txt` and sample rows."""
    folder = tmp_path_factory.mktemp("classes")
    (folder / "canary").mkdir()
    (folder / "canary" / "secret.txt").write_text(f"{_SECRET}\n")
    command = [sys.executable, "-m", "tests.checkpoints.hostile_classes", str(folder / "ck"), str(folder / "canary")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    for marker in (folder / "canary").glob("marker*"):
        marker.unlink()  # Keras calls some of them once while they are written
    np.savez(folder / "x.npz", x=np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32))
    return folder


@pytest.fixture(scope="module", params=[pytest.param("confined", marks=pytest.mark.nightly), "unconfined"])
def run(request: pytest.FixtureRequest, written: Path) -> dict[str, Any]:
    """The reports of one job over all of them, and everything that it wrote."""
    out = written / request.param
    env = dict(os.environ, CUDA_VISIBLE_DEVICES="-1")
    if request.param == "unconfined":
        env["LITEFERRY_TESTS_UNCONFINED"] = str(ROOT / "tests" / "unconfined.marker")
    command = [
        str(Path(sys.executable).parent / "liteferry"),
        "run",
        "--checkpoints",
        f"{written / 'ck'}/*",
        "--variants",
        "float32",
    ]
    done = subprocess.run(
        [*command, "--samples", str(written / "x.npz"), "--output", str(out)], env=env, capture_output=True, text=True
    )
    reports = [json.loads(path.read_text()) for path in out.glob("models/*/report.json")]
    by_file = {os.path.basename(report["checkpoint"]["uri"].rstrip("/")): report for report in reports}
    told = [done.stdout.encode(), done.stderr.encode()]
    written_bytes = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    return {"reports": by_file, "texts": [*told, *written_bytes], "out": out, "canary": written / "canary", "stderr": done.stderr}


@pytest.fixture(scope="module")
def cases(written: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((written / "cases.json").read_text())
    return found


def test_none_has_run_and_none_has_read_the_secret(run: dict[str, Any]) -> None:
    assert run["reports"], run["stderr"]
    assert not list(run["canary"].glob("marker*"))
    assert not [text[:200] for text in run["texts"] if _SECRET.encode() in text or b"CANARY-RAN" in text]


def test_each_has_its_report_and_its_reason(run: dict[str, Any], cases: dict[str, Any]) -> None:
    """All that are wrong are shown at once: name, what was expected, what came."""
    wrong = []
    for name, case in cases.items():
        report = run["reports"].get(case["file"])
        reason = (report or {}).get("reason") or {}
        said = f"{reason.get('code')}: {reason.get('message')}"
        if not case["codes"]:
            if report is None or report["status"] == "failed":
                wrong.append((name, "an innocent neighbour", said))
            continue
        expected = case["says"] in said and (not case["trust"] or f"trust: [{case['trust']}]" in said)
        if reason.get("code") not in case["codes"] or not expected:
            wrong.append((name, case["says"], said))
    assert not wrong, "\n".join(f"{name}: {expected!r} not in {said}" for name, expected, said in wrong)


def test_there_are_enough_of_them(cases: dict[str, Any]) -> None:
    assert len(cases) >= _LEAST
