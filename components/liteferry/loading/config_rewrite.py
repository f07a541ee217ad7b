"""Changes an architecture before it is built: removes training's settings, replaces CuDNN layers by portable ones, and random
layers by identities.

The original file is never changed: the changed config goes into a copy in the scratch directory, and the loader gets the copy.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from liteferry.checkpoints.architecture_facts import STRIPPABLE
from liteferry.checkpoints.config_scan import serialized_objects, without_training
from liteferry.checkpoints.detection import CheckpointFacts, Kind
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import cudnn_weights

IDENTITY = "LiteFerryIdentity"
_WEIGHTS_FILE = "model.weights.h5"

# CuDNN's kernels have fixed activations and only run on a GPU; these layers compute the same with the same weights.
_PORTABLE: Mapping[str, tuple[str, dict[str, Any]]] = {
    "CuDNNLSTM": ("LSTM", {"activation": "tanh", "recurrent_activation": "sigmoid"}),
    "CuDNNGRU": ("GRU", {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True}),
}
_KEPT_OF_STRIPPED = ("name", "trainable", "dtype", "batch_input_shape", "batch_shape")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rewritten:
    """A config to build for inference. `stripped` lists "name (ClassName)" of what was removed; `is_changed` says whether a
    loader would see a difference.
    """

    config: dict[str, Any]
    stripped: tuple[str, ...]
    is_changed: bool


def for_inference(
    config: dict[str, Any],
    *,
    strip: Collection[str],
    offered: Collection[str] = (),
    is_registered: Callable[[str], bool] = lambda _: False,
) -> Rewritten:
    """The architecture as it is built for inference.

    Args:
      config: parsed JSON.
      strip: classes to leave out.
      offered: names that the user's code provides; a class of that name becomes the user's, see `_pin`.
      is_registered: whether a loader knows a registered name by itself.

    Raises:
      ModelError: LOAD_UNSUPPORTED for a Keras layer under `strip` that does more than add randomness.
    """
    compared = without_training(config)  # as in the scanned copy
    changed = copy.deepcopy(compared)
    stripped = []
    for node in serialized_objects(changed):
        name = str(node["class_name"]).split(">")[-1]
        _pin(node, offered, is_registered)
        if not isinstance(node.get("config"), dict):
            continue
        if name in _PORTABLE:
            _make_portable(node)
        elif name == "GRU":
            node["config"].setdefault("reset_after", False)  # the only behaviour before Keras 2.1.3; tf_keras's default is True
        elif name in strip:
            _refuse_more_than_noise(node, name)
            stripped.append(f"{node['config'].get('name', 'unnamed')} ({name})")
            _make_identity(node)
        elif name == "RandomShear":
            _undo_sign(node["config"])
    return Rewritten(config=changed, stripped=tuple(stripped), is_changed=changed != compared)


def _pin(node: dict[str, Any], offered: Collection[str], is_registered: Callable[[str], bool]) -> None:
    """Makes sure that the loader takes the user's class if the user offers one of that name. tf_keras looks up the registered
    name only; if it is not registered, tf_keras imports whatever module the file names and takes the class, or even the
    registered name, from there.
    """
    class_name, module, registered = node["class_name"], node.get("module"), node.get("registered_name")
    if class_name == "function" or class_name not in offered or not isinstance(module, str):
        return
    if module.split(".")[0] in ("keras", "tf_keras"):
        return
    if isinstance(registered, str) and (registered in offered or is_registered(registered)):
        return
    node.update(module=None, registered_name=class_name)


def _make_portable(node: dict[str, Any]) -> None:
    class_name, settings = _PORTABLE[str(node["class_name"]).split(">")[-1]]
    node["class_name"] = class_name
    node["config"].update(settings)
    if "module" in node:
        node.update(module="keras.layers", registered_name=None)


def _undo_sign(inner: dict[str, Any]) -> None:
    """Keras 3 writes a shear of 0.5 as [-0.5, 0.5] and refuses to read that. At inference the layer does nothing."""
    for key in ("x_factor", "y_factor"):
        factor = inner.get(key)
        if isinstance(factor, list) and len(factor) == 2 and -factor[0] == factor[1]:
            inner[key] = factor[1]


def _refuse_more_than_noise(node: dict[str, Any], name: str) -> None:
    module = node.get("module")
    is_keras_own = str(module).split(".")[0] in ("keras", "tf_keras")
    if is_keras_own and name not in STRIPPABLE:
        raise ModelError(
            ReasonCode.LOAD_UNSUPPORTED,
            Stage.LOAD,
            f"strip: {name} is not a layer that only adds randomness and keeps the shape, so removing it would change what the "
            "model computes; take it out of `strip`",
        )


def _make_identity(node: dict[str, Any]) -> None:
    node["config"] = {key: node["config"][key] for key in _KEPT_OF_STRIPPED if key in node["config"]}
    node["class_name"] = IDENTITY
    for key in ("build_config", "shared_object_id"):
        node.pop(key, None)
    if "module" in node:
        node.update(module=None, registered_name=IDENTITY)


def identity_layer(library: Any) -> type:
    """A layer of that Keras that returns its first argument, whatever other arguments it is called with."""

    class LiteFerryIdentity(library.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any, *_: Any, **__: Any) -> Any:
            return inputs

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

    return LiteFerryIdentity


def write_copy(path: str, facts: CheckpointFacts, config: dict[str, Any]) -> str:
    """Copies the checkpoint into a temporary folder, in the sandbox's scratch, with another config. Returns its path."""
    target = os.path.join(tempfile.mkdtemp(), os.path.basename(path))
    if facts.kind is Kind.KERAS:
        target = target if target.endswith(".keras") else f"{target}.keras"
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as archive:
            for entry in source.infolist():
                if entry.filename == "config.json":
                    archive.writestr(entry.filename, json.dumps(config))
                elif entry.filename == _WEIGHTS_FILE and cudnn_weights.count_layers(facts.config):
                    archive.write(_portable_weights(path, facts, source, os.path.dirname(target)), _WEIGHTS_FILE)
                elif not entry.is_dir():
                    with source.open(entry) as member, archive.open(entry.filename, "w", force_zip64=True) as copied:
                        shutil.copyfileobj(member, copied, 2**20)
        return target
    import h5py

    target = target if target.endswith(".h5") else f"{target}.h5"
    shutil.copyfile(path, target)
    with h5py.File(target, "r+") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
    return target


