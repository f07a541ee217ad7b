"""What `test_reading.py` and `test_bombs.py` run in sandbox processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.sandbox import Reporter


def read_each(paths: list[str], reporter: Reporter) -> None:
    """Hands over {path: "read", or the error's class}, each path tried in every way that a checkpoint's code might."""
    done = {}
    for path in paths:
        done[path] = {name: _outcome(way, path) for name, way in _WAYS.items() if not os.path.isdir(path) or name == "list"}
    reporter.result(done)


def _outcome(way: Any, path: str) -> str:
    try:
        way(path)
    except Exception as error:  # noqa: BLE001  # TensorFlow's are its own
        return type(error).__name__
    return "read"


def _through_itself(path: str) -> None:
    Path(f"/proc/self/root{os.path.abspath(path)}").read_bytes()


def _through_a_link(path: str) -> None:
    link = Path(f"link{time.monotonic_ns()}")
    link.symlink_to(path)
    link.read_bytes()


def _by_tensorflow(path: str) -> None:
    import tensorflow as tf

    tf.io.read_file(path).numpy()


def _by_another_program(path: str) -> None:
    subprocess.run([sys.executable, "-S", "-c", f"open({path!r}, 'rb').read()"], check=True, capture_output=True)


_WAYS = {
    "open": lambda path: Path(path).read_bytes(),
    "list": os.listdir,
    "a link": _through_a_link,
    "/proc/self/root": _through_itself,
    "TensorFlow": _by_tensorflow,
    "another program": _by_another_program,
}


def need(path: str, reporter: Reporter) -> None:
    """As a user's code that opens a file of its own."""
    try:
        reporter.result(Path(path).read_text())
    except OSError as error:
        raise ModelError(ReasonCode.LOAD_FAILED, Stage.LOAD, f"the builder failed: {type(error).__name__}") from error


def need_by_tensorflow(path: str, reporter: Reporter) -> None:
    _by_tensorflow(path)


def import_all(names: list[str], reporter: Reporter) -> None:
    import importlib

    for name in names:
        importlib.import_module(name)
    reporter.result("imported")


def use_the_machine(_: Any, reporter: Reporter) -> None:
    """What libraries ask of the system while they work."""
    import locale
    import mimetypes
    import multiprocessing
    import ssl
    import tempfile
    import zoneinfo

    import tensorflow as tf

    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    locale.setlocale(locale.LC_ALL, "")
    mimetypes.init()
    reporter.result(
        {
            "processors": multiprocessing.cpu_count() > 0,
            "zone": str(zoneinfo.ZoneInfo("Europe/Berlin")) == "Europe/Berlin",
            "ssl": ssl.create_default_context() is not None,
            "sum": float(tf.reduce_sum(tf.ones([256, 256]) @ tf.ones([256, 256]))) == 256.0**3,
            "own status": "VmHWM" in Path("/proc/self/status").read_text(),
            "peak starts again": _restarts_its_peak(),
        }
    )


def _restarts_its_peak() -> bool:
    from liteferry.sandbox import memory

    ballast = bytearray(200 * 2**20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    before = memory.peak_bytes()
    del ballast
    memory.restart_peak()
    after = memory.peak_bytes()
    return before is not None and after is not None and after < before - 100 * 2**20


# Bombs


def write_one_file(folder: str, _: Reporter) -> None:
    with open(os.path.join(folder, "bomb"), "wb") as file:
        while True:
            file.write(b"x" * 2**20)
            file.flush()


def write_many_large_files(folder: str, _: Reporter) -> None:
    for number in range(10**9):
        Path(folder, f"bomb{number}").write_bytes(b"x" * 2**22)
        time.sleep(0.01)


def write_without_a_name(folder: str, _: Reporter) -> None:
    held = []
    for number in range(10**9):
        path = Path(folder, f"bomb{number}")
        held.append(path.open("wb"))  # held open on purpose
        path.unlink()
        held[-1].write(b"x" * 2**22)
        held[-1].flush()
        time.sleep(0.01)


def write_a_million_files(folder: str, _: Reporter) -> None:
    for number in range(10**6):
        Path(folder, str(number // 1000)).mkdir(exist_ok=True)
        Path(folder, str(number // 1000), str(number)).touch()
    time.sleep(60)


def fill_the_log(megabytes: int, reporter: Reporter) -> None:
    line = b"x" * (2**20 - 1) + b"\n"
    for _ in range(megabytes):
        os.write(1, line)
        time.sleep(0.005)
    reporter.result(os.fstat(1).st_size)


def swap_the_log(victim: str, _: Reporter) -> None:
    """A link to somebody's file where the log was: who reads or cuts the log by its name would read or cut that file."""
    os.remove(".log")
    os.symlink(victim, ".log")
    for _count in range(60):
        os.write(1, b"x" * (2**20 - 1) + b"\n")
        time.sleep(0.02)
    os.abort()


def plant_a_request(victim: str, reporter: Reporter) -> None:
    """A link where the request of a second try would be written, and the end that asks for one."""
    for name in (".request", ".log"):
        with contextlib.suppress(OSError):
            os.remove(name)
        os.symlink(victim, name)
    os.kill(os.getpid(), 9)


def say_a_megabyte(kind: str, _: Reporter) -> None:
    words = "w" * 2**20
    if kind == "ModelError":
        raise ModelError(ReasonCode.LOAD_FAILED, Stage.LOAD, words)
    raise type(words[:5000], (Exception,), {})(words)


def talk_without_end(_: Any, reporter: Reporter) -> None:
    while True:
        reporter.result("w" * 2**20)


def always_have_another_subject(_: Any, reporter: Reporter) -> None:
    for number in range(10**9):
        reporter.stage(Stage.CONVERT, subject=str(number))
        time.sleep(0.1)


def leave(what: tuple[str, str], reporter: Reporter) -> None:
    folder, kind = what
    Path(folder, "inner").mkdir()
    if kind == "link":
        Path(folder, "inner", "left").symlink_to("/etc/passwd")
    elif kind == "pipe":
        os.mkfifo(Path(folder, "inner", "left"))
    with contextlib.suppress(OSError):
        Path(folder, "kept").write_text("kept")
    reporter.result("done")


# A canary in a graph


def save_canary(what: tuple[str, str, str], _: Reporter) -> None:
    """A SavedModel that writes a marker into a folder, or answers with the secret that is there."""
    import tensorflow as tf

    folder, canary, does = what

    class Canary(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def serve(self, x: Any) -> Any:
            if does == "write":
                with tf.control_dependencies([tf.raw_ops.WriteFile(filename=f"{canary}/marker", contents="ran")]):
                    return {"y": tf.identity(x)}
            return {"y": x + tf.cast(tf.strings.length(tf.io.read_file(f"{canary}/secret")), tf.float32)}

    module = Canary()
    tf.saved_model.save(module, folder, signatures=module.serve)


# Checkpoints that reach for files

LAYERS = """
import keras
from pathlib import Path

class Reads(keras.layers.Layer):
    def __init__(self, path, touches=(), **keywords):
        super().__init__(**keywords)
        self.reads, self.touches = path, touches

    def get_config(self):
        return {**super().get_config(), "path": self.reads, "touches": self.touches}

    def call(self, inputs):
        for folder in self.touches:
            try:
                Path(folder, "touched").write_text("touched")
            except OSError:
                pass
        return inputs + float(len(Path(self.reads).read_text()))
"""


def save_readers(what: tuple[str, str, list[str]], _: Reporter) -> None:
    """layer.keras, other.keras, whose code is the user's, and bytecode.keras, whose code is its own: all of them read a file."""
    import keras

    from liteferry.loading import user_code

    folder, secret, touches = what
    Path(folder, "layers.py").write_text(LAYERS)
    reads = user_code.import_module(os.path.join(folder, "layers.py")).Reads
    own = eval(f"lambda x: x + float(len(open({secret!r}).read()))")  # what a stranger's file would hold
    for name, layer in (
        ("layer", reads(secret, touches)),
        ("other", reads(secret, touches)),
        ("bytecode", keras.layers.Lambda(own, output_shape=(3,))),
    ):
        keras.Sequential([keras.Input((3,)), layer, keras.layers.Dense(2)]).save(os.path.join(folder, f"{name}.keras"))


def import_from(given: tuple[str, str], _: Reporter) -> None:
    """A builder that puts a folder on the search path."""
    import importlib

    folder, name = given
    sys.path.append(folder)
    importlib.import_module(name)
