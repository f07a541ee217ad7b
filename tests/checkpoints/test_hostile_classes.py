"""Every class of hostile checkpoint in one run, without any trust: each refused for what it is, none has run or read a thing.

With the kernel's confinement and without it: then the scan alone stands between the canaries and the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteferry import sandbox
from liteferry.checkpoints.reach import files_of_checkpoint
from liteferry.commands.compare.compare_side import SideTask, run_side
from liteferry.commands.inspect import child
from liteferry.commands.report_pages import rebuild_pages
from liteferry.commands.verify import _run_again
from liteferry.config.job import SamplesSpec
from liteferry.evaluation.artifact_scan import NOTHING_ALLOWED
from liteferry.loading.model import LoadSpec
from liteferry.samples.opening import open_samples
from liteferry.sandbox import Flavor, Limits, SandboxSpec, reader
from liteferry.sandbox.confine import SWITCH
from tests.commands.test_strangers_output import write_model

ROOT = Path(__file__).resolve().parents[2]
# Two runs over 330 checkpoints take six minutes; `test_trust.py` has one of every kind in `make test`.
pytestmark = pytest.mark.nightly

_SECRET = "SECRET-CANARY-4711"
_LEAST = 60
LIMITS = Limits(seconds=120, memory_bytes=8 * 10**9)


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


def _said_wrong(cases: Mapping[str, Any], said: Mapping[str, str]) -> str:
    """The cases of which it is not said what they are refused for, one a line."""
    wrong = [(name, case["says"], said.get(name, "nothing")) for name, case in cases.items() if case["codes"]]
    return "\n".join(f"{name}: {says!r} not in {told[:500]}" for name, says, told in wrong if says not in told)


def _is_quiet(folder: Path) -> bool:
    return not list(folder.glob("canary/marker*"))


def test_inspect_shows_what_each_would_be_refused_for(written: Path, cases: dict[str, Any]) -> None:
    """`liteferry inspect`, and `check`, which asks the same reader; a pattern's links are the run's to refuse."""
    seen_later = ("pipe_as_an_asset", "pipe_as_variables", "sparse", "graph_function_named_as_an_operation")
    asked = {name: case for name, case in cases.items() if case["trust"] != "links" and name not in seen_later}
    paths = [str(written / "ck" / case["file"]) for case in asked.values()]
    readable = [file for path in paths for file in files_of_checkpoint(path)]
    answers = [
        answer if isinstance(answer, dict) else {"died": str(answer)}
        for answer in reader.ask(child.answer, paths, readable=readable)
    ]
    said = {name: json.dumps(answer, ensure_ascii=False) for name, answer in zip(asked, answers, strict=True)}
    assert not _said_wrong(asked, said)
    trusted = {name: case for name, case in asked.items() if case["trust"]}
    assert not [name for name, case in trusted.items() if f'"opened_by": "{case["trust"]}"' not in said[name]]
    assert _is_quiet(written)


@pytest.mark.parametrize("confined", [True, False])
def test_compare_refuses_each_side(written: Path, cases: dict[str, Any], confined: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its own unit, which loads a side and runs it."""
    if not confined:
        monkeypatch.setenv(SWITCH, str(ROOT / "tests" / "unconfined.marker"))
        sandbox.close()  # the next process takes the environment of now
    spec = SamplesSpec(path=str(written / "x.npz"))
    rows = open_samples(spec)
    said = {}
    for name, case in cases.items():
        path = str(written / "ck" / case["file"])
        with tempfile.TemporaryDirectory() as folder:
            load = LoadSpec(link_root=str(written / "ck"))
            task = SideTask(side="left", path=path, spec=spec, sample_set=rows, batch_size=8, load=load, folder=folder)
            readable = [*files_of_checkpoint(path, load.links), spec.path]
            outcome = sandbox.run(
                run_side, task, SandboxSpec(flavor=Flavor.KERAS, limits=LIMITS, writable=[folder], readable=readable)
            )
        said[name] = outcome.reason.message if outcome.reason else "nothing"
    assert not _said_wrong(cases, said)
    assert _is_quiet(written)


def test_verify_and_report_take_nothing_from_a_strangers_folder(written: Path, cases: dict[str, Any], tmp_path: Path) -> None:
    """Each hostile graph as the blessed artifact of an output folder, whose manifest vouches for it."""
    graphs = {name: case for name, case in cases.items() if name.startswith("graph_") or name == "two_graphs"}
    for name in graphs:
        shutil.copytree(written / "ck" / name, tmp_path / "out" / "models" / name / "saved_model" / "1")
        write_model(tmp_path / "out", name)
    assert rebuild_pages(str(tmp_path / "out")) == len(graphs)
    said = {}
    for name in graphs:
        folder = tmp_path / "out" / "models" / name
        report = json.loads((folder / "report.json").read_text())
        said[name] = str(_run_again(str(folder), report, NOTHING_ALLOWED)[1])  # as for a report that all else agrees with
    assert not _said_wrong(graphs, said)
    assert not [path for path in (tmp_path / "out").rglob("*.html") if _SECRET in path.read_text()]
    assert _is_quiet(written)
