"""The kinds of file that a model is saved as, and how its own library reads each again."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

SUFFIXES = {
    "keras": ".keras",
    "h5": ".h5",
    "zip": ".zip",
    "tar": ".tar.gz",
    "weights_h5": ".weights.h5",
    "legacy_weights": "_legacy.h5",
    "checkpoint": "_checkpoint.index",
    "tf_weights": "_tf_weights.index",
    "saved_model": "",
    "plain_saved_model": "",
}
OF_LIBRARY = {
    "keras": ("keras", "h5", "zip", "weights_h5", "legacy_weights", "checkpoint", "saved_model"),
    "tf_keras": (
        *("keras", "h5", "tar", "weights_h5", "legacy_weights", "tf_weights", "checkpoint"),
        *("saved_model", "plain_saved_model"),
    ),
}
WITH_BUILDER = ("weights_h5", "legacy_weights", "checkpoint", "tf_weights")


def save(library: str, model: Any, kind: str, stem: str) -> str:
    """Writes the file and returns its path: `stem` and the suffix of its kind."""
    path = stem + SUFFIXES[kind]
    _SAVERS[kind](library, model, path)
    return path


def load(library: str, kind: str, path: str, model: Any) -> Any:
    """As the library's own documentation says; `model` is the builder's, for files of weights. What can be called comes back."""
    import importlib

    k = importlib.import_module(library)
    if kind in ("weights_h5", "legacy_weights"):
        model.load_weights(path)
        return model
    if kind == "checkpoint":
        import tensorflow as tf

        tf.train.Checkpoint(model=model).restore(path.removesuffix(".index")).expect_partial()
        return model
    if kind == "tf_weights":
        model.load_weights(path.removesuffix(".index")).expect_partial()
        return model
    if kind in ("zip", "tar"):
        inner = path + "_unpacked"
        shutil.unpack_archive(path, inner)
        return k.models.load_model(os.path.join(inner, os.listdir(inner)[0]), compile=False)
    return k.models.load_model(path, compile=False)


def _whole(library: str, model: Any, path: str) -> None:
    model.save(path)


def _zipped(library: str, model: Any, path: str) -> None:
    model.save(path + ".inner.keras")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path + ".inner.keras", "inner.keras")
    os.remove(path + ".inner.keras")


def _tarred(library: str, model: Any, path: str) -> None:
    model.save(path + ".inner.h5")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(path + ".inner.h5", "inner.h5")
    os.remove(path + ".inner.h5")


def _weights(library: str, model: Any, path: str) -> None:
    model.save_weights(path)


def _legacy_weights(library: str, model: Any, path: str) -> None:
    if library == "tf_keras":
        model.save_weights(path)
        return
    import h5py
    from keras.src.legacy.saving import legacy_h5_format  # what Keras 3 itself writes into a whole .h5

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def _checkpoint(library: str, model: Any, path: str) -> None:
    import tensorflow as tf

    tf.train.Checkpoint(model=model).write(path.removesuffix(".index"))


def _tf_weights(library: str, model: Any, path: str) -> None:
    model.save_weights(path.removesuffix(".index"))


def _saved_model(library: str, model: Any, path: str) -> None:
    if library == "keras":
        model.export(path, verbose=False)
    else:
        model.save(path, save_format="tf")


def _plain_saved_model(library: str, model: Any, path: str) -> None:
    """Of a tf.Module of somebody's own, without Keras's metadata."""
    import tensorflow as tf

    module = tf.Module()
    module.model = model  # tracked: so its variables and tables are saved
    inputs = [tf.TensorSpec(one.shape, one.dtype, name=one.name.split(":")[0]) for one in model.inputs]

    @tf.function(input_signature=inputs)
    def serve(*columns: Any) -> dict[str, Any]:
        answers = model(tf.nest.pack_sequence_as(model.input, columns), training=False)
        return {f"answer_{number}": answer for number, answer in enumerate(tf.nest.flatten(answers))}

    tf.saved_model.save(module, path, signatures=serve)


_SAVERS: dict[str, Callable[[str, Any, str], None]] = {
    "keras": _whole,
    "h5": _whole,
    "zip": _zipped,
    "tar": _tarred,
    "weights_h5": _weights,
    "legacy_weights": _legacy_weights,
    "checkpoint": _checkpoint,
    "tf_weights": _tf_weights,
    "saved_model": _saved_model,
    "plain_saved_model": _plain_saved_model,
}
