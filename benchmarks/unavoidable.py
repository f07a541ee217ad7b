"""The bare sum of what cannot be avoided on a fleet of siblings, as CPU seconds: the C++ conversion of each frozen graph, once,
and the reference and the variants invoked on every row.

    python benchmarks/unavoidable.py FOLDER OUT     prints {"conversion": seconds, "reference": seconds, ...}

FOLDER holds the fleet, OUT what LiteFerry published of it. The SavedModel's rows, which the sum leaves out, are told as well.
Freezing, loading, quantising, saving, starting up and comparing are left out: all that is time that someone could save.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

_BATCH = 64


def main(folder: str, published: str) -> None:
    """Sums over every .keras file of the fleet; the graph is traced once, each model's weights are put into it."""
    import keras
    import tensorflow as tf

    from liteferry.checkpoints import examine
    from liteferry.loading import tracing
    from liteferry.loading.loaders import load
    from liteferry.loading.model import LoadSpec
    from liteferry.tflite.frozen_graph import FrozenGraph
    from liteferry.tflite.runners import LiteRTRunner, SavedModels

    tf.config.threading.set_intra_op_parallelism_threads(1)  # as in LiteFerry's processes: threads that wait for work spend time
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rows = np.load(os.path.join(folder, "rows.npz"))["image"]
    sums = {"conversion": 0.0, "reference": 0.0, "variants": 0.0, "saved_model": 0.0}
    saved_models = SavedModels()
    assert keras.backend.backend() == "tensorflow"
    model = traced = frozen = None
    for path in sorted(glob.glob(os.path.join(folder, "*.keras"))):
        if model is None or frozen is None:
            model = load(path, examine(path), LoadSpec(), sample_columns=())
            traced = tracing.trace(model)
            frozen = FrozenGraph(traced)
        else:
            model.keep.load_weights(path)
            frozen.refresh()
        assert traced is not None and frozen is not None
        (name,) = traced.signature.input_names()
        batches = [{name: rows[start : start + _BATCH]} for start in range(0, len(rows), _BATCH)]
        with _timed_conversion() as spent:
            frozen.convert()
        sums["conversion"] += spent[0]
        sums["reference"] += _seconds(traced, batches)
        model_id = os.path.basename(path).removesuffix(".keras")
        model_folder = os.path.join(published, "models", model_id)
        for file in sorted(glob.glob(os.path.join(model_folder, "tflite", "*.tflite"))):
            sums["variants"] += _seconds(LiteRTRunner(file), batches)
        (served,) = glob.glob(os.path.join(model_folder, "saved_model", "*"))
        sums["saved_model"] += _seconds(saved_models.runner(served), batches)
    print(json.dumps(sums))


def _seconds(runner: Any, batches: Sequence[Mapping[str, np.ndarray]]) -> float:
    started = time.process_time()
    for batch in batches:
        runner.run(batch)
    return time.process_time() - started


@contextlib.contextmanager
def _timed_conversion() -> Iterator[list[float]]:
    """Holds the CPU seconds spent within the converter's C++ entry point."""
    from tensorflow.lite.python import convert

    inner, spent = convert.wrap_converter.wrapped_convert, [0.0]

    def timed(*arguments: Any) -> Any:
        started = time.process_time()
        try:
            return inner(*arguments)
        finally:
            spent[0] += time.process_time() - started

    convert.wrap_converter.wrapped_convert = timed
    try:
        yield spent
    finally:
        convert.wrap_converter.wrapped_convert = inner


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
