"""What `test_twins.py` has units do."""

from __future__ import annotations

import importlib
import os
import stat
from typing import Any

from liteferry.sandbox import Reporter

_NAMES = ("keras", "tf_keras", "keras.layers", "tensorflow.keras")


def import_keras_in_every_way(_: Any, reporter: Reporter) -> None:
    import tensorflow as tf

    found = {}
    for name in _NAMES:
        try:
            importlib.import_module(name)
            found[name] = "imported"
        except ImportError as error:
            found[name] = str(error)
    try:
        found["tf.keras"] = "imported" if tf.keras.layers.Dense else ""
    except ImportError as error:
        found["tf.keras"] = str(error)
    reporter.result(found)


def open_pipes(_: Any, reporter: Reporter) -> None:
    """How many pipes this process has open."""
    reporter.result(
        sum(stat.S_ISFIFO(os.fstat(int(number)).st_mode) for number in os.listdir("/proc/self/fd") if _is_open(number))
    )


def _is_open(number: str) -> bool:
    try:
        os.fstat(int(number))
    except OSError:
        return False
    return True
