"""A finished run of any number of models, made from one real one: `python -m tests.campaigns.scale.fleet FOLDER --models 100000`.

FOLDER gets `job.yaml`, `checkpoints/`, `rows.parquet` and `out/`, as if `liteferry run` of the job into `out` had ended: every
model has its folder with report, marker, statement and artifacts, one in fifty failed. Files that are the same for all models are
hard links, so that a hundred thousand of them fit on a disk. The fleet's files are written by the next `liteferry report OUT` or
`liteferry run`. Started again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

from liteferry.output import model_folder, proofs
from liteferry.storage import layout

IN_A_FOLDER = 1_000
_MOST_LINKS = 30_000  # ext4 takes 65,000 to one file
_FAILED_OF = 50
SEED = "00000-m000000"
_MODEL = """
import sys, keras, numpy as np, pyarrow as pa, pyarrow.parquet as pq
keras.utils.set_random_seed(0)
keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2, name="y")]).save(sys.argv[1])
pq.write_table(pa.table({"x": list(np.random.default_rng(0).normal(size=(64, 4)).astype("float32"))}), sys.argv[2])
"""
_JOB = """
models: [{checkpoints: "checkpoints/**/*.keras"}]
samples: {rows: {path: rows.parquet}}
"""


def name_of(number: int) -> str:
    """The model id of a model: its folder and its file."""
    return f"{number // IN_A_FOLDER:05}-m{number:06}"


def checkpoint_of(folder: pathlib.Path, number: int) -> pathlib.Path:
    return folder / "checkpoints" / f"{number // IN_A_FOLDER:05}" / f"m{number:06}.keras"


def make_seed(folder: pathlib.Path) -> None:
    """One real checkpoint, its samples, and a run of it."""
    if (folder / "out" / "models" / SEED / "BLESSED").exists():
        return
    checkpoint_of(folder, 0).parent.mkdir(parents=True, exist_ok=True)
    (folder / "job.yaml").write_text(_JOB)
    subprocess.run([sys.executable, "-c", _MODEL, checkpoint_of(folder, 0), folder / "rows.parquet"], check=True)
    run: list[str | pathlib.Path] = ["run", "--config", folder / "job.yaml", "--output", folder / "out", "--quiet"]
    subprocess.run([sys.executable, "-m", "liteferry", *run], check=True)


class Copies:
    """Makes models like the first one."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.models = folder / "out" / "models"
        self.report: dict[str, Any] = json.loads((self.models / SEED / layout.REPORT).read_text())
        self.about = {name: (self.models / SEED / name).read_bytes() for name in (layout.PAGE, layout.BILL, layout.CARD)}
        self.counts: dict[str, int] = {}

    def make(self, number: int) -> None:
        """One model with its checkpoint: the marker last, so that one that was cut off is made again."""
        folder = self.models / name_of(number)
        report = json.loads(json.dumps(self.report))
        checkpoint = checkpoint_of(self.folder, number)
        checkpoint.parent.mkdir(exist_ok=True)
        self._link(checkpoint_of(self.folder, 0), checkpoint)
        report["model_id"], report["checkpoint"]["uri"] = name_of(number), str(checkpoint.resolve())
        if number % _FAILED_OF == _FAILED_OF - 1:
            reason = {"code": "LOAD_CORRUPT", "stage": "load", "message": f"m{number:06}.keras cannot be read"}
            report |= {"status": "failed", "reason": reason, "saved_model": None, "variants": {}, "files": {}}
            report |= {"recommended_variant": None, "targets": {}}
        folder.mkdir(parents=True, exist_ok=True)
        data = json.dumps(report, indent=1).encode()
        (folder / layout.REPORT).write_bytes(data)
        self._fill(folder, report, data)
        (folder / model_folder.marker_of(report)).write_bytes(model_folder.vouch_for(data))

    def _fill(self, folder: pathlib.Path, report: dict[str, Any], data: bytes) -> None:
        names = [layout.PAGE, *((layout.BILL, layout.CARD, *report["files"]) if report["files"] else ())]
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            self._link(self.models / SEED / name, folder / name)
        marker = {model_folder.marker_of(report): model_folder.vouch_for(data)}
        line = proofs.statement_of(report, {layout.REPORT: data, **self.about, **marker})
        if line is not None:
            (folder / layout.statement_name(report["model_id"])).write_bytes(line)

    def _link(self, source: pathlib.Path, target: pathlib.Path) -> None:
        """A hard link; of a file with too many links, to a copy of it."""
        count = self.counts.get(str(source), 0)
        self.counts[str(source)] = count + 1
        batch = count // _MOST_LINKS
        copy = self.folder / "seeds" / f"{hashlib.sha256(str(source).encode()).hexdigest()[:16]}-{os.getpid()}-{batch}"
        if not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(source.read_bytes())
        target.unlink(missing_ok=True)
        os.link(copy, target)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="A finished run of any number of models, made from one real one.")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--models", type=int, default=100_000)
    chosen = parser.parse_args(arguments)
    make_seed(chosen.folder)
    copies = Copies(chosen.folder.resolve())
    made = 0
    for number in range(1, chosen.models):
        folder = copies.models / name_of(number)
        if not any((folder / marker).exists() for marker in model_folder.MARKERS):
            copies.make(number)
            made += 1
    print(f"{made} models made, {chosen.models} in {copies.models}")


if __name__ == "__main__":
    main(sys.argv[1:])
