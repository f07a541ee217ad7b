"""One batch: written, reloaded by its own library, run as one job, judged; each step in a process of its own, and done once for
the code that it runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.support import liteferry

USER = Path(__file__).parent / "user"
_WRITERS = [
    *USER.glob("*.py"),
    *(Path(__file__).with_name(f"{name}.py") for name in ("cases", "files", "plain_models", "writer", "reload")),
]
_PRODUCT = Path(__file__).parents[3] / "components" / "liteferry"
NOT_ASKED = "not asked"
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """The part `part` of `parts` of a library's cases (keras, tf_keras, tensorflow), and the variants that their job asks for."""

    library: str
    part: int = 0
    parts: int = 1
    random_models: int = 0
    only: tuple[str, ...] = ()
    variants: tuple[str, ...] = ("float32",)
    is_reloaded: bool = True  # by its own library, too, which takes a process more
    processes: int | None = None  # of the run; None: as many as the machine has processors

    @property
    def name(self) -> str:
        return f"{self.library}_{self.part:02d}_of_{self.parts:02d}"


def results(batch: Batch, folder: Path, steps: Steps | None = None) -> list[dict[str, Any]]:
    """What cases.json says of each case, and with it `reload` (what is wrong with its library's own reload, or None; NOT_ASKED)
    and `verdict`. Steps whose file stands in the folder are not done again, unless the code has changed since.
    """
    steps = steps or Steps()
    written_by = _digest(_WRITERS)
    judged_by = _digest([*_PRODUCT.rglob("*.py"), *Path(__file__).parent.glob("*.py")])
    if _noted(folder / "written_by") != written_by:
        shutil.rmtree(folder, ignore_errors=True)
    elif _noted(folder / "judged_by") != judged_by:
        shutil.rmtree(folder / "out", ignore_errors=True)
        (folder / "verdicts.json").unlink(missing_ok=True)
    lay_out(batch, folder)
    (folder / "written_by").write_text(written_by)
    (folder / "judged_by").write_text(judged_by)
    if not (folder / "cases.json").exists():
        steps.program("writer", batch, folder)
    if batch.is_reloaded and not (folder / "reloads.json").exists():
        steps.program("reload", batch, folder)
    entries = [entry for entry in json.loads((folder / "cases.json").read_text()) if "path" in entry]
    if not (folder / "verdicts.json").exists():
        (folder / "job.json").write_text(json.dumps(_job(batch, entries), indent=1))
        steps.job(batch, folder)
        steps.program("judge", batch, folder)
    verdicts = json.loads((folder / "verdicts.json").read_text())
    reloads = json.loads((folder / "reloads.json").read_text()) if batch.is_reloaded else {}
    return [
        {**entry, "reload": reloads.get(entry["name"], NOT_ASKED), "verdict": verdicts.get(entry["name"])} for entry in entries
    ]


def lay_out(batch: Batch, folder: Path) -> None:
    """What the writer reads, and the user's files, written against the library."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = {
        key: value for key, value in dataclasses.asdict(batch).items() if key not in ("variants", "is_reloaded", "processes")
    }
    (folder / "batch.json").write_text(json.dumps(asked))
    for path in USER.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        (folder / path.name).write_text(
            text.replace("\nimport keras\n", f"\nimport {batch.library} as keras\n"), encoding="utf-8"
        )


def _job(batch: Batch, entries: list[dict[str, Any]]) -> dict[str, Any]:
    models = []
    for entry in entries:
        builder = {"builder": "truth_builders:build", "builder_args": entry["builder"]} if entry["builder"] else {}
        models.append({"checkpoints": entry["path"], "samples": entry["name"], **builder})
    return {
        "models": models,
        "samples": {entry["name"]: {"path": f"rows/{entry['name']}.npz"} for entry in entries},
        "modules": [] if batch.library == "tensorflow" else sorted(path.name for path in USER.glob("*.py")),
        "variants": list(batch.variants),
        "policy": {"require": []},  # what cannot be converted is said beside, the SavedModel's verdict stands
        "evaluation": {"latency": False},
    }


def _python(step: str, batch: Batch, folder: Path) -> None:
    """Runs a step in a process in which `tensorflow.keras` means the library, too."""
    command = [sys.executable, "-m", f"tests.campaigns.truth.{step}", str(folder)]
    environment = {**os.environ, **_QUIET, "TF_USE_LEGACY_KERAS": str(int(batch.library == "tf_keras"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")


def _command(batch: Batch, folder: Path) -> None:
    few = [] if batch.processes is None else ["--processes", str(batch.processes)]
    said = liteferry("run", "--config", folder / "job.json", "--output", folder / "out", *few, timeout_s=3600)
    assert said.returncode in (0, 1), said.stderr[-3000:]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps:
    """How the steps of a batch are run. `program`: `python -m tests.campaigns.truth.STEP FOLDER`. `job`: FOLDER/job.json into
    FOLDER/out.
    """

    program: Callable[[str, Batch, Path], None] = _python
    job: Callable[[Batch, Path], None] = _command


def _noted(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