def _portable_weights(path: str, facts: CheckpointFacts, source: zipfile.ZipFile, folder: str) -> str:
    """The weights of an archive, unpacked, in the layout of the portable layers; LOAD_UNSUPPORTED where they are missing."""
    import h5py

    unpacked = os.path.join(folder, _WEIGHTS_FILE)
    with source.open(_WEIGHTS_FILE) as member, open(unpacked, "wb") as copied:
        shutil.copyfileobj(member, copied, 2**20)
    with h5py.File(unpacked, "r+") as file:
        converted = cudnn_weights.make_archive_portable(file, facts.config)
    expected = cudnn_weights.count_layers(facts.config)
    if converted != expected:
        raise ModelError(
            ReasonCode.LOAD_UNSUPPORTED,
            Stage.LOAD,
            f"{path} has {expected} CuDNN layers, and weights in their layout for {converted}; save it with LSTM and GRU layers",
        )
    return unpacked


def refuse_lost_weights(path: str, facts: CheckpointFacts, model: Any, stripped: Collection[str]) -> None:
    """Raises unless every array of the checkpoint still has a variable in the model: a stripped layer must have had none.

    Raises:
      ModelError: LOAD_UNSUPPORTED with the shapes that would be lost.
    """
    kept = [tuple(weight.shape) for weight in model.weights]
    lost = []
    for name, shape in _stored_shapes(path, facts):
        if shape in kept:
            kept.remove(shape)
        else:
            lost.append(f"{name} {list(shape)}")
    if lost:
        raise ModelError(
            ReasonCode.LOAD_UNSUPPORTED,
            Stage.LOAD,
            f"{path}: strip would remove {', '.join(stripped)}, and with it the weights {'; '.join(lost[:5])}; a layer with "
            "weights computes something, take it out of `strip`",
        )


def _stored_shapes(path: str, facts: CheckpointFacts) -> Iterator[tuple[str, tuple[int, ...]]]:
    import h5py

    found: list[tuple[str, tuple[int, ...]]] = []

    def visit(name: str, item: Any) -> None:
        is_training = name.startswith("optimizer") or "seed_generator" in name or "/_optimizer" in name
        if isinstance(item, h5py.Dataset) and not is_training:
            found.append((name, tuple(item.shape)))

    if facts.kind is Kind.KERAS:
        with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as stream, h5py.File(stream, "r") as file:
            file.visititems(visit)
    else:
        with h5py.File(path, "r") as file:
            file["model_weights"].visititems(visit)
    return iter(found)
