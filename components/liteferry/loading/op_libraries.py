"""Registers the operations that a SavedModel needs and TensorFlow does not have, from the packages that the job trusts, in a
process that may import neither Keras nor the user's code.

Importing such a package would import Keras. So only those of its native libraries are loaded that define a missing operation.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Collection, Iterator, Sequence

from liteferry.checkpoints import graph_scan

_MOST_LIBRARY_BYTES = 2**31


def register(directory: str, modules: Sequence[str]) -> None:
    """Loads the libraries that a SavedModel's graph needs.

    Args:
      directory: the SavedModel.
      modules: the job's; packages count, files do not.
    """
    packages = [module for module in modules if not module.endswith(".py")]
    if packages:
        register_named(_missing(directory), packages)


def register_named(missing: Collection[str], packages: Sequence[str]) -> None:
    """Loads the libraries of packages that define operations which are not registered."""
    left = set(missing)
    for package in packages:
        for library in _libraries(package):
            if not left:
                return
            if _defines_one_of(library, left):
                _load(library)
                left = {name for name in left if not is_registered(name)}


def _missing(directory: str) -> set[str]:
    return {name for name in graph_scan.operations(graph_scan.read(directory)) if not is_registered(name)}


def is_registered(name: str) -> bool:
    """Whether this process knows an operation."""
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(name) is not None


def _libraries(package: str) -> Iterator[str]:
    """The native libraries of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package.partition(".")[0])
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for above, folders, names in os.walk(folder):
            folders.sort()
            yield from (os.path.join(above, name) for name in sorted(names) if name.endswith((".so", ".dylib")))


def _defines_one_of(library: str, names: Collection[str]) -> bool:
    if os.path.getsize(library) > _MOST_LIBRARY_BYTES:
        return False
    with open(library, "rb") as file:
        content = file.read()
    return any(name.encode() in content for name in names)


def _load(library: str) -> None:
    import tensorflow as tf

    tf.load_op_library(library)
