"""The user's trusted code: `modules`, `custom_objects` and `builder` of the job file, imported inside a sandbox only."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage


def import_module(name: str) -> ModuleType:
    """Imports a module by dotted name, or a .py file by path; a file's folder goes on sys.path so that its imports work."""
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        known = _imported(name)
        if known is not None:
            return known  # imported by another module already: a second copy would have classes and tables of its own
        folder, file_name = os.path.split(os.path.abspath(name))
        module_name = file_name.removesuffix(".py")
        if folder not in sys.path:
            sys.path.append(folder)  # last: a user's file never shadows an installed package
        spec = importlib.util.spec_from_file_location(module_name, name)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
        return module
    except Exception as error:
        raise ModelError(
            ReasonCode.LOAD_FAILED, Stage.LOAD, f"modules: {name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _imported(path: str) -> ModuleType | None:
    """The module that was imported from this very file, under the file's own name."""
    module = sys.modules.get(os.path.basename(path).removesuffix(".py"))
    is_it = module is not None and os.path.abspath(getattr(module, "__file__", None) or "") == os.path.abspath(path)
    return module if is_it else None


def resolve(reference: str, *, key: str) -> Any:
    """The object that "module:name" names; `key` is the job file's key, for errors."""
    module_name, _, attribute = reference.partition(":")
    module = sys.modules.get(module_name) or import_module(module_name)
    if not hasattr(module, attribute):
        names = ", ".join(sorted(defined_in(module))) or "nothing"
        raise ModelError(
            ReasonCode.LOAD_FAILED, Stage.LOAD, f"{key}: module {module_name!r} has no {attribute!r} (it defines: {names})"
        )
    return getattr(module, attribute)


def defined_in(module: ModuleType) -> dict[str, Any]:
    """The classes and functions that a module defines itself. Imported ones are not offered: they could belong to the other
    Keras.
    """
    return {
        name: value
        for name, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module.__name__
    }


def defined_below(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Name and object of everything that a module defines and, where it is a package, what its imported submodules define."""
    names = [module.__name__]
    if hasattr(module, "__path__"):
        names += [name for name in list(sys.modules) if name.startswith(f"{module.__name__}.")]
    for name in names:
        part = sys.modules.get(name)
        if isinstance(part, ModuleType):
            yield from defined_in(part).items()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Offered:
    """The objects in the user's code. `problems` says which modules could not be imported, and why.

    A module that cannot be imported fails only the checkpoints that need it: one written for Keras 3 does not import where
    `keras` means Keras 2, and an older file in the same job may not need it.

    Attributes:
      defined: every class and function of the user's modules by its own name; several where modules share a name.
      chosen: the job's `custom_objects`, which take precedence.
      packages: the modules that are packages, whose submodules may be imported later.
    """

    defined: Mapping[str, tuple[Any, ...]]
    chosen: Mapping[str, Any]
    packages: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def objects(self) -> dict[str, Any]:
        """Name -> object, for names with exactly one object."""
        return {**{name: values[0] for name, values in self.defined.items() if len(values) == 1}, **self.chosen}

    def names(self) -> set[str]:
        """Every name for which the user's code has an object."""
        return {*self.defined, *self.chosen}


def gather(modules: Sequence[str], custom_objects: Mapping[str, str]) -> Offered:
    """Imports the user's modules and returns every object they offer.

    All are imported anew, since `keras` may mean the other library by now; each is imported once.
    """
    defined: dict[str, list[Any]] = {}
    chosen: dict[str, Any] = {}
    packages: list[str] = []
    problems: list[str] = []
    for name in modules:
        known = _imported(name) if name.endswith(".py") else None
        if known is not None:
            del sys.modules[known.__name__]
    for name in modules:
        try:
            module = import_module(name)
        except ModelError as error:
            problems.append(error.reason.message)
            continue
        packages += [module.__name__] if hasattr(module, "__path__") else []
        for own_name, value in defined_below(module):
            if not any(value is known for known in defined.setdefault(own_name, [])):
                defined[own_name].append(value)
    for name, reference in custom_objects.items():
        try:
            chosen[name] = resolve(reference, key=f"custom_objects.{name}")
        except ModelError as error:
            problems.append(error.reason.message)
    return Offered(
        defined={name: tuple(values) for name, values in defined.items()},
        chosen=chosen,
        packages=tuple(packages),
        problems=tuple(problems),
    )


def import_submodules(package: str) -> None:
    """Imports every submodule of a package that the user trusts; those that cannot be imported are left out."""
    module = sys.modules[package]
    for found in pkgutil.walk_packages(module.__path__, prefix=f"{package}.", onerror=lambda _: None):
        with contextlib.suppress(Exception):  # a package's tests and optional parts may need packages that are not installed
            importlib.import_module(found.name)


def source_digest(value: Any) -> str | None:
    """sha256 of the file that defines a class or function, or None for built-in code."""
    try:
        path = inspect.getsourcefile(value)
        if path is None:
            return None
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except (TypeError, OSError):
        return None


def route_to_tf_keras(*, plain_keras: bool) -> None:
    """Makes `tensorflow.keras` mean Keras 2 in this process, and with `plain_keras` also `import keras`.

    Code that belongs to a file written before Keras 3 expects Keras 2 behind these names; the tf_keras loader cannot use a class
    built on Keras 3's Layer. TensorFlow has TF_USE_LEGACY_KERAS for this, but reads it only once, at import.
    """
    import tensorflow as tf
    import tf_keras

    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    api = importlib.import_module("tf_keras.api._v2.keras")
    for name in [name for name in sys.modules if name == "tensorflow.keras" or name.startswith("tensorflow.keras.")]:
        del sys.modules[name]
    sys.modules["tensorflow.keras"] = api
    tf.keras = api
    if plain_keras and sys.modules.get("keras") is not tf_keras:
        for name in [name for name in sys.modules if name == "keras" or name.startswith("keras.")]:
            _SET_ASIDE[name] = sys.modules.pop(name)
        sys.modules["keras"] = tf_keras


def route_to_keras_3() -> None:
    """Makes `import keras` mean Keras 3 again, with the original module objects.

    Keras 3 imports its own parts by name while it computes, and a second copy of it would not work.
    """
    import tf_keras

    if sys.modules.get("keras") is tf_keras:
        del sys.modules["keras"]
        sys.modules.update(_SET_ASIDE)


_SET_ASIDE: dict[str, ModuleType] = {}
