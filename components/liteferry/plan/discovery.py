"""Finds the checkpoints that match the job's patterns, and gives each a model_id: the name of its folder under OUT/models."""

from __future__ import annotations

import collections
import dataclasses
import fnmatch
import hashlib
import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence

from liteferry import storage
from liteferry.plan import layouts
from liteferry.storage import layout

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pattern:
    """How a `models` entry selects checkpoints: a path, URI or glob, patterns of exclusions, which versions count, and the
    signature that is proven.
    """

    pattern: str
    exclude: tuple[str, ...] = ()
    versions: str = layouts.NEWEST
    signature: str | None = None
    out: str | None = None  # the output folder: files that a run writes there are not checkpoints, see `is_output`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """The checkpoints in order of model_id, and the matched files that are known not to be checkpoints."""

    checkpoints: tuple[FoundCheckpoint, ...]
    ignored: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Named:
    """A checkpoint that an entry matches. `named`: the path that the id is made from. `root`: the folder that it is relative
    to.
    """

    entry: int
    root: str
    named: str
    link_root: str | None
    signature: str | None
    is_later: bool


def discover(patterns: Sequence[str | Pattern]) -> list[FoundCheckpoint]:
    """Every checkpoint the patterns name, see `look_for`."""
    return list(look_for(patterns).checkpoints)


def look_for(patterns: Sequence[str | Pattern]) -> Found:
    """Every checkpoint that the patterns match, once for each signature that entries request (the first matching entry wins). A
    folder that is not a checkpoint is searched for checkpoints.

    Args:
      patterns: one per `models` entry.

    Raises:
      StorageError: a store that cannot be listed.
    """
    found: dict[tuple[str, str], _Named] = {}
    uris: set[str] = set()
    ignored: dict[str, None] = {}
    every = [Pattern(pattern=given) if isinstance(given, str) else given for given in patterns]
    by_shell = _beside_by_shell(every)
    for entry, pattern in enumerate(every):
        if pattern.pattern in by_shell:
            ignored[storage.absolute(pattern.pattern)] = None
            continue
        places, beside = _places(pattern)
        ignored.update(dict.fromkeys(beside))
        for uri, named, root, link_root in places:
            key = (uri, pattern.signature or _DEFAULT_SIGNATURE)
            if key in found:
                if link_root is None:  # written out in a later entry: the author meant the link's target
                    found[key] = dataclasses.replace(found[key], link_root=None)
                continue
            is_later = uri in uris
            uris.add(uri)
            found[key] = _Named(
                entry=entry, root=root, named=named, link_root=link_root, signature=pattern.signature, is_later=is_later
            )
    whole = set(_without_parts({uri for uri, _ in found}))
    checkpoints = _with_ids({key: at for key, at in found.items() if key[0] in whole})
    return Found(checkpoints=tuple(checkpoints), ignored=tuple(ignored))


_DEFAULT_SIGNATURE = "serving_default"


def _beside_by_shell(patterns: Sequence[Pattern]) -> set[str]:
    """Files that lie beside checkpoints, where they are written out with checkpoints of the same folder: the shell has expanded a
    pattern that was not quoted.
    """
    written = [pattern.pattern for pattern in patterns if not storage.split_pattern(pattern.pattern)[1]]
    folders = collections.Counter(path.rpartition("/")[0] for path in written)
    there = layouts.neighbours(written)
    beside = {path for path in written if folders[path.rpartition("/")[0]] > 1 and layouts.is_beside(path, there)}
    return {path for path in beside if not storage.is_directory(path)} if len(beside) < len(written) else set()


def _with_ids(found: dict[tuple[str, str], _Named]) -> list[FoundCheckpoint]:
    names = {}
    for (uri, signature), at in found.items():
        name, is_faithful = readable_id(at.named, at.root)
        if at.is_later:
            name, is_faithful = f"{name}-{re.sub(r'[^A-Za-z0-9._-]+', '_', signature)}", is_faithful and name.isascii()
        names[uri, signature] = (name, is_faithful)
    uses = collections.Counter(name.casefold() for name, is_faithful in names.values() if is_faithful)
    result = []
    for (uri, signature), (name, is_faithful) in names.items():
        at = found[uri, signature]
        if not is_faithful or uses[name.casefold()] > 1:
            told = f"{uri}#{signature}" if at.is_later else uri
            name = f"{name}-{hashlib.sha256(told.encode(errors='surrogateescape')).hexdigest()[:_HASH_LENGTH]}"
        link_root = None if storage.is_remote(uri) else at.link_root
        result.append(FoundCheckpoint(model_id=name, uri=uri, entry=at.entry, link_root=link_root))
    return sorted(result, key=lambda checkpoint: checkpoint.model_id)


