"""Canaries behind every name: what a loader resolves is looked at before it is called, and what it touches is written down.

Nothing confines the process. Whatever a library's own resolver hands out must be a part of a model; whatever opens a file,
starts a process, imports a module of somebody else's choice or unmarshals code meanwhile has fired.
"""

from __future__ import annotations

import collections
import contextlib
import importlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator
from types import CodeType
from typing import Any

# Audit events that no harmless architecture raises while it is built. `open`, `exec` and `compile` count by what they are about.
_EVENT_NAMES = """
    os.system os.exec os.posix_spawn os.fork os.forkpty os.kill os.remove os.rename os.mkdir os.rmdir os.link os.symlink os.chmod
    os.truncate os.putenv os.chdir subprocess.Popen socket.connect socket.bind socket.getaddrinfo marshal.loads pickle.find_class
    shutil.rmtree shutil.copyfile shutil.move shutil.unpack_archive ctypes.dlopen urllib.Request tempfile.mkstemp tempfile.mkdtemp
    glob.glob code.__new__ sqlite3.connect ftplib.connect
"""
_EVENTS = frozenset(_EVENT_NAMES.split())
_RESOLVERS = {
    "keras.src.saving.serialization_lib": ("_retrieve_class_or_fn",),
    "tf_keras.src.saving.serialization_lib": ("_retrieve_class_or_fn",),
    "keras.src.legacy.saving.serialization": ("class_and_config_for_serialized_keras_object",),
    "tf_keras.src.saving.legacy.serialization": ("class_and_config_for_serialized_keras_object",),
    "tf_keras.src.layers.core.tf_op_layer": ("get_symbol_from_name",),
    **{
        f"{library}.src.{home}": ("get",)
        for library in ("keras", "tf_keras")
        for home in ("activations", "initializers", "regularizers", "constraints")
    },
}
_HOMES = (
    ".ops",
    ".activations",
    ".losses",
    ".regularizers",
    ".backend",
    ".metrics",
    ".nn",
    ".math",
    ".numpy",
    ".linalg",
    ".random",
    ".image",
    ".tensor_conversion",
)
_ROOTS = """
    Operation Layer Initializer Regularizer Constraint Loss DTypePolicy Policy Quantizer QuantizationConfig FeatureColumn Feature
    Cross TypeSpec Module Reduction
"""
_PARTS = frozenset(_ROOTS.split())
# Layers whose own code opens or runs what their config names.
_FOREIGN = ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
# What the libraries import when they build something; of `builtins`, no name on a list is one.
_IMPORTED = ("keras", "tf_keras", "tensorflow", "builtins", "scipy")
_DATA = (str, bytes, int, float, dict, list, tuple)
_OWN = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib"))


class Canaries:
    """Watches this process while it deserialises. `fired` tells what went off, `resolved` how many names were looked at."""

    def __init__(self) -> None:
        self.fired: list[str] = []
        self.resolved = 0
        self._is_watching = False
        sys.addaudithook(self._audit)
        for module, functions in _RESOLVERS.items():
            for function in functions:
                self._stand_behind(importlib.import_module(module), function)
        self._watch_imports()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        self._is_watching = True
        try:
            yield
        finally:
            self._is_watching = False

    def forget(self) -> None:
        """Begins anew, for another config."""
        self.fired, self.resolved = [], 0

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_watching:
            return
        counts = event in _EVENTS or (event in ("open", "exec", "compile") and not _is_own(event, arguments))
        if counts and not _is_importing():
            self.fired.append(f"{event} {arguments!r}"[:300])

    def _stand_behind(self, module: Any, function: str) -> None:
        """Looks at everything that a library's own resolver returns."""
        original = getattr(module, function)

        def watched(*args: Any, **kwargs: Any) -> Any:
            found = original(*args, **kwargs)
            if self._is_watching:
                self.resolved += 1
                resolved = found[0] if isinstance(found, tuple) else found
                # A function that was handed over is the library's own, of its own code: a file holds names alone.
                is_handed_over = bool(args) and callable(args[0]) and resolved is args[0]
                if resolved is not None and not is_handed_over and not is_harmless(resolved):
                    self.fired.append(f"{module.__name__}.{function}{args[:1]!r} is {resolved!r}"[:300])
                    raise TypeError("a canary")
            return found

        setattr(module, function, watched)

    def _watch_imports(self) -> None:
        original = importlib.import_module

        def watched(name: str, package: str | None = None) -> Any:
            if self._is_watching and name.split(".")[0] not in _IMPORTED:
                self.fired.append(f"import of {name}")
                raise ImportError("a canary")
            return original(name, package)

        importlib.import_module = watched


def _is_importing() -> bool:
    """Whether a module of the libraries is being imported, which reads, unmarshals and runs its own code. Others fire before."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _is_naming_a_tuple() -> bool:
    """Whether `collections.namedtuple` is at work, which compiles a line made of field names that it has checked."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code is collections.namedtuple.__code__:
            return True
        frame = frame.f_back
    return False


def _is_own(event: str, arguments: tuple[Any, ...]) -> bool:
    """Python reads and runs its own modules when one is imported for the first time."""
    if event == "compile":
        return arguments[1] is None or _is_code(arguments[1]) or _is_naming_a_tuple()
    if event == "exec":
        return isinstance(arguments[0], CodeType) and (_is_code(arguments[0].co_filename) or _is_naming_a_tuple())
    return isinstance(arguments[0], int) or _is_code(arguments[0])


def _is_code(path: Any) -> bool:
    text = path.decode(errors="replace") if isinstance(path, bytes) else str(path)
    return text.startswith("<frozen ") or (text.startswith(_OWN) and text.endswith((".py", ".pyc", ".so")))


def is_harmless(resolved: Any) -> bool:
    """Whether an object is a part of a model: a class of layers or their settings, one of those made, a function of tensors, or
    data, which nobody calls.
    """
    if isinstance(resolved, _DATA):
        return True
    if inspect.isclass(resolved) or not (inspect.isroutine(resolved) or hasattr(resolved, "__wrapped__")):
        bases = (resolved if inspect.isclass(resolved) else type(resolved)).__mro__
        return bool(_PARTS & {base.__name__ for base in bases}) and bases[0].__name__ not in _FOREIGN
    module = str(getattr(resolved, "__module__", ""))
    if getattr(resolved, "__name__", "") in ("get", "deserialize", "serialize"):
        return False
    return module.split(".")[0] in ("keras", "tf_keras", "tensorflow") and any(home in module for home in _HOMES)
