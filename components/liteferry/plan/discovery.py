"""Patterns of the job file -> the checkpoints that match, each with a model_id, which is its folder's name under OUT/models."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence

from liteferry import storage

_SUFFIXES = (".weights.h5", ".keras", ".h5", ".hdf5", ".zip", ".tar.gz", ".tgz")
_MAX_ID_LENGTH = 100
_HASH_LENGTH = 12
_HASH_ENDING = re.compile(rf"-[0-9a-f]{{{_HASH_LENGTH}}}$")
# Windows refuses these names, with any suffix; artifacts may be copied there.
_RESERVED = {"con", "prn", "aux", "nul", *(f"com{i}" for i in range(10)), *(f"lpt{i}" for i in range(10))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundCheckpoint:
    """A path that a pattern named. `entry` is the index of its `models` entry in the job. `link_root`: the folder that the
    pattern searched, None for a path that the job writes out; see `checkpoints.links`.
    """

    model_id: str
    uri: str
    entry: int
    link_root: str | None = None


def discover(patterns: Sequence[str]) -> list[FoundCheckpoint]:
    """Every checkpoint the patterns name, each once (the first entry that names it wins), in order of model_id.

    Args:
      patterns: one per `models` entry: a path or URI, or a glob.

    Raises:
      StorageError: a store that cannot be listed.
    """
    found: dict[str, tuple[str, int]] = {}  # absolute: who reads them may have another working directory
    searched: dict[str, str | None] = {}
    for entry, pattern in enumerate(patterns):
        fixed, rest = storage.split_pattern(pattern)
        root = storage.absolute(fixed if rest else os.path.dirname(fixed.rstrip("/")))
        for path in storage.glob(pattern):
            uri = storage.absolute(path)
            found.setdefault(uri, (root, entry))
            searched[uri] = None if not rest or (uri in searched and searched[uri] is None) else searched.get(uri, root)
    kept = _without_parts(found)
    names = {uri: readable_id(uri, found[uri][0]) for uri in kept}
    uses = collections.Counter(name.casefold() for name, is_faithful in names.values() if is_faithful)
    result = []
    for uri, (name, is_faithful) in names.items():
        if not is_faithful or uses[name.casefold()] > 1:
            name = f"{name}-{hashlib.sha256(uri.encode(errors='surrogateescape')).hexdigest()[:_HASH_LENGTH]}"
        link_root = None if storage.is_remote(uri) else searched[uri]
        result.append(FoundCheckpoint(model_id=name, uri=uri, entry=found[uri][1], link_root=link_root))
    return sorted(result, key=lambda checkpoint: checkpoint.model_id)


def _without_parts(paths: Collection[str]) -> list[str]:
    """What `**` names beside checkpoints is left out: the files inside a SavedModel that is named itself, and the folders on the
    way to something else that is named.
    """
    above = {folder for path in paths for folder in _above(path)}
    saved_models = {path for path in above.intersection(paths) if storage.exists(storage.join(path, "saved_model.pb"))}
    on_the_way = above - saved_models
    return [path for path in paths if path not in on_the_way and saved_models.isdisjoint(_above(path))]


def _above(path: str) -> Iterator[str]:
    while (folder := os.path.dirname(path)) != path:
        yield folder
        path = folder


def readable_id(uri: str, root: str) -> tuple[str, bool]:
    """A folder name made from the path below `root`, and whether it still tells the path apart from every other one.

    Only letters, digits, '.', '_' and '-' survive (safe on every file system and in URLs); folders are joined by '-'. A name
    that ends like one with a hash never counts as faithful: nobody can choose a file name that takes another's id.
    """
    relative = os.path.relpath(uri, root)
    for suffix in _SUFFIXES:
        if relative.lower().endswith(suffix) and len(relative) > len(suffix):
            relative = relative[: -len(suffix)]
            break
    plain = unicodedata.normalize("NFKD", relative).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", plain.replace(os.sep, "-")).strip("._-")
    is_faithful = (
        name == relative.replace(os.sep, "-")
        and 0 < len(name) <= _MAX_ID_LENGTH
        and name.lower().partition(".")[0] not in _RESERVED
        and not _HASH_ENDING.search(name)
    )
    return name[:_MAX_ID_LENGTH] or "model", is_faithful
