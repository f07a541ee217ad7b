"""What the installed libraries offer by name, for `test_names`. In a sandbox: it imports all of them."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

_ROOTS = ("keras", "tf_keras")
_RESOLVERS = ("activations", "initializers", "regularizers", "constraints")
_SKIPPED = (
    "_test",
    "test_",
    ".testing",
    "benchmark",
    "integration",
    ".tests",
    "_torch",
    ".torch",
    ".jax",
    ".openvino",
    ".numpy.",
)


def tell(request: None, reporter: Any) -> None:
    """In a sandbox: hands over {group: names} of what there is, and {"bindings": what names of ours are bound to besides}."""
    import keras
    import tensorflow  # noqa: F401  # its operations are registered by importing it
    import tf_keras

    import_all(keras)
    import_all(tf_keras)
    reporter.result({"group": "operations", "names": sorted(_operations())})
    reporter.result({"group": "operations with state", "names": sorted(name for name, state in _operations().items() if state)})
    for group, names in (_public(keras, tf_keras) | _tables()).items():
        reporter.result({"group": group, "names": sorted(names)})
    reporter.result({"group": "symbols", "names": _symbols()})
    reporter.result({"group": "bindings", "names": _bindings()})
    reporter.result({"group": "resolved keys", "names": sorted(_resolved_keys())})


def import_all(package: ModuleType) -> list[str]:
    """The names of all modules below a package that can be imported here, which they are then."""
    imported = []
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda _: None):
        if not any(part in found.name for part in _SKIPPED):
            try:
                importlib.import_module(found.name)
            except Exception:  # noqa: BLE001  # parts of backends that are not installed
                continue
            imported.append(found.name)
    return imported


def _operations() -> dict[str, bool]:
    """Every registered operation, and whether it has state."""
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    every = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return {operation.name: operation.is_stateful for operation in every.op}


def _classes(module: Any) -> set[str]:
    return {name for name in dir(module) if inspect.isclass(getattr(module, name)) and not name.startswith("_")}


def _functions(module: Any) -> set[str]:
    return {name for name in dir(module) if inspect.isfunction(getattr(module, name)) and not name.startswith("_")}


def _public(keras: Any, tf_keras: Any) -> dict[str, set[str]]:
    found = {"layers of Keras 3": _classes(keras.layers) | _classes(keras.models)}
    for kind in ("initializers", "regularizers", "constraints", "losses"):
        found[kind] = _classes(getattr(keras, kind)) | _classes(getattr(tf_keras, kind))
    found["dtype policies"] = _classes(keras.dtype_policies)
    found["quantizers"] = _classes(keras.quantizers)
    found["activations"] = _functions(keras.activations) | _functions(tf_keras.activations)
    found["functions of tensors"] = _functions(keras.ops)
    return found


def _tables() -> dict[str, set[str]]:
    from keras.src.ops.operation import Operation
    from tf_keras.src.layers import serialization

    serialization.populate_deserializable_objects()
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("keras.src.ops.")]
    operations = {
        name
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Operation) and value.__module__.startswith("keras.src.ops.")
    }
    return {"layers of tf_keras": set(serialization.LOCAL.ALL_OBJECTS), "operations of Keras 3": operations}


def _symbols() -> list[str]:
    import tensorflow as tf

    found: set[str] = set()
    pending: list[tuple[Any, str]] = [(tf, "")]
    while pending:
        module, home = pending.pop()
        for name in dir(module):
            value = getattr(module, name, None)
            if inspect.ismodule(value):
                inside = f"{home}{name}"
                if ("_api.v2" in value.__name__ or name == "numpy") and home.count(".") < 2 and name not in ("compat", "keras"):
                    pending.append((value, f"{inside}."))
            elif callable(value) and name[0].islower() and not inspect.isclass(value) and "raw_ops" not in home:
                found.add(f"{home}{name}")
    return sorted(found)


def _bindings() -> list[str]:
    """Where a module of Keras's binds a name on the lists to something that is not of its kind."""
    from liteferry.checkpoints import config_names

    classes = config_names.ANYTHING - config_names.DATA
    found = set()
    for module_name, module in list(sys.modules.items()):
        parts = module_name.split(".")
        is_keras = parts[0] in _ROOTS or parts[:3] == ["tensorflow", "python", "keras"]
        if not is_keras or any(part in module_name for part in _SKIPPED) or module is None:
            continue
        for name, value in list(vars(module).items()):
            if name in classes and not _is_inert(value) and not (inspect.isfunction(value) and _computes(value)):
                found.add(f"{module_name}.{name}")
            elif name in config_names.FUNCTIONS and _is_called_home(parts) and inspect.isfunction(value) and not _computes(value):
                found.add(f"{module_name}.{name}: {value.__module__}")
    return sorted(found)


def _is_called_home(parts: list[str]) -> bool:
    homes = [part for part in parts if part not in ("keras", "tf_keras", "tensorflow", "python", "src", "api", "_v1", "_v2")]
    return bool(homes) and homes[0] in ("activations", "losses", "metrics", "ops")


def _is_inert(value: Any) -> bool:
    if inspect.ismodule(value):
        return True  # it has no from_config
    if not inspect.isclass(value):
        return False
    roots = {"Operation", "Layer", "Initializer", "Regularizer", "Constraint", "Loss", "DTypePolicy", "Policy", "Quantizer"}
    roots |= {"QuantizationConfig", "FeatureColumn", "Feature", "Cross", "Reduction", "KerasSaveable", "Module"}
    return bool(roots & {base.__name__ for base in value.__mro__}) or not hasattr(value, "from_config")


def _computes(value: Any) -> bool:
    homes = [".ops.", ".activations", ".losses", ".backend", ".metrics", ".nn", ".math", ".numpy", ".linalg", ".random", ".image"]
    homes += [".initializers", ".regularizers", ".constraints"]  # functions that make one, under the name of its class
    return any(home in f"{value.__module__}." for home in homes)


def _resolved_keys() -> set[str]:
    """Arguments of layers that they resolve by name: `activations.get(activation)`."""
    found = set()
    for root in _ROOTS:
        folder = Path(str(importlib.import_module(f"{root}.src.layers").__file__)).parent
        for path in folder.rglob("*.py"):
            if path.name.endswith("_test.py"):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Name):
                    owner, _, called = ast.unparse(node.func).rpartition(".")
                    if called == "get" and owner.rpartition(".")[2] in _RESOLVERS:
                        found.add(f"{owner.rpartition('.')[2]} {node.args[0].id}")
    return found
