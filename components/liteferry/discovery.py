"""Patterns of the job file -> the checkpoints they name, each with a model_id that is its folder's name under OUT/models."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence

from liteferry import storage

_SUFFIXES = (".weights.h5", ".keras", ".h5", ".hdf5", ".zip", ".tar.gz", ".tgz")
_MAX_ID_LENGTH = 100
_WILDCARD = re.compile(r"[*?\[]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundCheckpoint:
    """A path that a pattern named. `entry` is the index of its `models` entry in the job."""

    model_id: str
    uri: str
    entry: int


def discover(patterns: Sequence[str]) -> list[FoundCheckpoint]:
    """Every checkpoint the patterns name, each once (the first entry that names it wins), in order of model_id.

    Args:
      patterns: one per `models` entry: a path, or a glob.
    """
    found: dict[str, tuple[str, int]] = {}
    for entry, pattern in enumerate(patterns):
        root = fixed_root(pattern)
        for uri in storage.glob(pattern):
            found.setdefault(uri.rstrip("/"), (root, entry))
    names = {uri: readable_id(uri, root) for uri, (root, _) in found.items()}
    uses = collections.Counter(name.casefold() for name, _ in names.values())
    result = []
    for uri, (_, entry) in found.items():
        name, is_faithful = names[uri]
        if not is_faithful or uses[name.casefold()] > 1:
            name = f"{name}-{hashlib.sha256(uri.encode(errors='surrogateescape')).hexdigest()[:8]}"
        result.append(FoundCheckpoint(model_id=name, uri=uri, entry=entry))
    return sorted(result, key=lambda checkpoint: checkpoint.model_id)


def fixed_root(pattern: str) -> str:
    """The folder above the first wildcard of a pattern; ids are made from what lies below it."""
    wildcard = _WILDCARD.search(pattern)
    fixed = pattern if wildcard is None else pattern[: wildcard.start()]
    return os.path.dirname(fixed.rstrip("/") if wildcard is None else fixed)


def readable_id(uri: str, root: str) -> tuple[str, bool]:
    """A folder name made from the path below `root`, and whether it still tells the path apart from every other one.

    Only letters, digits, '.', '_' and '-' survive (safe on every file system and in URLs); folders are joined by '-'.
    """
    relative = os.path.relpath(uri, root) if root else uri
    for suffix in _SUFFIXES:
        if relative.lower().endswith(suffix) and len(relative) > len(suffix):
            relative = relative[: -len(suffix)]
            break
    plain = unicodedata.normalize("NFKD", relative).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", plain.replace(os.sep, "-")).strip("._-")
    is_faithful = name == relative.replace(os.sep, "-") and len(name) <= _MAX_ID_LENGTH and name.lower() not in _RESERVED
    return name[:_MAX_ID_LENGTH] or "model", is_faithful and bool(name)


# Windows refuses these as names; artifacts are copied to such machines.
_RESERVED = {"con", "prn", "aux", "nul", *(f"com{i}" for i in range(1, 10)), *(f"lpt{i}" for i in range(1, 10))}
