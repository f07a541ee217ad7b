"""python -m tests.campaigns.truth.judge FOLDER: runs what the run blessed, without Keras, and writes FOLDER/verdicts.json:
for each case the report's words, and what is wrong with each blessed file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaigns.truth.compare import Table, faults, table_of

TOLERANCES = {"saved_model": 1e-4, "float32": 1e-3, "float16": 3e-2}


def of_saved_model(path: str, columns: Table) -> Table:
    """Answers of `serving_default`, in groups where its batch is fixed."""
    import tensorflow as tf

    serve = tf.saved_model.load(path).signatures["serving_default"]
    specs = serve.structured_input_signature[1]
    feed = {}
    for name, spec in specs.items():
        text = spec.dtype == tf.string
        feed[name] = _shaped(
            _column(columns, name),
            spec.shape.as_list() if spec.shape.rank is not None else None,
            None if text else spec.dtype.as_numpy_dtype,
        )
    batch = next((spec.shape[0] for spec in specs.values() if spec.shape.rank and spec.shape[0]), None)

    def ask(part: Table) -> Table:
        return {
            name: value.numpy() for name, value in serve(**{name: tf.constant(value) for name, value in part.items()}).items()
        }

    return _in_groups(ask, feed, batch)


def of_tflite(path: str, columns: Table) -> Table:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=path).get_signature_runner("serving_default")
    details = runner.get_input_details()
    shapes = {name: list(one.get("shape_signature", one["shape"])) for name, one in details.items()}
    feed = {name: _shaped(_column(columns, name), shapes[name], one["dtype"]) for name, one in details.items()}
    batch = next((int(shape[0]) for shape in shapes.values() if shape and shape[0] > 0), None)
    return _in_groups(lambda part: dict(runner(**part)), feed, batch)


def _column(columns: Table, name: str) -> np.ndarray:
    if len(columns) == 1:
        return next(iter(columns.values()))
    return {"".join(letter if letter.isalnum() else "_" for letter in key): value for key, value in columns.items()}[name]


def _shaped(values: np.ndarray, shape: list[int | None] | None, dtype: Any) -> np.ndarray:
    values = (
        np.array([str(value).encode() for value in values.ravel()], object).reshape(values.shape)
        if dtype is None
        else values.astype(dtype)
    )
    return values[:, None] if values.ndim == 1 and shape is not None and len(shape) == 2 else values


def _in_groups(ask: Any, feed: Table, batch: int | None) -> Table:
    """Where the batch is fixed, the last group is filled up with zeros, whose answers are cut off."""
    if not batch:
        return dict(ask(feed))
    count = len(next(iter(feed.values())))
    missing = -count % batch
    filled = {name: np.concatenate([value, np.zeros((missing, *value.shape[1:]), value.dtype)]) for name, value in feed.items()}
    parts = [ask({name: value[at : at + batch] for name, value in filled.items()}) for at in range(0, count, batch)]
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def verdict(entry: dict[str, Any], report: dict[str, Any], home: Path, folder: Path) -> dict[str, Any]:
    columns, expected = (table_of(folder / kind / f"{entry['name']}.npz") for kind in ("rows", "expected"))
    saved_model = report.get("saved_model") or {}
    blessed = {name for name, facts in report["variants"].items() if facts["status"] == "blessed"}
    todo = [("saved_model", saved_model["path"])] if saved_model.get("status") == "blessed" else []
    todo += [(name, report["variants"][name]["path"]) for name in sorted(blessed) if name in TOLERANCES]
    wrong = {}
    for name, path in todo:
        try:
            found = (of_saved_model if name == "saved_model" else of_tflite)(str(home / path), columns)
            wrong[name] = faults(expected, found, TOLERANCES[name])
        except Exception as error:  # noqa: BLE001 - a file that was blessed and does not run is a finding
            wrong[name] = f"cannot be run: {type(error).__name__}: {str(error)[:200]}"
    reasons = [report["reason"], saved_model.get("reason"), *[facts["reason"] for facts in report["variants"].values()]]
    return {
        "status": report["status"],
        "is_blessed": (home / "BLESSED").exists(),
        "codes": sorted({reason["code"] for reason in reasons if reason}),
        "message": (report["reason"] or {}).get("message", "")[:600],
        "blessed": sorted(blessed),
        "second_opinion": saved_model.get("second_opinion"),
        "wrong": {name: found for name, found in wrong.items() if found},
    }


def main(folder: Path) -> None:
    entries = {str(Path(entry["path"])): entry for entry in json.loads((folder / "cases.json").read_text()) if "path" in entry}
    verdicts = {}
    for path in sorted(folder.glob("out/models/*/report.json")):
        report = json.loads(path.read_text())
        entry = entries[report["checkpoint"]["uri"]]
        verdicts[entry["name"]] = verdict(entry, report, path.parent, folder)
    (folder / "verdicts.json").write_text(json.dumps(verdicts, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
