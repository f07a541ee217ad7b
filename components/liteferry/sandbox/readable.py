"""The files that every child may read: Python's environment, and the parts of the system that libraries open.

Other readable files depend on the child's work: the checkpoint, the rows, the user's code, and what the job lists under
`reads`. A folder from which Python imports may be any folder, for example the job's own: code in it can be read, and files
beside the code cannot.
"""

from __future__ import annotations

import contextlib
import functools
import glob as globbing
import importlib.util
import itertools
import os
import re
import site
import sys
from collections.abc import Iterator

_LIBRARIES = (
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/bin",
    "/sbin",
    "/nix/store",
    "/gnu/store",
    "/run/current-system/sw",
)
_SETTINGS = (
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/localtime", "/etc/timezone"),
    *("/etc/mime.types", "/etc/apache2/mime.types", "/etc/httpd/conf/mime.types", "/etc/locale.alias", "/etc/os-release"),
    *("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/crypto-policies"),
    *("/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf", "/etc/pki/ca-trust"),
)
_NAME_SERVICE = tuple(
    f"/etc/{name}" for name in ("resolv.conf", "hosts", "host.conf", "nsswitch.conf", "gai.conf", "services", "protocols")
)
# Kernel files about processors and memory, which thread pools and allocators read; nothing about other processes.
_KERNEL = (
    *(f"/proc/{name}" for name in ("self", "cpuinfo", "meminfo", "stat", "loadavg", "uptime", "version", "filesystems")),
    *("/proc/sys/kernel", "/proc/sys/vm", "/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm", "/sys/bus/pci/devices"),
    *("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"),
)
_CODE = (".py", ".pyc", ".so")
_METADATA = (".dist-info", ".egg-info", ".libs")
_INSTALLED = ("site-packages", "dist-packages")
_DEEPEST_NAMESPACE = 4
_MOST_ENTRIES = 20_000  # a folder on the path may also hold a data set

_ABSOLUTE_PATH = re.compile(r"(?<![\w.])/[^\s'\"`:;,()\[\]]+")
_REFUSED_WORDS = re.compile(r"permission denied|errno = 13\b|errno 13\b", re.IGNORECASE)
_LONGEST_CHAIN = 20


def machine_paths(*, network: bool) -> list[str]:
    """Files and folders that every child may read; some may not exist."""
    return [*_LIBRARIES, *_SETTINGS, *(_NAME_SERVICE if network else ()), *_KERNEL, *python_paths()]


