"""The fleets that faults happen to: healthy checkpoints of two families, and models that do their worst."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

_WRITER = """
import os, sys
import numpy as np
import keras

healthy, worst = sys.argv[1:]
sys.path.insert(0, worst)
import chaos_layers

def rows(folder):
    np.savez(os.path.join(folder, "rows.npz"), x=np.random.default_rng(0).random((40, 6), dtype=np.float32))

def model(*layers):
    keras.utils.clear_session()
    keras.utils.set_random_seed(len(layers))
    return keras.Sequential([keras.Input((6,), name="x"), *layers, keras.layers.Dense(3, name="y")])

def save(folder, name, *layers):
    made = model(*layers)
    made.set_weights([value + 0.01 * len(name) for value in made.get_weights()])
    made.save(os.path.join(folder, f"{name}.keras"))

for folder, narrow, wide in ((healthy, 4, 2), (worst, 2, 0)):
    rows(folder)
    for number in range(narrow):
        save(folder, f"narrow_{number}", keras.layers.Dense(8, activation="relu"))
    for number in range(wide):
        save(folder, f"wide_{number}", keras.layers.Dense(32, activation="tanh"), keras.layers.Dense(8))
    with open(os.path.join(folder, "cut_short.keras"), "wb") as file:
        file.write(open(os.path.join(folder, "narrow_0.keras"), "rb").read()[:2000])
for name in chaos_layers.BAD:
    save(worst, f"bad_{name}", getattr(chaos_layers, name)())
for how in chaos_layers.BUILDERS:
    model(keras.layers.Dense(8)).save_weights(os.path.join(worst, f"builder_{how}.weights.h5"))
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
def AbortsInCall():
    os.abort()


@bad
def AbortsInConvert():
    from tensorflow.lite.python import convert

    convert.wrap_converter.wrapped_convert = lambda *_, **__: os.abort()


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
def AllocatesTenGigabytes():
    import numpy

    numpy.ones(10 * 2**30, dtype=numpy.uint8)


@bad
def RemovesTheOutput():
    shutil.rmtree(OUT, ignore_errors=True)


@bad
def ChangesDirectoryAndEnvironment():
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


class AbortsInLoad(Bad):
    def __init__(self, **keywords):
        super().__init__(**keywords)
        if OUT is not None:
            os.abort()

    def harm(self):
        pass


AbortsInLoad = keras.saving.register_keras_serializable("chaos")(AbortsInLoad)


def _exit_at_once():
    os._exit(0)


def _raise_system_exit():
    raise SystemExit("enough")


def _interrupt():
    raise KeyboardInterrupt


def _start_threads():
    for _ in range(8):
        threading.Thread(target=time.sleep, args=(10_000,)).start()


def _start_processes():
    import subprocess
    for new_session in (False, True):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(10_000)"], start_new_session=new_session)


BUILDERS = {
    "calls_sys_exit": lambda: sys.exit(0),
    "calls_os_exit": _exit_at_once,
    "raises_SystemExit": _raise_system_exit,
    "raises_KeyboardInterrupt": _interrupt,
    "starts_threads": _start_threads,
    "starts_processes": _start_processes,
}


def build(how):
    BUILDERS[how]()
    layers = [keras.Input((6,), name="x"), keras.layers.Dense(8), keras.layers.Dense(3, name="y")]
    return keras.Sequential(layers)


made = [value for value in globals().values() if isinstance(value, type) and issubclass(value, Bad)]
BAD = [value.__name__ for value in made if value is not Bad]
'''

_JOB = """
models:
{entries}
modules: [chaos_layers.py]
samples: {{rows: {{path: rows.npz}}}}
variants: [float32, dynamic_int8]
gates: {{dynamic_int8: {{sqnr_db: 5, argmax_agreement: 0.5, row_agreement: 0, column_sqnr_db: -99, class_recall: 0}}}}
evaluation: {{latency: false}}
limits: {{seconds_per_model: {seconds}, memory_gb_per_model: 3}}
"""

# What each bad model must come to. BLESSED: it does what it likes to itself, and is exported and judged as any other.
BLESSED = None
_EXPORT_ENDED = ("EXPORT_FAILED", "LOAD_FAILED")  # a Sequential is called once when it is loaded
_WORST_VERDICTS: dict[str, tuple[str | None, ...]] = {
    "bad_AbortsInLoad": ("CRASHED",),
    "bad_AbortsInCall": ("CRASHED",),
    "bad_AbortsInConvert": ("CRASHED",),
    "bad_LoopsForEver": ("TIMEOUT",),
    "bad_TakesMemory": ("OUT_OF_MEMORY",),
    "bad_AllocatesTenGigabytes": ("OUT_OF_MEMORY",),
    "bad_RemovesTheOutput": (BLESSED, "STORAGE_FAILED"),  # what it can reach is its own work folder
    "bad_ChangesDirectoryAndEnvironment": (BLESSED,),
    "bad_WritesIntoTheOutput": _EXPORT_ENDED,
    "bad_KillsItsParents": (*_EXPORT_ENDED, "KILLED"),  # where the kernel cannot keep it from that
    "bad_PrintsMegabytes": (BLESSED,),
    "bad_Exits": _EXPORT_ENDED,
    "bad_Interrupts": _EXPORT_ENDED,
    "bad_StartsThreads": (BLESSED,),
    "builder_calls_sys_exit": ("LOAD_FAILED",),
    "builder_calls_os_exit": ("CRASHED",),
    "builder_raises_SystemExit": ("LOAD_FAILED",),
    "builder_raises_KeyboardInterrupt": ("LOAD_FAILED",),
    "builder_starts_threads": (BLESSED,),
    "builder_starts_processes": (BLESSED,),
}


@dataclasses.dataclass(frozen=True)
class Fleet:
    """A folder with checkpoints, rows and a job file. `verdicts`: the reason codes that each model may come to; None: blessed."""

    folder: Path
    verdicts: dict[str, tuple[str | None, ...]]

    @property
    def job(self) -> Path:
        return self.folder / "job.yaml"

    def model_ids(self) -> set[str]:
        return set(self.verdicts)


def write(folder: Path) -> tuple[Fleet, Fleet]:
    """Writes two fleets with Keras itself: healthy models beside one that is cut short, and models that do their worst."""
    healthy, worst = folder / "healthy", folder / "worst"
    for place in (healthy, worst):
        place.mkdir(parents=True)
        (place / "chaos_layers.py").write_text(_LAYERS)
    done = subprocess.run([sys.executable, "-c", _WRITER, str(healthy), str(worst)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(_with_job(place, seconds) for place, seconds in ((healthy, 120), (worst, 45)))  # type: ignore[return-value]


def _with_job(place: Path, seconds: int) -> Fleet:
    entries = ['  - {checkpoints: "*.keras", samples: rows}']
    names = [path.stem for path in place.glob("*.keras")]
    for path in sorted(place.glob("*.weights.h5")):
        name = path.name.removesuffix(".weights.h5")
        how = name.removeprefix("builder_")
        entries.append(
            f'  - {{checkpoints: "{path.name}", samples: rows, builder: "chaos_layers:build", builder_args: {{how: {how}}}}}'
        )
        names.append(name)
    (place / "job.yaml").write_text(_JOB.format(entries="\n".join(entries), seconds=seconds))
    verdicts = {name: _WORST_VERDICTS.get(name, (BLESSED,)) for name in names}
    return Fleet(place, verdicts | {"cut_short": ("LOAD_CORRUPT",)})
