"""The files of a checkpoint: all that a process may read from the disk to load it, without neighbouring checkpoints."""

from __future__ import annotations

import glob as globbing
import os

from liteferry import storage
from liteferry.checkpoints.gathered import companions
from liteferry.checkpoints.links import WRITTEN_OUT, LinkRule, follow, follow_part, is_inside, reachable, root_of
from liteferry.errors import ModelError, StorageError


def files_of_checkpoint(path: str, links: LinkRule = WRITTEN_OUT) -> list[str]:
    """Files and folders that make up a local checkpoint.

    Args:
      path: a file, a folder, or the .index file or the prefix of a TensorFlow checkpoint.
      links: where symbolic links may lead.

    Returns:
      The real path itself, the files beside it that belong to it, and the allowed targets of links. Nothing for a link that may
        not be followed: loading it raises the error.
    """
    real = os.path.realpath(path)
    if links.root is not None and not links.trusted and not is_inside(real, root_of(links.root)):
        return []
    if os.path.isdir(real):
        return reachable(path, links)
    index = [f"{path}.index"] if os.path.isfile(f"{path}.index") else []
    found = (_followed(path, part, links) for part in (*index, *beside(index[0] if index else path)))
    return [real, *(part for part in found if part is not None)]


def beside(path: str) -> list[str]:
    """The files beside a local checkpoint's file that are read with it, by their names: the data files of an index, the shards of
    sharded weights, the architecture of weights.
    """
    if path.endswith(".index"):
        return sorted(globbing.glob(f"{globbing.escape(path.removesuffix('.index'))}.data-?????-of-?????"))
    return companions(path)


def _followed(path: str, part: str, links: LinkRule) -> str | None:
    """The real path of a file beside a checkpoint's file; None for a link that may not be followed."""
    try:
        return follow_part(path, os.path.dirname(path), os.path.basename(part), links)
    except ModelError:
        return None


def leads_out(path: str, links: LinkRule) -> bool:
    """Whether a local checkpoint, a link in its folder, or a file that is read with it leads to a place that links may not reach.
    A process without confinement, such as the launcher, reads nothing of such a checkpoint, not even for a digest: the link may
    lead anywhere on the disk.
    """
    try:
        real = follow(path, links)
        for above, folders, names in os.walk(real):
            for place in (os.path.join(above, name) for name in (*folders, *names)):
                if os.path.islink(place):
                    follow_part(path, real, os.path.relpath(place, real), links)
        for name in storage.files_under(real) if os.path.isdir(real) else ():  # behind links, too, as a digest reads them
            follow_part(path, real, name, links)
    except (ModelError, StorageError):
        return True
    return any(_followed(path, part, links) is None for part in beside(path))
