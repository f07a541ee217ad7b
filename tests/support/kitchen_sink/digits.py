"""The demo's checkpoints under other names, with other rows: names of a run's own files, rows that prove nothing, shards, slices,
a task metric.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tests.support import Run
from tests.support.kitchen_sink.part import Part

NAMES_OF_A_RUN = ("lock", "progress", "models")

# Rows that prove nothing, by the name of the model that gets them.
ROWS: dict[str, dict[str, Any]] = {
    "another_shape": {"picture": np.zeros((4, 8, 8, 3), np.float32)},
    "no_column": {"label": np.zeros(4, np.int64), "other": np.zeros((4, 2), np.float32)},
    "zero_rows": {"image": np.zeros((0, 8, 8, 1), np.float32)},
}


def _job(folder: Path, demo: Run) -> dict[str, Any]:
    fleet = demo.out / "fleet"

    def copy(checkpoint: str, name: str) -> str:
        return str(shutil.copy(fleet / "checkpoints" / f"{checkpoint}.keras", folder / f"{name}.keras"))

    image: dict[str, Any] = {"inputs": {"image": "image"}}
    sliced: dict[str, Any] = {**image, "id": "id", "slices": [["label"], ["id"]]}  # more ids than slices are kept
    samples: dict[str, Any] = {
        "digits": {"path": str(fleet / "digits.parquet"), **image},
        "measured": {"path": str(fleet / "digits.parquet"), **image, "id": "id", "slices": [["label"]], "label": "label"},
        "parts": {"path": str(folder / "part-*.parquet"), **sliced},
        "two_files": {"path": str(folder / "two_files-*.parquet")},
    }
    _cut(fleet / "digits.parquet", folder)
    models: list[dict[str, Any]] = [{"checkpoints": copy("mlp", name), "samples": "digits"} for name in NAMES_OF_A_RUN]
    for name, columns in ROWS.items():
        np.savez(folder / f"{name}.npz", **columns)
        samples[name] = {"path": str(folder / f"{name}.npz")}
        models.append({"checkpoints": copy("mlp", name), "samples": name})
    metric = {"class_name": "SparseCategoricalAccuracy", "max_drop": 0.5}
    models += [
        {"checkpoints": copy("cnn_augmented", "in_three_parts"), "samples": "parts"},
        {"checkpoints": copy("mlp", "in_two_files"), "samples": "two_files"},
        {"checkpoints": copy("cnn", "measured"), "samples": "measured", "metrics": [metric]},
    ]
    return {"models": models, "samples": samples}


def _cut(whole: Path, folder: Path) -> None:
    """Three shards of whole batches, so that no row gets other neighbours; two files that hold less than half of the rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(whole)
    for number, (start, count) in enumerate([(0, 128), (128, 128), (256, 104)]):
        pq.write_table(table.slice(start, count), folder / f"part-{number}.parquet")
    for number, (start, count) in enumerate([(0, 100), (100, 60)]):
        pq.write_table(pa.Table.from_batches(table.slice(start, count).to_batches()), folder / f"two_files-{number}.parquet")


PART = Part(name="digits", writer="", job=_job)
