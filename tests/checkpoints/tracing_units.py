"""What test_tracing runs in a sandbox: models whose Python branches and loops on tensors, traced and called eagerly."""

from __future__ import annotations

from typing import Any

import numpy as np


def trace_python_control_flow(library_name: str, reporter: Any) -> None:
    """Answers to rows of +1 and of -1: [called eagerly, traced] by model and sign."""
    import importlib

    import tensorflow as tf

    from liteferry.loading import tracing
    from liteferry.loading.keras_model import wrap
    from liteferry.types import TensorSpec

    library = importlib.import_module(library_name)

    class Branches(library.Model):  # type: ignore[name-defined]
        def call(self, inputs: Any) -> Any:
            total = tf.reduce_sum(inputs)
            if total > 0:
                result = inputs * 2
            else:
                result = inputs - 1
            for _ in tf.range(3):
                result = result + 1
            return result

    class Plain(library.Model):  # type: ignore[name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    found: dict[str, Any] = {}
    for kind in (Branches, Plain):
        loaded = wrap(kind(), sample_columns=(TensorSpec(name="x", shape=(None, 4), dtype="float32"),))
        traced = tracing.trace(loaded)
        (name,) = traced.signature.input_names()
        for sign in (1.0, -1.0):
            rows = {name: np.full((2, 4), sign, np.float32)}
            eager, graph = tracing.run_eagerly(loaded, traced, rows), traced.run(rows)
            found[f"{kind.__name__} {sign:+.0f}"] = [float(value.ravel()[0]) for value in (*eager.values(), *graph.values())]
    reporter.result(found)
