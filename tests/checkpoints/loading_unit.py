"""What the loading tests run in sandboxes: one checkpoint through the real pieces, then its SavedModel in plain TensorFlow."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def read_rows(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an .npz; bytes become objects, which is what TensorFlow makes strings of."""
    with np.load(path) as arrays:
        return {name: arrays[name].astype(object) if arrays[name].dtype.kind == "S" else arrays[name] for name in arrays.files}


def load_case(folder: Path) -> Any:
    """checkpoints.load, as export does it."""
    from liteferry import checkpoints
    from liteferry.loading import loaders
    from liteferry.loading.model import LoadSpec
    from liteferry.types import TensorSpec

    case = json.loads((folder / "case.json").read_text())
    names = ("modules", "custom_objects", "trust", "builder", "builder_args", "strip")
    given: Any = {name: tuple(case[name]) if isinstance(case[name], list) else case[name] for name in names if name in case}
    spec = LoadSpec(**given)
    rows = read_rows(folder / "rows.npz")
    columns = [
        TensorSpec(name=name, shape=(None, *value.shape[1:]), dtype="string" if value.dtype == object else value.dtype.name)
        for name, value in rows.items()
    ]
    path = str(folder / case["checkpoint"])
    facts = checkpoints.examine(path)
    return facts, loaders.load(path, facts, spec, sample_columns=columns)


def export_case(folder: str, reporter: Any) -> None:
    """Loads, traces and saves one fixture into folder/out; reports what the loader said of it."""
    from liteferry.exporting import saved_model
    from liteferry.loading import tracing

    facts, model = load_case(Path(folder))
    traced = tracing.trace(model)
    rows = read_rows(Path(folder) / "rows.npz")
    inputs = {traced.renamed.get(name, name): value for name, value in rows.items()}
    first, second = traced.run(inputs), traced.run(inputs)
    beside = saved_model.ServedBeside(functions=model.more_signatures)
    saved_model.write(traced, f"{folder}/out", keep=model.keep, metadata={"case": folder}, beside=beside)
    reporter.result(
        {
            "kind": facts.kind.value,
            "oracle": model.oracle,
            "warnings": list(model.warnings),
            "renamed": dict(traced.renamed),
            "stripped": list(model.stripped),
            "input_ranges": {name: [expected.low, expected.high] for name, expected in model.input_ranges.items()},
            "training_layers": [layer["class_name"] for layer in model.training_layers],
            "deterministic": not tracing.differing_outputs(first, second),
        }
    )


def run_clean(folder: str, reporter: Any) -> None:
    """Runs folder/out on the case's rows in a process that cannot import Keras; hands over the largest relative difference
    by output.
    """
    import tensorflow as tf

    assert sys.modules["keras"] is None and sys.modules["tf_keras"] is None
    loaded = tf.saved_model.load(f"{folder}/out")
    function = loaded.signatures["serving_default"]
    renamed = json.loads((Path(folder) / "exported.json").read_text())["renamed"]
    rows = {renamed.get(name, name): value for name, value in read_rows(Path(folder) / "rows.npz").items()}
    outputs = function(**{name: tf.constant(value) for name, value in rows.items()})
    answers = {name: value.numpy() for name, value in outputs.items()}
    with np.load(Path(folder) / "expected.npz") as expected:
        assert set(answers) == set(expected.files), f"outputs {sorted(answers)}, expected {sorted(expected.files)}"
        difference = {}
        for name in expected.files:
            wanted = expected[name].astype(np.float64)
            assert answers[name].shape == wanted.shape, f"{name}: {answers[name].shape}, expected {wanted.shape}"
            assert np.abs(wanted).max() > 0, f"{name}: an answer of zeros proves nothing"
            difference[name] = float(np.abs(answers[name] - wanted).max() / np.abs(wanted).max())
    reporter.result({"difference": difference, "signatures": sorted(loaded.signatures)})


def load_hostile(argument: tuple[str, dict[str, Any]], reporter: Any) -> None:
    """What export does with a checkpoint until it has answered a row; `argument` is a folder and fields of LoadSpec."""
    from liteferry import checkpoints
    from liteferry.loading import loaders, tracing
    from liteferry.loading.model import LoadSpec
    from liteferry.types import TensorSpec

    folder, spec = argument
    path = str(Path(folder) / json.loads((Path(folder) / "case.json").read_text())["checkpoint"])
    columns = [TensorSpec(name="x", shape=(None, 3), dtype="float32")]
    facts = checkpoints.examine(path)
    model = loaders.load(path, facts, LoadSpec(**spec), sample_columns=columns)
    reporter.result(list(tracing.trace(model).run({"x": np.ones([2, 3], np.float32)})))


def load_unasked(folder: str, reporter: Any) -> None:
    """What happens without LiteFerry: the library's own loader gets the file."""
    import tensorflow as tf
    import tf_keras

    path = Path(folder) / json.loads((Path(folder) / "case.json").read_text())["checkpoint"]
    if path.is_dir():
        tf.saved_model.load(str(path))
    else:
        tf_keras.models.load_model(path, compile=False)
