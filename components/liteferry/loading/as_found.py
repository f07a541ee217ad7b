"""The place that a builder is told its checkpoint lies at: the scanned copy, under the checkpoint's own names."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Sequence

from liteferry.checkpoints import scanned_copy
from liteferry.checkpoints.detection import CheckpointFacts, Kind

_INDEX = ".index"


def linked(path: str, facts: CheckpointFacts, reads: Sequence[str]) -> str:
    """A link to the scanned copy at `path`, named as the checkpoint is, the folders above it included.

    A builder may read the size of its model from any of these names (`crepe_tiny/weights.h5`), and may open what lies beside the
    checkpoint (`config.json`). What the job lists under `reads` is linked, too, at its own place; nothing else is there.

    Args:
      path: the scanned copy; of a TensorFlow checkpoint, its `.index` file.
      reads: the job's `reads`, as absolute paths.
    """
    if facts.found_at is None:
        return path
    root = scanned_copy.private_folder()
    place = _below(root, facts.found_at)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if facts.kind is Kind.TF_CHECKPOINT and not place.endswith(_INDEX):
        os.symlink(os.path.dirname(os.path.abspath(path)), place)
    else:
        _link_copy(path, place)
    if facts.kind is Kind.TF_CHECKPOINT and place.endswith(_INDEX):
        prefix = path.removesuffix(_INDEX)
        for shard in glob.glob(f"{glob.escape(prefix)}.data-*"):
            _link_copy(shard, place.removesuffix(_INDEX) + shard.removeprefix(prefix))
    for listed in reads:
        _link_listed(root, os.path.abspath(listed), facts.found_at)
    return place


def original(text: str, place: str, facts: CheckpointFacts) -> str:
    """A text with the private folder's name taken out of the paths in it.

    Args:
      place: as `linked` returned it.
    """
    return text if facts.found_at is None else text.replace(place.removesuffix("/" + "/".join(_names(facts.found_at))), "")


def _names(found_at: str) -> list[str]:
    return [name for name in found_at.rpartition("://")[2].split("/") if name not in ("", ".", "..")]


def _below(root: str, place: str) -> str:
    return os.path.join(root, *_names(place))


def _link_copy(copy: str, place: str) -> None:
    try:
        os.link(copy, place)  # keeps the names for a builder that resolves links
    except OSError:  # confinement, or another disk
        os.symlink(os.path.abspath(copy), place)


def _link_listed(root: str, listed: str, found_at: str) -> None:
    """Links a file or folder. Of a folder that holds the checkpoint, everything but the checkpoint itself."""
    inside = os.path.relpath(found_at, listed)
    if not os.path.exists(listed) or inside == os.curdir:
        return
    if inside.startswith(os.pardir):
        target = _below(root, listed)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _link(listed, target)
        return
    folder = listed
    for step in inside.split(os.sep):
        for name in os.listdir(folder):
            if name != step:
                _link(os.path.join(folder, name), os.path.join(_below(root, folder), name))
        folder = os.path.join(folder, step)


def _link(target: str, place: str) -> None:
    with contextlib.suppress(FileExistsError):  # two entries of `reads` may name it
        os.symlink(target, place)
