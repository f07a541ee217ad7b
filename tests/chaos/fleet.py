"""The fleet that faults happen to: healthy checkpoints of two families, and models that do their worst."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

_WRITER = """
import os, sys
import numpy as np
import keras

folder = sys.argv[1]
sys.path.insert(0, folder)
import chaos_layers

rng = np.random.default_rng(0)
np.savez(os.path.join(folder, "rows.npz"), x=rng.random((40, 6), dtype=np.float32))

def save(name, *layers):
    keras.utils.clear_session()
    model = keras.Sequential([keras.Input((6,), name="x"), *layers, keras.layers.Dense(3, name="y")])
    model.save(os.path.join(folder, f"{name}.keras"))

for number in range(6):
    save(f"narrow_{number}", keras.layers.Dense(8, activation="relu"))
for number in range(2):
    save(f"wide_{number}", keras.layers.Dense(32, activation="tanh"), keras.layers.Dense(8))
for name in chaos_layers.BAD:
    save(f"bad_{name}", getattr(chaos_layers, name)())
with open(os.path.join(folder, "bad_truncated.keras"), "wb") as file:
    file.write(open(os.path.join(folder, "narrow_0.keras"), "rb").read()[:2000])
"""

_LAYERS = '''
"""Layers that are harmless where they are made, and do their worst in a process of LiteFerry's."""
import os
import shutil
import sys
import threading
import time

import keras

# The folder that the run writes to; the fleet's writer does not know it.
OUT = os.environ.get("LITEFERRY_CHAOS_OUT")


class Bad(keras.layers.Layer):
    def call(self, inputs):
        if OUT is not None:
            self.harm()
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def harm(self):
        raise NotImplementedError


def bad(harm):
    made = type(harm.__name__, (Bad,), {"harm": lambda self: harm()})
    return keras.saving.register_keras_serializable("chaos")(made)


@bad
def Aborts():
    os.abort()


@bad
def LoopsForEver():
    while True:
        time.sleep(0.01)


@bad
def TakesMemory():
    held = []
    while True:
        held.append(bytearray(b"x" * 100_000_000))


@bad
def RemovesTheOutput():
    shutil.rmtree(OUT, ignore_errors=True)
    os.chdir("/")
    os.environ.clear()


@bad
def WritesIntoTheOutput():
    for folder in (OUT, os.path.join(OUT, "models"), os.path.join(OUT, "models", "narrow_0")):
        try:
            open(os.path.join(folder, "planted.tmp"), "w").write("planted")
        except OSError:
            pass
    raise RuntimeError("it has tried")


@bad
def KillsItsParents():
    import signal
    try:
        os.kill(os.getppid(), signal.SIGKILL)
    except OSError:
        pass
    raise RuntimeError("it has tried")


@bad
def PrintsMegabytes():
    for _ in range(200):
        print("x" * 100_000)


@bad
def Exits():
    sys.exit(0)


@bad
def Interrupts():
    raise KeyboardInterrupt


@bad
def StartsThreads():
    for _ in range(8):
        threading.Thread(target=time.sleep, args=(10_000,)).start()


made = [value for value in globals().values() if isinstance(value, type) and issubclass(value, Bad)]
BAD = [value.__name__ for value in made if value is not Bad]
'''

_JOB = """
models: [{checkpoints: "*.keras", samples: rows}]
modules: [chaos_layers.py]
samples: {rows: {path: rows.npz}}
variants: [float32, dynamic_int8]
gates: {dynamic_int8: {sqnr_db: 5, argmax_agreement: 0.5}}
limits: {seconds_per_model: 20, memory_gb_per_model: 3}
"""

# What each bad model must come to. None: it does what it likes to itself, and is exported and judged as any other.
VERDICTS = {
    "bad_Aborts": "CRASHED",
    "bad_LoopsForEver": "TIMEOUT",
    "bad_TakesMemory": "OUT_OF_MEMORY",
    "bad_RemovesTheOutput": None,
    "bad_WritesIntoTheOutput": "EXPORT_FAILED",
    "bad_KillsItsParents": "EXPORT_FAILED",
    "bad_PrintsMegabytes": None,
    "bad_Exits": "EXPORT_FAILED",
    "bad_Interrupts": "EXPORT_FAILED",
    "bad_StartsThreads": None,
    "bad_truncated": "LOAD_CORRUPT",
}


@dataclasses.dataclass(frozen=True)
class Fleet:
    """A folder with checkpoints, rows and a job file."""

    folder: Path

    @property
    def job(self) -> Path:
        return self.folder / "job.yaml"

    def model_ids(self) -> set[str]:
        return {path.stem for path in self.folder.glob("*.keras")}

    def healthy(self) -> set[str]:
        return {name for name in self.model_ids() if not name.startswith("bad_")}


def write(folder: Path, *, bad: bool) -> Fleet:
    """Writes the fleet with Keras itself; `bad`: with the models that do their worst."""
    folder.mkdir(parents=True)
    (folder / "chaos_layers.py").write_text(_LAYERS)
    subprocess.run([sys.executable, "-c", _WRITER, str(folder)], check=True, capture_output=True)
    (folder / "job.yaml").write_text(_JOB)
    if not bad:
        for path in folder.glob("bad_*"):
            path.unlink()
    return Fleet(folder)
