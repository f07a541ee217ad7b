"""Which files a checkpoint is: what a process that loads it may read of the disk, and no neighbour of it."""

from __future__ import annotations

import glob as globbing
import os

from liteferry.checkpoints.gathered import companions
from liteferry.checkpoints.links import WRITTEN_OUT, LinkRule, follow, follow_part, is_inside, reachable, root_of
from liteferry.errors import ModelError


def files_of_checkpoint(path: str, links: LinkRule = WRITTEN_OUT) -> list[str]:
    """Files and folders that a local checkpoint consists of.

    Args:
      path: a file, a folder, or the .index file or the prefix of a TensorFlow checkpoint.
      links: where symbolic links may lead.

    Returns:
      The real path itself, for an index the data files beside it, and what links lead to, as far as they may. Nothing for a link
      that may not be followed: whoever loads it will say so.
    """
    real = os.path.realpath(path)
    if links.root is not None and not links.trusted and not is_inside(real, root_of(links.root)):
        return []
    prefix = path.removesuffix(".index")
    if (beside := companions(path)) and os.path.isfile(real):
        return [real, *(place for name in beside for place in reachable(name, links))]
    if not path.endswith(".index") and not os.path.isfile(f"{path}.index"):
        return reachable(path, links) if os.path.isdir(real) else [real]
    shards = globbing.glob(f"{globbing.escape(prefix)}.data-?????-of-?????")
    return [real, f"{prefix}.index", *(shard for shard in shards if not os.path.islink(shard)), *reachable(path, links)]


def leads_out(path: str, links: LinkRule) -> bool:
    """Whether a local checkpoint, or a link in its folder, leads to where links may not. Who is not confined, as the launcher is,
    reads nothing of such a checkpoint, not for a digest either: the link may lead to all of the disk.
    """
    try:
        real = follow(path, links)
        for above, folders, names in os.walk(real):
            for place in (os.path.join(above, name) for name in (*folders, *names)):
                if os.path.islink(place):
                    follow_part(path, real, os.path.relpath(place, real), links)
    except ModelError:
        return True
    return False
