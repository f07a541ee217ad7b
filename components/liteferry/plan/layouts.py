"""Finds the checkpoints in a folder: a folder of checkpoints, TensorFlow Serving's versions, and the layouts of TFX and MLflow.

Uses only names, as a store lists them; each checkpoint's sandbox determines its kind.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.plan import mlflow

NEWEST, ALL = "newest", "all"
_SAVED_MODEL_FILES = {"saved_model.pb", "saved_model.pbtxt"}
_ORBAX_MARKS = {"_CHECKPOINT_METADATA", "orbax.checkpoint"}
_ENDINGS = (".keras", ".h5", ".hdf5", ".weights.json", ".index", ".zip", ".tar", ".tar.gz", ".tgz")
_SHARD_OF_WEIGHTS = re.compile(r"(.+)_\d{5}\.weights\.h5")
_SHARD_OF_BUNDLE = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")
_MOST_DEPTH = 6
_MOST_BEHIND_LINKS = 10_000
# The folders that TFX writes a model into, the one that serves first; `Format-TFMA` is for its Evaluator alone.
_TFX_FOLDERS = ("Format-Serving", "serving_model_dir")
_TFX_BESIDE = {"Format-TFMA", "eval_model_dir"}
# Usual names of files beside checkpoints that are not checkpoints. Any other matched file gets a report.
_BESIDE = (
    *("README*", "LICENSE*", "NOTICE*", "CHANGELOG*", "*.md", "*.rst", "*.log", "*.txt", "*.csv", "*.tsv", "*.py", "*.ipynb"),
    *(
        "events.out.tfevents.*",
        "Thumbs.db",
        "desktop.ini",
        ".DS_Store",
        "._*",
        ".git*",
        "*.png",
        "*.jpg",
        "*.svg",
        "*.pdf",
        "*.yaml",
        "*.yml",
        "*.sha256",
    ),
)
_BESIDE_NAMES = re.compile("|".join(map(fnmatch.translate, _BESIDE)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """A checkpoint: its place, and the path that its id is made from (for the newest of several versions, their folder)."""

    uri: str
    named: str


Neighbours = Mapping[str, Set[str]]  # folder -> the names in it that matter


def neighbours(paths: Iterable[str]) -> Neighbours:
    """The names of files by their folder."""
    found: dict[str, set[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        found.setdefault(folder, set()).add(name)
    return found


def is_beside(path: str, others: Neighbours) -> bool:
    """Whether a matched file is not a checkpoint: by its name, or because it belongs to one of `others`."""
    start, _, name = path.rpartition("/")
    if _BESIDE_NAMES.match(name):
        return True
    there = others.get(start, frozenset())
    if name == "checkpoint":
        return any(other.endswith(".index") for other in there)
    bundle, weights = _SHARD_OF_BUNDLE.fullmatch(name), _SHARD_OF_WEIGHTS.fullmatch(name)
    if bundle:
        return f"{bundle[1]}.index" in there
    if weights:
        return f"{weights[1]}.weights.json" in there
    is_config = name.endswith(".json") and not name.endswith(".weights.json")
    return is_config and any(other.endswith((".h5", ".hdf5", ".keras", ".index")) for other in there)


def is_ignored_folder(path: str) -> bool:
    """Whether a folder holds only files that are not checkpoints, for example logs."""
    names = _names(path)
    return bool(names) and all(name.startswith(".") or is_beside(name, {}) for name in names)


def checkpoints_in(folder: str, *, versions: str = NEWEST) -> list[Place]:
    """The checkpoints that a folder is or holds; none if nothing in it looks like one.

    Args:
      folder: path or URI of a folder.
      versions: of numbered versions, and of the steps of a CheckpointManager, the `newest` or `all`.

    Raises:
      StorageError: a store that does not answer, or a folder whose links lead in circles.
    """
    return _checkpoints_in(folder, _Search(versions=versions))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Search:
    """The state of a search: which versions count, how deep this folder is, and whether links led to it."""

    versions: str
    depth: int = 0
    is_behind_links: bool = False
    behind_links: Iterator[int] = dataclasses.field(default_factory=itertools.count)  # shared by the whole search

    def below(self, path: str) -> _Search:
        """The state for a subfolder of the current folder."""
        is_behind = self.is_behind_links or storage.is_link(path)
        return dataclasses.replace(self, depth=self.depth + 1, is_behind_links=is_behind)


def _checkpoints_in(folder: str, search: _Search) -> list[Place]:
    if search.is_behind_links and next(search.behind_links) > _MOST_BEHIND_LINKS:
        raise StorageError(
            f"{folder}: is one of more than {_MOST_BEHIND_LINKS:,} folders behind links, which may lead in circles"
        )
    names = _names(folder)
    if is_checkpoint_folder(names):
        steps = sorted(name for name in names if name.endswith(".index"))
        if search.versions == ALL and "checkpoint" in names and len(steps) > 1 and not _SAVED_MODEL_FILES & set(names):
            return [Place(uri=storage.join(folder, name), named=storage.join(folder, name)) for name in steps]
        return [Place(uri=folder, named=folder)]
    if search.depth > _MOST_DEPTH:
        return []
    for name in _TFX_FOLDERS:
        if name in names:
            inside = storage.join(folder, name)
            inner = _checkpoints_in(inside, search.below(inside))
            return [Place(uri=place.uri, named=folder) for place in inner] if len(inner) == 1 else inner
    if "MLmodel" in names:
        return _of_mlflow(folder) or _of_folder(folder, names, search)
    numbered = [name for name in names if name.isdecimal()]
    if any(_is_version(storage.join(folder, name)) for name in numbered):
        others = [name for name in names if name not in numbered]
        return _of_versions(folder, numbered, search) + _of_folder(folder, others, search)
    return _of_folder(folder, names, search)


def is_checkpoint_folder(names: Sequence[str]) -> bool:
    """Whether a folder with these names in it is a checkpoint itself."""
    there = set(names)
    is_unzipped = {"config.json", "metadata.json"} <= there and any(name.startswith("model.weights.") for name in there)
    is_bundle = "checkpoint" in there and any(name.endswith(".index") for name in there)
    return bool(_SAVED_MODEL_FILES & there) or is_unzipped or is_bundle or _is_orbax_step(there)


def _is_orbax_step(there: Set[str]) -> bool:
    return "pytree" in there and bool(_ORBAX_MARKS & there)


def _is_version(folder: str) -> bool:
    """Whether a numbered folder is a version of one model: a SavedModel, as TensorFlow Serving and TFX number them, or a step of
    Orbax. Numbered folders of other checkpoints are folds, seeds or runs, and each is a model of its own.
    """
    there = set(_names(folder))
    return bool(there & {*_SAVED_MODEL_FILES, *_TFX_FOLDERS}) or _is_orbax_step(there)


def _of_versions(folder: str, numbered: Sequence[str], search: _Search) -> list[Place]:
    found = []
    for name in sorted(numbered, key=int, reverse=True):
        inside = storage.join(folder, name)
        inner = _checkpoints_in(inside, search.below(inside))
        if search.versions == NEWEST and len(inner) == 1:
            return [Place(uri=inner[0].uri, named=folder)]
        if search.versions == NEWEST and inner:
            return inner
        found += inner
    return found


def _of_mlflow(folder: str) -> list[Place]:
    for name in mlflow.PLACES:
        place = storage.join(folder, name)
        if storage.exists(place):
            return [Place(uri=place, named=folder)]
    return []


def _of_folder(folder: str, names: Sequence[str], search: _Search) -> list[Place]:
    found = []
    every = [storage.join(folder, name) for name in names]
    there = neighbours(every)
    for name, path in zip(names, every, strict=True):
        if name.startswith((".", "__")) or name in _TFX_BESIDE:
            continue
        if name.endswith(_ENDINGS):
            if not is_beside(path, there):
                found.append(Place(uri=path, named=path))
        elif storage.is_directory(path) and not storage.leads_back(path):
            found += _checkpoints_in(path, search.below(path))
    return found


def _names(folder: str) -> list[str]:
    try:
        return [name.rstrip("/") for name in storage.list_directory(folder)]
    except StorageError:
        if storage.is_remote(folder):
            raise
        return []
