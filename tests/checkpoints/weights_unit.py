"""What the weights tests run in sandboxes: a case is loaded as export does it, its answers held against the live model's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def load_and_compare(folder: str, reporter: Any) -> None:
    """Hands over {difference, warnings} of a case: the largest relative difference over its outputs.

    Outputs are matched by name; unnamed ones of a reordered builder are not in these cases.
    """
    from liteferry import checkpoints
    from liteferry.checkpoints.model import LoadSpec
    from liteferry.types import TensorSpec

    home = Path(folder)
    case = json.loads((home / "case.json").read_text())
    keys = ("modules", "custom_objects", "trust", "builder", "builder_args", "weights")
    given: Any = {key: tuple(case[key]) if isinstance(case[key], list) else case[key] for key in keys if key in case}
    with np.load(home / "rows.npz", allow_pickle=True) as arrays:
        rows = {name: arrays[name] for name in arrays.files}
    columns = [
        TensorSpec(name=name, shape=(None, *value.shape[1:]), dtype="string" if value.dtype == object else value.dtype.name)
        for name, value in rows.items()
    ]
    path = str(home / case["checkpoint"])
    facts = checkpoints.examine(path)
    model = checkpoints.load(path, facts, LoadSpec(**given), sample_columns=columns)
    reporter.result({"difference": _difference(model, rows, home), "warnings": list(model.warnings)})


def _difference(model: Any, rows: dict[str, Any], home: Path) -> float:
    import tensorflow as tf

    specs = model.input_specs()
    only = next(iter(rows.values()))
    answers = model.call({spec.name: tf.constant(rows.get(spec.name, only), spec.dtype) for spec in specs})
    with np.load(home / "expected.npz") as arrays:
        expected = {name: arrays[name] for name in arrays.files}
    by_position = dict(zip(expected, answers.values(), strict=True)) if len(answers) == len(expected) else {}
    worst = 0.0
    for name, wanted in expected.items():
        found = np.asarray(answers[name] if name in answers else by_position[name], np.float64)
        worst = max(worst, float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-9)))
    return worst


def load_with_code(request: tuple[str, str], reporter: Any) -> None:
    """The same with a folder of the user's code on the path."""
    import sys

    folder, code = request
    sys.path.append(code)
    load_and_compare(folder, reporter)
