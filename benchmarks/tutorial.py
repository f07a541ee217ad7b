"""What people write today: Keras's ExportArchive, the converter once per variant, batched evaluation; one process.

Fair: TensorFlow's threads are left as they are, evaluation is batched, and nothing is done twice.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

_STARTED = time.monotonic()
_BATCH = 64
_VARIANTS = ("float32", "float16", "dynamic_int8", "int8")


def main(folder: str, out: str, first: int, step: int) -> None:
    """.keras files of a folder, every `step`-th from number `first` -> SavedModel, four .tflite files, and their largest
    differences from the Keras model. Prints wall and CPU seconds of starting up and of each model.
    """
    import keras
    import tensorflow as tf

    rows = np.load(os.path.join(folder, "rows.npz"))["image"]
    spent = [(time.monotonic(), time.process_time())]
    for path in sorted(glob.glob(os.path.join(folder, "*.keras")))[first::step]:
        model = keras.models.load_model(path)
        target = os.path.join(out, os.path.basename(path))
        archive = keras.export.ExportArchive()
        archive.track(model)
        spec = [tf.TensorSpec(model.inputs[0].shape, tf.float32)]
        archive.add_endpoint("serve", _inference(model), input_signature=spec)
        archive.write_out(os.path.join(target, "saved_model"), verbose=False)
        expected = model.predict(rows, batch_size=_BATCH, verbose=0)
        served = tf.saved_model.load(os.path.join(target, "saved_model"))
        answers = np.concatenate([served.serve(rows[i : i + _BATCH]).numpy() for i in range(0, len(rows), _BATCH)])
        worst = {"saved_model": float(np.abs(answers - expected).max())}
        for variant in _VARIANTS:
            content = _convert(os.path.join(target, "saved_model"), variant, rows)
            with open(os.path.join(target, f"{variant}.tflite"), "wb") as file:
                file.write(content)
            worst[variant] = float(np.abs(_evaluate(content, rows) - expected).max())
        print(os.path.basename(path), worst, flush=True)
        spent.append((time.monotonic(), time.process_time()))
    models = [(after[0] - before[0], after[1] - before[1]) for before, after in itertools.pairwise(spent)]
    print(json.dumps({"start_s": (spent[0][0] - _STARTED, spent[0][1]), "models_s": models}))


def _inference(model: Any) -> Any:
    return lambda x: model(x, training=False)


def _convert(saved_model: str, variant: str, rows: np.ndarray) -> bytes:
    import tensorflow as tf

    def calibration() -> Iterator[list[Any]]:
        for row in rows[:128]:
            yield [row[None]]

    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model)
    if variant != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if variant == "int8":
        converter.representative_dataset = calibration
    return bytes(converter.convert())


def _evaluate(content: bytes, rows: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], (_BATCH, *rows.shape[1:]))
    interpreter.allocate_tensors()
    index, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    answers = []
    for start in range(0, len(rows), _BATCH):
        interpreter.set_tensor(index, rows[start : start + _BATCH])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(result))
    return np.concatenate(answers)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
