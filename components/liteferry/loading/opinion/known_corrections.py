"""Known mistakes of the libraries' own loaders in whole models, corrected for the second opinion by independent code.

Each correction is a line of the table in docs/checkpoints.md, and a sentence in the report.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from typing import Any

from liteferry.checkpoints.detection import BY_PATH, CheckpointFacts, Kind
from liteferry.loading.opinion import weights
from liteferry.loading.opinion.calls import NoOpinionError

_TRAINING = ("compile_config", "training_config")
_CUDNN: dict[str, tuple[str, dict[str, Any]]] = {
    "CuDNNLSTM": ("LSTM", {"activation": "tanh", "recurrent_activation": "sigmoid"}),
    "CuDNNGRU": ("GRU", {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True}),
}


def corrected_copy(path: str, facts: CheckpointFacts, library: Any) -> tuple[str, tuple[str, ...]]:
    """The checkpoint itself, or a copy whose config is corrected, and the corrections.

    Training settings of nested models are removed as well, without a note, since `compile=False` excludes them anyway.

    Raises:
      NoOpinionError: CuDNN layers in a `.keras` archive.
    """
    config = copy.deepcopy(facts.config)
    said = []
    for node in _nodes(config):
        for key in _TRAINING:
            node.pop(key, None)
        name, inner = str(node.get("class_name")).split(">")[-1], node.get("config")
        if not isinstance(inner, dict):
            continue
        if name in _CUDNN:
            if facts.kind is Kind.KERAS:
                raise NoOpinionError(
                    f"{name} in a .keras archive: its kernel needs a GPU, and no library reads its weights into {_CUDNN[name][0]}"
                )
            node["class_name"] = _CUDNN[name][0]
            inner.update(_CUDNN[name][1])
            said.append(f"{name} as {_CUDNN[name][0]}, into which the library reads its weights: CuDNN's kernels need a GPU")
        elif name == "GRU" and library.__name__ == "tf_keras" and "reset_after" not in inner:
            inner["reset_after"] = False
            said.append("GRU without reset_after: Keras before 2.1.3 knew no other, tf_keras takes the default of today")
        elif name == "RandomShear":
            said += _with_a_positive_shear(inner)
    outer = {key: value for key, value in (facts.config or {}).items() if key not in _TRAINING}
    if config == outer and path.endswith((".keras", ".h5", ".hdf5")):
        return path, ()
    return _written(path, facts, config), tuple(dict.fromkeys(said))


def _nodes(config: Any) -> Iterator[dict[str, Any]]:
    pending = [config]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield node
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _with_a_positive_shear(inner: dict[str, Any]) -> list[str]:
    said = []
    for key in ("x_factor", "y_factor"):
        if isinstance(inner.get(key), list) and inner[key][0] < 0:
            inner[key] = inner[key][1]
            said = ["RandomShear with the sign that Keras 3 writes and does not read"]
    return said


def _written(path: str, facts: CheckpointFacts, config: Any) -> str:
    folder = tempfile.mkdtemp()
    if facts.kind is Kind.KERAS:
        target = os.path.join(folder, "model.keras")
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as archive:
            for entry in source.infolist():
                if entry.filename == "config.json":
                    archive.writestr("config.json", json.dumps(config))
                elif not entry.is_dir():
                    with source.open(entry) as member, archive.open(entry.filename, "w", force_zip64=True) as copied:
                        shutil.copyfileobj(member, copied, 2**20)
        return target
    import h5py

    target = os.path.join(folder, "model.h5")
    shutil.copyfile(path, target)
    with h5py.File(target, "r+") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
    return target


def built_by_all_arguments(model: Any, path: str, build: Callable[[], None]) -> tuple[str, ...]:
    """A file of Keras 3 records shapes of the first argument of `call` only: layers fed by other arguments are not built when it
    is loaded, and get random weights at their first call.
    """
    before = len(model.weights) if model.built else 0
    build()
    if not model.built or len(model.weights) == before or not path.endswith(".keras"):
        return ()
    model.load_weights(path)
    return ("layers that the file does not build were built by a call, and the weights loaded again",)


def after_loading(model: Any, library: Any, facts: CheckpointFacts, *, strip: Collection[str]) -> tuple[str, ...]:
    """Corrects a whole model after it was loaded. Returns the corrections."""
    said: tuple[str, ...] = ()
    if facts.kind is Kind.H5_MODEL and facts.path is not None:
        said = weights.by_name_where_it_differs(facts.path, model, library, facts)
    if facts.kind is Kind.H5_MODEL or library.__name__ == "tf_keras" or facts.weights_layout == BY_PATH:
        said += weights.finalised(model, library, facts)
    left_out = [layer for layer in model._flatten_layers() if type(layer).__name__ in strip and layer is not model]
    for layer in left_out:
        layer.call = _identity
    if left_out:
        said += (f"{', '.join(layer.name for layer in left_out)} hand their input on, as `strip` asks",)
    return said


def _identity(inputs: Any, *_: Any, **__: Any) -> Any:
    return inputs
