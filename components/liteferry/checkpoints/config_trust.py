"""What a serialized architecture would make a loader do besides building layers. Read as data, before any loader sees it.

Loaders resolve what a config names: tf_keras imports any module and takes any symbol out of it, `TFOpLambda` takes any symbol of
TensorFlow's (`io.gfile.rmtree` is one), Lambda layers unmarshal bytecode. Rules are by allowed name: what nobody knows is
refused. Sources: CVE-2024-3660, CVE-2025-1550, CVE-2025-8747, CVE-2025-9905, CVE-2025-9906, CVE-2025-12058; tf_keras's
`serialization_lib`.
"""

from __future__ import annotations

import builtins
import dataclasses
import re
import sys
from collections.abc import Collection, Iterator
from typing import Any

from liteferry.checkpoints.config_scan import TRAINING_KEYS
from liteferry.checkpoints.graph_ops import named_file_operations
from liteferry.errors import ModelError, ReasonCode, Stage

LAMBDA = "lambda"
FILE_OPS = "file_ops"

_ATTACK = ("a function", "a class")
_KERAS_ROOTS = ("keras", "tf_keras")
# The part of a Keras module's path that says what it holds, where a plain function may come from.
_FUNCTION_HOMES = ("activations", "losses", "metrics", "initializers", "regularizers", "constraints", "ops", "layers")
# What TensorFlow's symbols may be used for in TFOpLambda: arithmetic on tensors.
_SYMBOL_HOMES = (
    "math",
    "nn",
    "linalg",
    "image",
    "signal",
    "strings",
    "sparse",
    "ragged",
    "random",
    "bitwise",
    "dtypes",
    "quantization",
    "sets",
    "audio",
    "__operators__",
    "experimental.numpy",
)
_REFUSED_SYMBOLS = ("load", "py_func", "numpy_func", "print", "function", "init", "import", "write", "read", "file", "export")
_TENSOR_CLASSES = ("RaggedTensor", "SparseTensor", "TensorShape")
# Layers that load something else than this checkpoint: another model, or a pickle inside a Torch module.
_FOREIGN_LAYERS = {"TFSMLayer": "loads a SavedModel from a path", "TorchModuleWrapper": "unpickles a Torch module"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """Something a loader must not do unasked. `opened_by` is the job's `trust` value that allows it, None when nothing does."""

    what: str
    opened_by: str | None = None


def findings(config: Any, *, offered: Collection[str] = (), modules: Collection[str] = ()) -> list[Finding]:
    """Everything in a config that is not building layers, each once.

    Args:
      config: parsed JSON.
      offered: names the user's code provides; such a name is the user's, wherever the config says it is from.
      modules: names of modules that the user trusts whole.
    """
    found: dict[Finding, None] = {}
    for node, is_training, name in _nodes(config):
        for finding in _of_node(node, name, offered, modules):
            # Training's settings are never built: a foreign name in them is somebody's loss. Bytecode is never only that.
            if not is_training or finding.opened_by == LAMBDA or finding.what.startswith(_ATTACK):
                found[finding] = None
    return list(found)


def refuse(path: str, found: Collection[Finding], *, trust: Collection[str]) -> None:
    """Raises LOAD_UNSAFE for findings that the job does not trust."""
    closed = [finding for finding in found if finding.opened_by not in trust]
    if not closed:
        return
    shown = "; ".join(finding.what for finding in closed[:5]) + (f"; and {len(closed) - 5} more" if len(closed) > 5 else "")
    openers = sorted({finding.opened_by for finding in closed if finding.opened_by})
    if any(finding.opened_by is None for finding in closed):
        advice = "no setting allows this; ask its author for a clean file"
    else:
        advice = f"if you trust its author, add `trust: [{', '.join(openers)}]` to the job file"
    message = f"{path} asks its loader for more than layers: {shown}. Nothing was run; {advice}"
    raise ModelError(ReasonCode.LOAD_UNSAFE, Stage.LOAD, message)


def _nodes(config: Any) -> Iterator[tuple[dict[str, Any], bool, str]]:
    """Every dict, whether it stands below training's settings, and the name of the layer it belongs to.

    Iterative: a config's depth is the file's to choose.
    """
    pending: list[tuple[Any, bool, str]] = [(config, False, "unnamed")]
    while pending:
        node, is_training, name = pending.pop()
        if isinstance(node, dict):
            name = _name_of(node) or name
            yield node, is_training, name
            pending.extend((value, is_training or key in TRAINING_KEYS, name) for key, value in node.items())
        elif isinstance(node, list):
            pending.extend((value, is_training, name) for value in node)


def _of_node(node: dict[str, Any], name: str, offered: Collection[str], modules: Collection[str]) -> Iterator[Finding]:
    class_name, inner = node.get("class_name"), node.get("config")
    if _is_bytecode(node):
        yield Finding(what=f"Python bytecode in the Lambda layer {name!r}, which would run", opened_by=LAMBDA)
    if not isinstance(class_name, str):
        return
    inner = inner if isinstance(inner, dict) else {}
    plain_class = class_name.split(">")[-1].split(".")[-1]
    if plain_class in _FOREIGN_LAYERS and class_name not in offered:
        yield Finding(what=f"the layer {name!r} ({plain_class}) {_FOREIGN_LAYERS[plain_class]}")
    yield from _tensorflow_symbols(plain_class, inner, name)
    vocabulary = inner.get("vocabulary")
    if isinstance(vocabulary, str) and vocabulary:
        yield Finding(what=f"the layer {name!r} reads the file {vocabulary!r}", opened_by=FILE_OPS)
    yield from _foreign_module(node, offered, modules)


def _name_of(node: dict[str, Any]) -> str | None:
    inner = node.get("config")
    for holder in (inner, node):
        if isinstance(holder, dict) and isinstance(holder.get("name"), str):
            return str(holder["name"])
    return None


def _is_bytecode(node: dict[str, Any]) -> bool:
    """By shape, not by class name: aliases and subclasses of Lambda unmarshal as well, and so do its output shape and mask."""
    if node.get("class_name") == "__lambda__":
        return True
    return any(value == "lambda" and key.endswith("_type") for key, value in node.items()) or (
        "function" in node
        and isinstance(node["function"], list)
        and bool(node["function"])
        and isinstance(node["function"][0], str)
    )


def _tensorflow_symbols(class_name: str, inner: dict[str, Any], name: str) -> Iterator[Finding]:
    if class_name in ("TFOpLambda", "SlicingOpLambda"):
        symbol = str(inner.get("function"))
        if not _is_arithmetic(symbol):
            yield Finding(what=f"the layer {name!r} calls tf.{symbol}", opened_by=FILE_OPS)
    elif class_name == "ClassMethod":
        symbol = str(inner.get("cls_symbol"))
        if symbol.split(".")[-1] not in _TENSOR_CLASSES:
            yield Finding(what=f"the layer {name!r} calls a method of tf.{symbol}", opened_by=FILE_OPS)
    elif class_name in ("TensorFlowOpLayer", "AddLoss", "AddMetric"):
        for operation in named_file_operations(str(inner.get("node_def", ""))):
            yield Finding(what=f"the layer {name!r} runs the operation {operation}", opened_by=FILE_OPS)


def _is_arithmetic(symbol: str) -> bool:
    plain = re.sub(r"^compat\.v[12]\.", "", symbol)
    home, _, last = plain.rpartition(".")
    if any(word in last for word in _REFUSED_SYMBOLS) and not last.startswith(("reduce_", "unsorted_")):
        return False
    return (not home and bool(last) and last[0].islower()) or home in _SYMBOL_HOMES


def _foreign_module(node: dict[str, Any], offered: Collection[str], modules: Collection[str]) -> Iterator[Finding]:
    """What no author of a model writes: Python's own modules, Keras's helpers that are not layers, TensorFlow's insides.

    A class of a module nobody knows is no attack by itself; `config_scan.refuse_untrusted` asks the user for it.
    """
    module, class_name = node.get("module"), str(node["class_name"])
    is_function = class_name == "function"
    name = node.get("config") if is_function else class_name
    if not isinstance(name, str) or not isinstance(module, str):
        return
    # The user's own is what a loader takes for a function by its name, for a class by either name: `config_rewrite` sees to it.
    is_users = name in offered or (not is_function and str(node.get("registered_name")) in offered)
    if is_users or module in modules or module.split(".")[0] in modules:
        return
    what = f"{'a function' if is_function else 'a class'} {name!r} of module {module!r}"
    parts = module.split(".")
    if parts[0] == "builtins":
        if hasattr(builtins, name) or not is_function:
            yield Finding(what=f"{what}, which is Python's own")
    elif parts[0] in sys.stdlib_module_names:
        yield Finding(what=f"{what}, which is Python's own")
    elif parts[0] in _KERAS_ROOTS or parts[:2] == ["tensorflow", "keras"] or parts[:3] == ["tensorflow", "python", "keras"]:
        homes = [part for part in parts if part not in ("keras", "tf_keras", "tensorflow", "python", "src", "api", "_v1", "_v2")]
        if "." in name or (is_function and (not homes or homes[0] not in _FUNCTION_HOMES)):
            yield Finding(what=f"{what}, which is no layer, activation or other part of a model")
    elif parts[0] == "tensorflow":
        yield Finding(what=f"{what}, which is no part of Keras")
