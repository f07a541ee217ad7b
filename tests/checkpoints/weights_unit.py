"""What the weights tests run in sandboxes: cases are loaded as export does it, their answers held against the live model's."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def load_all(folders: Sequence[str], reporter: Any) -> None:
    """Loads one case after the other, all of one library, as if each had a process of its own.

    Hands over {folder, code, message, difference, warnings} of each: `code` is a refusal's, None where it was loaded.
    `difference`: the largest relative difference over its outputs.
    """
    library = importlib.import_module(Path(folders[0]).parent.name)
    for folder in folders:
        library.backend.clear_session()  # names are counted anew
        reporter.result({"folder": folder, "code": None, **_outcome(Path(folder))})


def _outcome(home: Path) -> dict[str, Any]:
    from liteferry.errors import ModelError

    code = home.with_name(f"{home.name.rpartition('-')[0]}-code")
    sys.path += [str(code)] if code.is_dir() else []  # a package of the user's is found as an installed one is
    try:
        return _loaded(home)
    except ModelError as error:
        return {"code": error.reason.code.value, "message": error.reason.message}
    except Exception as error:  # noqa: BLE001  # what nobody has classified fails the test of its case
        return {"code": type(error).__name__, "message": f"{error}"}


def _loaded(home: Path) -> dict[str, Any]:
    from liteferry import checkpoints
    from liteferry.loading import loaders
    from liteferry.loading.model import LoadSpec
    from liteferry.types import TensorSpec

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
    model = loaders.load(path, facts, LoadSpec(**given), sample_columns=columns)
    return {"difference": _difference(model, rows, home), "warnings": list(model.warnings)}


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