def _places(pattern: Pattern) -> tuple[list[tuple[str, str, str, str | None]], list[str]]:
    """(uri, path that its id is made from, that path's folder, searched folder) of each checkpoint that a pattern matches; and
    its other matches. All absolute, since workers may have another working directory.
    """
    fixed, rest = storage.split_pattern(pattern.pattern)
    root = storage.absolute(fixed if rest else os.path.dirname(fixed.rstrip("/")))
    names = storage.glob(pattern.pattern)
    if not names and not rest:  # the prefix of a TensorFlow checkpoint, as `tf.train.latest_checkpoint` says it
        names = storage.glob(f"{pattern.pattern}.index")
    globbed = [storage.absolute(path) for path in names]
    every = [path for path in globbed if not _is_output(path, pattern, root)]
    found: list[tuple[str, str, str, str | None]] = []
    folders, there = _above_others(every), layouts.neighbours(every)
    beside = [path for path in every if rest and _lies_beside(path, there, folders)]
    left = set(every).difference(beside)
    named = [path for path in every if path in left and not _is_excluded(path, root, pattern.exclude)]
    on_the_way = _above_others(named)
    for path in named:
        inner = [] if path in on_the_way else _inside(path, pattern)
        is_known = path in on_the_way or bool(inner) or not (rest and storage.is_directory(path))
        if not is_known and layouts.is_ignored_folder(path):
            beside.append(path)
        elif not inner:
            found.append((path, path, root, root if rest else None))
        for place in inner:
            if not _is_excluded(place.uri, root, pattern.exclude) and not _is_output(place.uri, pattern, root):
                within = root if rest or place.named == path else path
                found.append((place.uri, place.named, within, root if rest else None if place.uri == path else path))
    return found, beside


def _is_output(path: str, pattern: Pattern, root: str) -> bool:
    if pattern.out is None:
        return False
    return any(is_output(path, out, root=root) for out in _names_of_output(pattern.out, root))


def _names_of_output(out: str, root: str) -> set[str]:
    """The paths by which the output folder may be met below the searched folder `root`, where links lead to either."""
    if storage.is_remote(out) or storage.is_remote(root):
        return {out}
    real_out, real_root = os.path.realpath(out), os.path.realpath(root)
    below = {os.path.join(root, os.path.relpath(real_out, real_root))} if is_within(real_out, real_root) else set()
    return {out, real_out, *map(os.path.normpath, below)}


def is_output(uri: str, out: str, *, root: str) -> bool:
    """Whether a matched path is left out because runs write there: everything in an output folder inside the searched folder
    `root`, else only the files that LiteFerry makes in it.
    """
    if is_within(out, root) and out.rstrip("/") != root.rstrip("/"):
        return is_within(uri, out)
    return any(is_within(uri, storage.join(out, name)) for name in (*layout.FOLDERS, *layout.OF_THE_FLEET))


def is_within(path: str, folder: str) -> bool:
    """Whether a path or URI is a folder, or lies below it."""
    folder = folder.rstrip("/")
    return path.rstrip("/") == folder or path.startswith(f"{folder}/")


def _lies_beside(path: str, there: layouts.Neighbours, folders: set[str]) -> bool:
    return path not in folders and layouts.is_beside(path, there) and not storage.is_directory(path)


def _inside(path: str, pattern: Pattern) -> list[layouts.Place]:
    """The checkpoints that a matched folder stands for; none for a file, or for a folder without anything that looks like a
    checkpoint.
    """
    if path.endswith(_FILES) or not storage.is_directory(path):
        return []
    return layouts.checkpoints_in(path, versions=pattern.versions)


_FILES = (".keras", ".h5", ".hdf5", ".index", ".zip", ".tar.gz", ".tgz")


def _above_others(paths: Sequence[str]) -> set[str]:
    """The folders that contain another match: `**` matches them as well."""
    return {folder for path in paths for folder in _above(path)}.intersection(paths)


def _is_excluded(path: str, root: str, exclude: Sequence[str]) -> bool:
    """Whether a pattern leaves a path out: by its name, or by its path below the folder that is searched."""
    if not exclude:
        return False
    relative, name = os.path.relpath(path, root), path.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(part, pattern) for pattern in exclude for part in (relative, name))


def _without_parts(paths: Collection[str]) -> list[str]:
    """Drops matches of `**` that are not checkpoints: the files inside a matched SavedModel, and folders that contain another
    match.
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
    """A folder name made from the path below `root`, and whether it is still unique to this path.

    Only letters, digits, '.', '_' and '-' survive (safe on every file system and in URLs); folders are joined by '-'. A name
    that ends like one with a hash never counts as unique, so that no chosen file name can take another checkpoint's id.
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