@functools.cache
def python_paths() -> tuple[str, ...]:
    """Folders that hold this Python's own modules, layered environments and editable installs included. A nursery calls this
    once; its children inherit the answer.
    """
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    whole = {prefix for prefix in prefixes if os.path.dirname(prefix) != prefix}  # an embedded Python's may be "/"
    whole.add(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if site.ENABLE_USER_SITE:
        whole.add(site.getusersitepackages())
    whole.update(_library_folders())
    whole.update(path for path in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if os.path.isabs(path))
    if sys.pycache_prefix is not None:
        whole.add(sys.pycache_prefix)
    whole.add(os.path.join(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "keras.json"))
    parts: list[str] = []
    for path in dict.fromkeys(map(os.path.abspath, sys.path)):
        if os.path.basename(path) in _INSTALLED or not os.path.isdir(path):
            whole.add(path)
        elif not _is_below(path, whole):
            parts += code_in(path)
        if _is_below(path, whole):
            parts += [entry.path for entry in _entries(path) if entry.is_symlink()]  # a package may lie elsewhere
    whole.update(_editable())
    whole.update(_linked_packages(whole))
    return (*sorted(whole), *parts)


def _is_below(path: str, folders: set[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}{os.sep}") for folder in folders)


def _library_folders() -> Iterator[str]:
    """Folders besides the usual ones in which the machine's loader finds libraries, for example below /opt."""
    for settings in ("/etc/ld.so.conf", *globbing.glob("/etc/ld.so.conf.d/*.conf")):
        with contextlib.suppress(OSError), open(settings, encoding="utf-8", errors="replace") as file:
            yield from (path for line in file if os.path.isabs(path := line.strip()) and os.path.dirname(path) != path)


def _editable() -> Iterator[str]:
    """Packages that an import hook of setuptools finds outside of sys.path."""
    for name, module in list(sys.modules.items()):
        mapping = getattr(module, "MAPPING", None) if name.startswith("__editable__") else None
        if isinstance(mapping, dict):
            yield from (str(path) if os.path.isdir(path) else f"{path}.py" for path in mapping.values())


def _linked_packages(known: set[str]) -> Iterator[str]:
    """Folders of imported modules whose files are links to other places, as some installers make them."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    for folder in {os.path.dirname(file) for file in files if isinstance(file, str) and os.path.islink(file)}:
        if _is_below(folder, known):
            names = [os.path.join(folder, name) for name in os.listdir(folder)]
            yield from {os.path.dirname(os.path.realpath(name)) for name in names if os.path.islink(name)}


def code_in(folder: str) -> list[str]:
    """The files that Python could import from a folder: modules, whole packages, and the modules of packages without an
    `__init__`. `folder/.` stands for its listing alone.
    """
    found = [os.path.join(folder, ".")]
    pending, seen = [(folder, 0)], 0
    while pending and seen < _MOST_ENTRIES:
        at, depth = pending.pop()
        for entry in _entries(at):
            seen += 1
            if not entry.is_dir():
                found += [entry.path] * entry.name.endswith(_CODE)
            elif entry.name.endswith(_METADATA) or os.path.isfile(os.path.join(entry.path, "__init__.py")):
                found.append(entry.path)
            elif depth < _DEEPEST_NAMESPACE and entry.name.isidentifier() and not entry.is_symlink():
                pending.append((entry.path, depth + 1))
    return found


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """The entries of a folder; none where it cannot be listed, since nothing is imported from it."""
    try:
        with os.scandir(folder) as entries:
            return list(itertools.islice(entries, _MOST_ENTRIES))
    except OSError:
        return []


def module_paths(module: str) -> list[str]:
    """The files needed to import a user's module. For a .py file: the file, and the code beside it, which it may import. For a
    module's name: where Python finds it, if that is not on sys.path.
    """
    if module.endswith(".py"):
        return [module, *code_in(os.path.dirname(os.path.abspath(module)))]
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    return [*(spec.submodule_search_locations or []), *([spec.origin] if spec.origin and os.path.isfile(spec.origin) else [])]


def refused_path(error: BaseException) -> str | None:
    """The path that the confinement kept this process from reading, if that caused an error: the file's permissions allow
    reading, but it cannot be opened. Else None.
    """
    cause: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if cause is None:
            return None
        for path in _paths_of(cause):
            if os.path.exists(path) and os.access(path, os.R_OK) and not _can_be_opened(path):
                return path
        cause = cause.__cause__ or cause.__context__
    return None


def _paths_of(error: BaseException) -> Iterator[str]:
    if isinstance(error, PermissionError) and isinstance(error.filename, str):
        yield os.path.abspath(error.filename)
    if isinstance(error, ModuleNotFoundError) and error.name:
        yield from _folders_with(error.name.partition(".")[0])
    try:
        words = str(error)
    except Exception:  # noqa: BLE001  # the user's __str__: anything
        return
    if _REFUSED_WORDS.search(words):
        yield from _ABSOLUTE_PATH.findall(words[:_MOST_WORDS])


def _folders_with(module: str) -> Iterator[str]:
    """Folders on the search path that hold a module. Python skips without a word those that it cannot list."""
    for folder in filter(None, sys.path):
        if any(os.path.exists(os.path.join(folder, name)) for name in (module, f"{module}.py")):
            yield os.path.abspath(folder)


_MOST_WORDS = 20_000


def _can_be_opened(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError:
        return True
    return True
