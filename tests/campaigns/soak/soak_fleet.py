"""A thousand small checkpoints of few architectures, one in twenty of them broken, in ten different ways."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BROKEN_EVERY = 20

# What each kind of broken checkpoint must come to.
BROKEN = {
    "empty": "LOAD_CORRUPT",
    "cut_short": "LOAD_CORRUPT",
    "scrambled": "LOAD_CORRUPT",
    "text": "LOAD_CORRUPT",
    "without_config": "LOAD_CORRUPT",
    "without_weights": "LOAD_FAILED",
    "bytecode": "LOAD_UNSAFE",
    "stranger": "LOAD_UNKNOWN_OBJECT",
    "abort": "CRASHED",
    "nan": "PARITY_NONFINITE",
}

_LAYERS = """
import os
import keras


@keras.saving.register_keras_serializable("soak")
class Aborts(keras.layers.Layer):
    def call(self, inputs):
        if "LITEFERRY_CHAOS_OUT" in os.environ:
            os.abort()
        return inputs
"""

_WRITER = """
import io, os, sys, zipfile
import h5py
import numpy as np
import keras

folder, models, every, kinds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(",")
sys.path.insert(0, folder)
import soak_layers

random = np.random.default_rng(0)
np.savez(os.path.join(folder, "rows.npz"), x=random.random((32, 8), dtype=np.float32))

@keras.saving.register_keras_serializable("nobody")
class Stranger(keras.layers.Layer):
    def call(self, inputs):
        return inputs

def build(activation, *extra):
    keras.utils.clear_session()
    first = keras.layers.Dense(16, activation=activation)
    return keras.Sequential([keras.Input((8,), name="x"), first, *extra, keras.layers.Dense(3, name="y")])

def save(model):
    model.set_weights([random.normal(size=value.shape).astype(value.dtype) for value in model.get_weights()])
    model.save(os.path.join(folder, "next.keras"))
    return open(os.path.join(folder, "next.keras"), "rb").read()

def without(content, name):
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(kept, "w") as target:
        for member in source.namelist():
            if member != name:
                target.writestr(member, source.read(member))
    return kept.getvalue()

def with_weights(content, change):
    # As `save` with other weights would write it, in a hundredth of the time.
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(kept, "w") as target:
        for member in source.namelist():
            data = source.read(member)
            if member == "model.weights.h5":
                weights = io.BytesIO(data)
                with h5py.File(weights, "r+") as file:
                    arrays = []
                    file.visititems(lambda _, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
                    for array in arrays:
                        array[...] = change(array[...])
                data = weights.getvalue()
            target.writestr(member, data)
    return kept.getvalue()

def nan():
    return with_weights(whole, lambda value: np.full_like(value, np.nan))

whole = save(build("relu"))
broken = {
    "empty": lambda: b"",
    "cut_short": lambda: whole[: len(whole) // 2],
    "scrambled": lambda: whole[:40] + bytes(byte ^ 90 for byte in whole[40:]),
    "text": lambda: b"this is no checkpoint, it is a note\\n" * 20,
    "without_config": lambda: without(whole, "config.json"),
    "without_weights": lambda: without(whole, "model.weights.h5"),
    "bytecode": lambda: save(build("relu", keras.layers.Lambda(lambda x: x * 2, output_shape=(16,)))),
    "stranger": lambda: save(build("relu", Stranger())),
    "abort": lambda: save(build("relu", soak_layers.Aborts())),
    "nan": nan,
}
activations = ("relu", "tanh", "sigmoid", "elu", "softplus")
current = {activation: save(build(activation)) for activation in activations}
made = dict.fromkeys(kinds)
for number in range(models):
    kind = kinds[number // every % len(kinds)] if number % every == every // 2 else None
    if kind is None:
        of = current[activations[number % len(activations)]]
        content = with_weights(of, lambda value: random.normal(size=value.shape).astype(value.dtype))
    else:
        made[kind] = content = made[kind] or broken[kind]()
    with open(os.path.join(folder, f"model_{number:04d}_{kind or 'whole'}.keras"), "wb") as file:
        file.write(content)
os.remove(os.path.join(folder, "next.keras"))
"""

_JOB = """
models: [{checkpoints: "*.keras", samples: rows}]
modules: [soak_layers.py]
samples: {rows: {path: rows.npz}}
variants: [dynamic_int8]
gates: {dynamic_int8: {sqnr_db: 5, argmax_agreement: 0.5, row_agreement: 0, column_sqnr_db: -99, class_recall: 0}}
evaluation: {latency: false}
"""


def write(folder: Path, models: int) -> dict[str, str | None]:
    """Checkpoints, rows, module and job.yaml. Returns model_id -> the reason code it must come to, None: blessed."""
    folder.mkdir(parents=True)
    (folder / "soak_layers.py").write_text(_LAYERS)
    (folder / "job.yaml").write_text(_JOB)
    command = [sys.executable, "-c", _WRITER, str(folder), str(models), str(BROKEN_EVERY), ",".join(BROKEN)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = [path.stem for path in folder.glob("*.keras")]
    return {name: BROKEN.get(name.split("_", 2)[2]) for name in names}
