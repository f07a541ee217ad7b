"""Rows per second of evaluation: LiteFerry on a SavedModel and two variants, TFMA on the two variants, over the same rows.

    python benchmarks/parity.py mlp|cnn_8x8|cnn_28x28 FOLDER ROWS   prints {"liteferry": rows per second, "tfma": rows per second}

Both sides have imported what they need, have run once before, and are given batches of 1,000. LiteFerry's time is that of an
evaluation as a run has it: a process of its own, rows and the checkpoint's answers read from disk, every statistic of the
report. TFMA's is
one pipeline on the two .tflite files with one metric; it reads the rows as tf.Examples, and runs the files by its own extractor.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from typing import Any

import numpy as np

_VARIANTS = ("float32", "dynamic_int8")
_BATCH = 1000


def main(kind: str, folder: str, rows: int) -> None:
    """Writes a model, its rows and its artifacts; times both sides; prints one line of JSON."""
    shape = _write(kind, folder, rows)
    plan, exported = _export(folder)
    ours, theirs = _liteferry(plan, exported), _tfma(plan, exported, folder, shape)
    ours(), theirs(_examples(folder, shape, 2 * _BATCH, "warm"))
    examples = _examples(folder, shape, rows, "all")
    print(json.dumps({"liteferry": rows / _seconds(ours), "tfma": rows / _seconds(lambda: theirs(examples))}))


def _seconds(call: Any) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def _write(kind: str, folder: str, rows: int) -> tuple[int, ...]:
    import keras

    layers = keras.layers
    shape = {"mlp": (10,), "cnn_8x8": (8, 8, 1), "cnn_28x28": (28, 28, 1)}[kind]
    hidden: list[Any] = [layers.Dense(64, "relu"), layers.Dense(64, "relu")]
    if kind != "mlp":
        convolutions = [layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(32, 3, activation="relu")]
        hidden = [*convolutions, layers.GlobalAveragePooling2D()]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(shape, name="x"), *hidden, layers.Dense(1, name="y")])
    model.save(os.path.join(folder, "model.keras"))
    random = np.random.default_rng(0)
    np.savez(
        os.path.join(folder, "rows.npz"), x=random.random((rows, *shape), dtype=np.float32), label=np.zeros(rows, np.float32)
    )
    with open(os.path.join(folder, "job.yaml"), "w", encoding="utf-8") as file:
        file.write(
            "models: [{checkpoints: model.keras}]\nsamples: {rows: {path: rows.npz, label: label}}\n"
            f"variants: [{', '.join(_VARIANTS)}]\nevaluation: {{batch_size: {_BATCH}}}\n"
        )
    return shape


def _export(folder: str) -> tuple[Any, Any]:
    from liteferry.config.load import load_job
    from liteferry.exporting.export import export_isolated
    from liteferry.plan.fingerprints import fingerprint
    from liteferry.plan.planning import plan_models

    (plan,) = [fingerprint(plan) for plan in plan_models(load_job(os.path.join(folder, "job.yaml")), os.path.join(folder, "out"))]
    exported = export_isolated([plan])[0]
    return plan, exported


def _liteferry(plan: Any, exported: Any) -> Any:
    from liteferry.evaluation.evaluate import evaluate_isolated, shard_tasks

    (task,) = shard_tasks(plan, exported)

    def evaluate() -> None:
        results = evaluate_isolated(task, referenced=True).candidates
        counts = [stats.example_count for result in results.values() for stats in result.stats.values()]
        assert counts == [plan.samples.sample_set.row_count] * 3, results

    return evaluate


def _examples(folder: str, shape: tuple[int, ...], rows: int, name: str) -> str:
    """The first rows as a TFRecord file of tf.Examples."""
    import tensorflow as tf

    path = os.path.join(folder, f"{name}.tfrecord")
    values = np.load(os.path.join(folder, "rows.npz"))["x"][:rows].reshape(-1, int(np.prod(shape)))
    with tf.io.TFRecordWriter(path) as writer:
        for row in values:
            floats = {"x": row, "label": [0.0]}
            feature = {key: tf.train.Feature(float_list=tf.train.FloatList(value=value)) for key, value in floats.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return path


def _tfma(plan: Any, exported: Any, folder: str, shape: tuple[int, ...]) -> Any:
    from apache_beam.options.pipeline_options import PipelineOptions
    from google.protobuf import text_format
    from tensorflow_model_analysis.api import model_eval_lib
    from tensorflow_model_analysis.proto import config_pb2

    specs = "\n".join(f'model_specs {{ name: "{name}" model_type: "tf_lite" label_key: "label" }}' for name in _VARIANTS)
    metrics = 'metrics_specs { metrics { class_name: "MeanSquaredError" } } slicing_specs {}'
    config = text_format.Parse(f"{specs}\n{metrics}", config_pb2.EvalConfig())
    models = []
    for name in _VARIANTS:
        directory = os.path.join(folder, "tfma", name)
        os.makedirs(directory)
        shutil.copy(os.path.join(plan.staging_directory(), exported.variants[name].path), os.path.join(directory, "tflite"))
        models.append(model_eval_lib.default_eval_shared_model(directory, model_name=name, eval_config=config))
    # Beam's own name for its local runner looks for an engine to download first.
    options = PipelineOptions(["--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"])

    def evaluate(path: str) -> None:
        out = os.path.join(folder, "tfma", f"out-{time.monotonic_ns()}")
        with contextlib.redirect_stdout(sys.stderr):
            model_eval_lib.run_model_analysis(models, config, data_location=path, output_path=out, pipeline_options=options)

    return evaluate


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
